package mesh

import (
	"container/list"
	"slices"
	"sort"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/message"
)

const (
	// mostPublishers bounds the publishers of one type that are remembered. Of
	// more, the one not heard of for longest is forgotten.
	mostPublishers = 1024
	// mostEpochs bounds the epochs of one publisher that are remembered.
	mostEpochs = 4
	// mostSpans bounds the spans of one epoch. With more, the oldest hole is
	// closed: what was in it is taken for seen.
	mostSpans = 64
)

// seen knows which numbered messages of one type have been accepted: exactly,
// as long as the bounds hold. Because numbers have no holes, it also knows what
// is missing. It is not for concurrent use.
type seen struct {
	publishers map[peer.ID]*list.Element // of *publisher
	recent     list.List                 // most recently heard first
	missing    uint64                    // messages in all holes
	closed     uint64                    // messages in holes that were closed for want of room
}

type publisher struct {
	id     peer.ID
	epochs []*epoch // ascending
}

type epoch struct {
	number uint64
	spans  []span // ascending, with holes between them
}

// span is the numbers from first to last.
type span struct{ first, last uint64 }

// knows says whether anything of a publisher is remembered.
func (s *seen) knows(p peer.ID) bool { return s.publishers[p] != nil }

// has says whether add would say no.
func (s *seen) has(p peer.ID, id message.ID) bool {
	el, ok := s.publishers[p]
	if !ok {
		return false
	}
	pub := el.Value.(*publisher)
	i, ok := pub.find(id.Epoch)
	if !ok {
		return i == 0 && len(pub.epochs) == mostEpochs // too long ago to know
	}
	return pub.epochs[i].has(id.Seq)
}

// add says whether the message is new, and remembers it.
func (s *seen) add(p peer.ID, id message.ID) bool {
	if s.has(p, id) {
		return false
	}
	pub := s.publisher(p)
	i, ok := pub.find(id.Epoch)
	if !ok {
		if len(pub.epochs) == mostEpochs {
			s.missing -= pub.epochs[0].holes()
			pub.epochs = pub.epochs[1:]
			i--
		}
		pub.epochs = slices.Insert(pub.epochs, i, &epoch{number: id.Epoch})
	}
	e := pub.epochs[i]
	before := e.holes()
	e.add(id.Seq)
	if len(e.spans) > mostSpans {
		s.closed += hole(e.spans[0], e.spans[1])
		e.spans[1].first = e.spans[0].first
		e.spans = e.spans[1:]
	}
	s.missing = s.missing - before + e.holes()
	return true
}

func (s *seen) publisher(p peer.ID) *publisher {
	if el, ok := s.publishers[p]; ok {
		s.recent.MoveToFront(el)
		return el.Value.(*publisher)
	}
	if s.publishers == nil {
		s.publishers = make(map[peer.ID]*list.Element)
	}
	if len(s.publishers) >= mostPublishers {
		oldest := s.recent.Back()
		pub := s.recent.Remove(oldest).(*publisher)
		for _, e := range pub.epochs {
			s.missing -= e.holes()
		}
		delete(s.publishers, pub.id)
	}
	pub := &publisher{id: p}
	s.publishers[p] = s.recent.PushFront(pub)
	return pub
}

func (p *publisher) find(number uint64) (int, bool) {
	return slices.BinarySearchFunc(p.epochs, number, func(e *epoch, n uint64) int {
		switch {
		case e.number < n:
			return -1
		case e.number > n:
			return 1
		}
		return 0
	})
}

// at is the first span that does not end before seq.
func (e *epoch) at(seq uint64) int {
	return sort.Search(len(e.spans), func(i int) bool { return e.spans[i].last >= seq })
}

func (e *epoch) has(seq uint64) bool {
	i := e.at(seq)
	return i < len(e.spans) && e.spans[i].first <= seq
}

// add adds a number that is in no span.
func (e *epoch) add(seq uint64) {
	i := e.at(seq)
	left := i > 0 && e.spans[i-1].last == seq-1
	right := i < len(e.spans) && e.spans[i].first == seq+1
	switch {
	case left && right:
		e.spans[i-1].last = e.spans[i].last
		e.spans = slices.Delete(e.spans, i, i+1)
	case left:
		e.spans[i-1].last = seq
	case right:
		e.spans[i].first = seq
	default:
		e.spans = slices.Insert(e.spans, i, span{seq, seq})
	}
}

// holes is how many numbers are missing between the spans.
func (e *epoch) holes() uint64 {
	var n uint64
	for i := 1; i < len(e.spans); i++ {
		n += hole(e.spans[i-1], e.spans[i])
	}
	return n
}

// hole is how many numbers lie between two spans. It counts no more than a
// million, whatever a publisher pretends.
func hole(a, b span) uint64 { return min(b.first-a.last-1, 1<<20) }
