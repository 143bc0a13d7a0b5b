package stack

import (
	"errors"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/time/rate"
)

const (
	// openedBurst is how many streams a peer may open at once.
	openedBurst = streamsPerPeer
	// openedTooMany is how many streams a peer may be refused, one after the other,
	// until its connections are closed.
	openedTooMany = 1024
	// forgetOpened is how often peers are forgotten that may open a burst again.
	forgetOpened = time.Minute
)

// LimitStreams is the limit of streams that a peer may open in a second.
const LimitStreams = "streams-per-second"

var errTooManyOpened = errors.New("the peer opens streams faster than it may")

// openings limits how fast each peer opens streams, and closes those that go on
// nevertheless: to open one and reset it costs the peer less than this host.
type openings struct {
	network.ResourceManager
	perSecond rate.Limit
	refused   func(limit string)
	end       func(peer.ID) // closes its connections; set before there are any

	mu    sync.Mutex
	peers map[peer.ID]*opener
	swept time.Time
}

type opener struct {
	*rate.Limiter
	refused int // since a stream was let through
}

func newOpenings(m network.ResourceManager, perSecond int, refused func(string)) *openings {
	return &openings{ResourceManager: m, perSecond: rate.Limit(perSecond), refused: refused, end: func(peer.ID) {}, peers: make(map[peer.ID]*opener)}
}

func (o *openings) OpenStream(p peer.ID, dir network.Direction) (network.StreamManagementScope, error) {
	if dir == network.DirInbound && !o.mayOpen(p, time.Now()) {
		o.refused(LimitStreams)
		return nil, errTooManyOpened
	}
	return o.ResourceManager.OpenStream(p, dir)
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
