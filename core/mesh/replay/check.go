package replay

import (
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/message"
)

// frameOverhead is the maximum size of a Frame beyond the entry in it, in bytes.
const frameOverhead = 64

// checker checks one answer, frame by frame.
type checker struct {
	ask      *wireAsk
	topic    string
	maxEntry int
	have     map[peer.ID]*Cursor
	got      map[peer.ID]*received
	entries  uint64
	bytes    uint64
	known    []Known
	told     uint64 // bytes of known
	held     int    // ranges held according to known
}

// received is what an answer brought from one publisher.
type received struct {
	last   message.ID
	epochs map[uint64]*Ranges
}

func newChecker(ask *wireAsk, topic string, maxEntry int) *checker {
	return &checker{ask: ask, topic: topic, maxEntry: maxEntry, have: ask.cursors(), got: make(map[peer.ID]*received)}
}

// frame checks the next frame; msg is set for an entry.
func (c *checker) frame(b []byte) (msg *message.Message, f wireFrame, err error) {
	if f, err = decodeFrame(b); err != nil {
		return nil, f, err
	}
	switch {
	case f.entry != nil:
		if msg, err = c.entry(f.entry); err != nil {
			err = fmt.Errorf("entry %d: %w", c.entries+1, err)
		}
		c.entries++
		c.bytes += uint64(len(f.entry.signed))
	case f.known != nil:
		c.told += uint64(len(b))
		err = c.learn(f.known)
	case f.end.status == answered:
		err = c.end(f.end)
	}
	return msg, f, err
}

func (c *checker) entry(e *wireEntry) (*message.Message, error) {
	switch {
	case len(c.known) > 0:
		return nil, errors.New("it comes after what the peer knows")
	case c.entries >= c.ask.messages:
		return nil, fmt.Errorf("only %d were asked for", c.ask.messages)
	case c.bytes >= c.ask.bytes:
		return nil, fmt.Errorf("only %d bytes were asked for", c.ask.bytes)
	case len(e.signed) > c.maxEntry:
		return nil, fmt.Errorf("%w: %d bytes; at most %d may be", message.ErrTooLarge, len(e.signed), c.maxEntry)
	}
	msg, err := verify(e.signed, c.topic, c.ask.typ)
	if err != nil {
		return nil, err
	}
	if have := c.have[msg.From]; have != nil && !have.wants(msg.ID) {
		return nil, fmt.Errorf("%s of %s was not asked for", msg.ID, msg.From)
	}
	r := c.got[msg.From]
	if r == nil {
		r = &received{epochs: make(map[uint64]*Ranges)}
		c.got[msg.From] = r
	}
	if msg.ID.Compare(r.last) <= 0 {
		return nil, fmt.Errorf("%s of %s comes after %s", msg.ID, msg.From, r.last)
	}
	r.last = msg.ID
	if r.epochs[msg.ID.Epoch] == nil {
		r.epochs[msg.ID.Epoch] = new(Ranges)
	}
	r.epochs[msg.ID.Epoch].add(msg.ID.Seq)
	return msg, nil
}

func (c *checker) learn(k *Known) error {
	for _, e := range k.Epochs {
		c.held += len(e.Held)
	}
	switch {
	case c.told > maxKnown:
		return fmt.Errorf("what it knows has more than %d bytes", maxKnown)
	case c.held > maxCount:
		return fmt.Errorf("it says that it holds more than %d broadcasts", maxCount)
	case c.ask.age == 0 && k.Old != message.ID{}:
		return fmt.Errorf("it leaves out what is older than %s of %s, and any age was asked for", k.Old, k.Publisher)
	case len(c.known) > 0 && c.known[len(c.known)-1].Publisher >= k.Publisher:
		return errors.New("what it knows is not in order of publishers")
	}
	c.known = append(c.known, *k)
	return nil
}

// end compares what the peer says it holds with what it sent.
func (c *checker) end(e *wireEnd) error {
	accounted := 0
	for _, k := range c.known {
		got := c.got[k.Publisher]
		if got != nil {
			accounted++
		} else {
			got = &received{}
		}
		epochs := 0
		for _, x := range k.Epochs {
			var sent Ranges
			if r := got.epochs[x.Epoch]; r != nil {
				sent = *r
				epochs++
			}
			if extra := sent.minus(x.Held); len(extra) > 0 {
				return fmt.Errorf("it sent %d.%d of %s, and says that it does not hold it", x.Epoch, extra[0].From, k.Publisher)
			}
			if kept := x.Held.minus(sent); len(kept) > 0 && !e.more {
				return fmt.Errorf("it says that it holds %d.%d of %s, and did not send it", x.Epoch, kept[0].From, k.Publisher)
			}
		}
		if epochs != len(got.epochs) {
			return fmt.Errorf("it sent an epoch of %s, and says that it does not know it", k.Publisher)
		}
	}
	if accounted != len(c.got) {
		return errors.New("it sent what it says that it knows nothing of")
	}
	return nil
}
