package replay

import (
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/time/rate"
)

// maxGuests bounds the peers whose rate is kept.
const maxGuests = 1024

// guard bounds what answering costs: how many at once, of one peer and of all,
// and how often one peer.
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

// retryActive is when to come again to a peer that answers many at once.
const retryActive = 500 * time.Millisecond

// admit lets a peer in, or says when it may come again. leave must be called.
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

// sweep forgets those who are where a newcomer would begin.
func (g *guard) sweep() {
	for p, who := range g.guests {
		if who.active == 0 && who.rate.Tokens() >= float64(g.opts.AskBurst) {
			delete(g.guests, p)
		}
	}
}
