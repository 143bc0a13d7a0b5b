package stack

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"golang.org/x/time/rate"
)

const (
	// openedBurst is how many streams a peer may open at once.
	openedBurst = streamsPerPeer
	// openedTooMany is how many streams of a peer are refused, one after the other, before
	// its connections are closed.
	openedTooMany = 1024
	// forgetOpened is how often peers are forgotten that may open a full burst again.
	forgetOpened = time.Minute
)

// LimitStreams is the limit of streams that a peer may open in a second.
const LimitStreams = "streams-per-second"

var errTooManyOpened = errors.New("the peer opens streams faster than it may")

// openings limits how fast each peer opens streams, and closes the connections of peers
// that exceed it persistently: opening a stream and resetting it costs the peer less than
// this host.
type openings struct {
	network.ResourceManager
	perSecond rate.Limit
	refused   func(limit string)
	maySpeak  func(peer.ID, protocol.ID) bool // nil: every peer may
	end       func(peer.ID)                   // closes the peer's connections; set before there are any

	mu    sync.Mutex
	peers map[peer.ID]*opener
	swept time.Time
}

type opener struct {
	*rate.Limiter
	refused int // less one for each stream allowed
}

func newOpenings(m network.ResourceManager, perSecond int, refused func(string)) *openings {
	return &openings{ResourceManager: m, perSecond: rate.Limit(perSecond), refused: refused, end: func(peer.ID) {}, peers: make(map[peer.ID]*opener)}
}

func (o *openings) OpenStream(p peer.ID, dir network.Direction) (network.StreamManagementScope, error) {
	if o.perSecond > 0 && dir == network.DirInbound && !o.mayOpen(p, time.Now()) {
		o.refused(LimitStreams)
		return nil, errTooManyOpened
	}
	s, err := o.ResourceManager.OpenStream(p, dir)
	if err != nil || o.maySpeak == nil {
		return s, err
	}
	return &guardedStream{s, p, o.maySpeak}, nil
}

// guardedStream is the scope of a stream whose protocol is checked with maySpeak.
type guardedStream struct {
	network.StreamManagementScope
	peer     peer.ID
	maySpeak func(peer.ID, protocol.ID) bool
}

func (s *guardedStream) SetProtocol(id protocol.ID) error {
	if !s.maySpeak(s.peer, id) {
		return fmt.Errorf("peer %s may not speak %s here", s.peer, id)
	}
	return s.StreamManagementScope.SetProtocol(id)
}

func (o *openings) mayOpen(p peer.ID, now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now.Sub(o.swept) > forgetOpened {
		o.swept = now
		for id, of := range o.peers {
			if of.TokensAt(now) >= openedBurst {
				delete(o.peers, id)
			}
		}
	}
	of := o.peers[p]
	if of == nil {
		of = &opener{Limiter: rate.NewLimiter(o.perSecond, openedBurst)}
		o.peers[p] = of
	}
	if of.AllowN(now, 1) {
		of.refused = max(of.refused-1, 0)
		return true
	}
	if of.refused++; of.refused >= openedTooMany {
		of.refused = 0
		go o.end(p) // the caller reads the connection
	}
	return false
}
