package replay

import (
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/time/rate"
)

// maxGuests bounds the peers whose rates are remembered.
const maxGuests = 1024

// guard bounds the cost of answering: how many requests at once, of one peer and of all,
// and how often one peer may ask.
type guard struct {
	opts Options

	mu     sync.Mutex
	active int
	guests map[peer.ID]*guest
}

type guest struct {
	active int
	rate   *rate.Limiter
}

func newGuard(opts Options) *guard {
	return &guard{opts: opts, guests: make(map[peer.ID]*guest)}
}

// retryActive is when a peer may ask again if too many requests are being answered.
const retryActive = 500 * time.Millisecond

// admit lets a peer ask, or returns nil and when it may try again. leave must be called.
func (g *guard) admit(p peer.ID) (leave func(), retry time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.active >= g.opts.Answers {
		return nil, retryActive
	}
	who := g.guests[p]
	if who == nil {
		if len(g.guests) >= maxGuests {
			g.sweep()
		}
		if len(g.guests) >= maxGuests {
			return nil, retryActive
		}
		who = &guest{rate: rate.NewLimiter(rate.Limit(g.opts.AsksPerSecond), g.opts.AskBurst)}
		g.guests[p] = who
	}
	if who.active >= g.opts.AnswersPerPeer {
		return nil, retryActive
	}
	r := who.rate.Reserve()
	if wait := r.Delay(); wait > 0 {
		r.Cancel()
		return nil, wait
	}
	g.active++
	who.active++
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.active--
		who.active--
	}, 0
}

// sweep forgets the peers that are in the state in which a new one would begin.
func (g *guard) sweep() {
	for p, who := range g.guests {
		if who.active == 0 && who.rate.Tokens() >= float64(g.opts.AskBurst) {
			delete(g.guests, p)
		}
	}
}
