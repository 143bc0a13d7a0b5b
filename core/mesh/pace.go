package mesh

import (
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Pace limits what each peer broadcasts through this node, counted in bytes of the
// messages that the peer itself has made. What a peer sends beyond the limit is read
// later: nothing is lost here, and the peer's own queue fills. Both functions may be
// called from any goroutine, and must not block.
type Pace struct {
	// Rate returns how many bytes per second a peer may broadcast. If it returns 0, there
	// is no limit for that peer.
	Rate func(peer.ID) int
	// Burst is how many bytes a peer may send at once before the limit applies.
	Burst int
	// Slowed is called when a peer has to wait. If nil, it is not called.
	Slowed func(peer.ID)
}

// paceForgets is how often peers without debts are forgotten.
const paceForgets = time.Minute

// paces tracks what peers have broadcast recently.
type paces struct {
	*Pace // nil: there is no limit

	mu     sync.Mutex
	debts  map[peer.ID]*debt
	looked time.Time
}

// debt is what a peer has sent beyond what it is entitled to yet.
type debt struct {
	bytes float64
	at    time.Time
}

func newPaces(p *Pace) *paces { return &paces{Pace: p, debts: make(map[peer.ID]*debt)} }

// charge counts the messages made by a peer itself that it has sent.
func (p *paces) charge(from peer.ID, rpc *pubsub.RPC) {
	if p.Pace == nil {
		return
	}
	n := 0
	for _, m := range rpc.GetPublish() {
		if string(m.GetFrom()) == string(from) {
			n += len(m.GetData())
		}
	}
	rate := p.Rate(from)
	if n == 0 || rate <= 0 {
		return
	}
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.looked) > paceForgets {
		p.looked = now
		for id, d := range p.debts {
			if d.passed(now, p.Rate(id)); d.bytes == 0 {
				delete(p.debts, id)
			}
		}
	}
	d := p.debts[from]
	if d == nil {
		d = &debt{at: now}
		p.debts[from] = d
	}
	d.passed(now, rate)
	d.bytes += float64(n)
}

// passed reduces the debt by the time that has passed. Without a rate, the debt is zero.
func (d *debt) passed(now time.Time, rate int) {
	if d.bytes = max(d.bytes-now.Sub(d.at).Seconds()*float64(rate), 0); rate <= 0 {
		d.bytes = 0
	}
	d.at = now
}

// wait waits until a peer may send again, or ended is closed.
func (p *paces) wait(from peer.ID, ended <-chan struct{}) {
	if p.Pace == nil {
		return
	}
	for told := false; ; told = true {
		over := p.over(from)
		if over <= 0 {
			return
		}
		if !told && p.Slowed != nil {
			p.Slowed(from)
		}
		select {
		case <-time.After(min(over, time.Second)): // the rate may change
		case <-ended:
			return
		}
	}
}

// over returns how long a peer has to wait.
func (p *paces) over(from peer.ID) time.Duration {
	rate := p.Rate(from)
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.debts[from]
	if d == nil {
		return 0
	}
	d.passed(time.Now(), rate)
	if rate <= 0 {
		return 0
	}
	return time.Duration((d.bytes - float64(p.Burst)) / float64(rate) * float64(time.Second))
}
