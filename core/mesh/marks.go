package mesh

import (
	"math"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	// markHalfLife is the time after which half of a peer's bad marks are forgotten. They
	// stay while it is disconnected, so that reconnecting does not help.
	markHalfLife = 2 * time.Minute
	// mostMarked bounds the peers whose marks are remembered. If there are more, the one
	// with the fewest marks is forgotten.
	mostMarked = 1024
)

// marks counts what peers sent to this node that no honest peer sends: data that is not
// an envelope, and signatures that do not match.
type marks struct {
	mu   sync.Mutex
	bad  map[peer.ID]mark
	most int // if zero, mostMarked
}

type mark struct {
	count float64
	at    time.Time
}

func (m mark) now(now time.Time) float64 {
	return m.count * math.Exp2(-now.Sub(m.at).Seconds()/markHalfLife.Seconds())
}

// add gives p a mark.
func (m *marks) add(p peer.ID, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bad == nil {
		m.bad = make(map[peer.ID]mark)
	}
	old, known := m.bad[p]
	most := m.most
	if most == 0 {
		most = mostMarked
	}
	if !known && len(m.bad) >= most {
		m.forget(now)
	}
	m.bad[p] = mark{old.now(now) + 1, now}
}

func (m *marks) forget(now time.Time) {
	var least peer.ID
	fewest := math.Inf(1)
	for p, k := range m.bad {
		if n := k.now(now); n < fewest {
			least, fewest = p, n
		}
	}
	delete(m.bad, least)
}

// of returns the number of marks that p has now.
func (m *marks) of(p peer.ID, now time.Time) float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	k, ok := m.bad[p]
	if !ok {
		return 0
	}
	return k.now(now)
}
