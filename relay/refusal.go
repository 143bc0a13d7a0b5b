package relay

import (
	"log/slog"
	"sync"
	"time"

	pbv2 "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/pb"
	"github.com/prometheus/client_golang/prometheus"
)

// refusal is the reason that a peer is given when it is refused.
type refusal struct {
	limit  string // its name in metrics and logs
	value  int64  // of the limit
	flag   string // that sets the limit; empty: none does
	words  string // for the peer
	status pbv2.Status
	cause  error // for the log alone
}

// logRefusals is the shortest time between two log lines about one limit.
const logRefusals = time.Second

// refusals counts and logs refusals. Its methods may be called concurrently.
type refusals struct {
	log     *slog.Logger
	counter *prometheus.CounterVec

	mu    sync.Mutex
	kinds map[string]*refused
}

type refused struct {
	total  int64
	silent int64     // not logged since the last that was
	logged time.Time // when
}

func newRefusals(log *slog.Logger, registry *prometheus.Registry) *refusals {
	r := &refusals{log: log, kinds: make(map[string]*refused)}
	if registry != nil {
		r.counter = prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tombolo_relay_refused_total",
			Help: "What the relay refused or ended, by the limit that was reached.",
		}, []string{"limit"})
		registry.MustRegister(r.counter)
	}
	return r
}

// note counts a refusal, and logs it unless one of the same limit was logged within
// logRefusals. about are further attributes of the log line.
func (r *refusals) note(why refusal, about ...any) {
	if r.counter != nil {
		r.counter.WithLabelValues(why.limit).Inc()
	}
	r.mu.Lock()
	k := r.kinds[why.limit]
	if k == nil {
		k = &refused{}
		r.kinds[why.limit] = k
	}
	k.total++
	now := time.Now()
	if now.Sub(k.logged) < logRefusals {
		k.silent++
		r.mu.Unlock()
		return
	}
	silent := k.silent
	k.silent, k.logged = 0, now
	r.mu.Unlock()
	about = append([]any{"limit", why.limit, "value", why.value, "flag", why.flag}, about...)
	if why.cause != nil {
		about = append(about, "error", why.cause)
	}
	if silent > 0 {
		about = append(about, "more", silent)
	}
	r.log.Warn("refused", about...)
}

// counts returns the number of refusals so far, by limit.
func (r *refusals) counts() map[string]int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	counts := make(map[string]int64, len(r.kinds))
	for limit, k := range r.kinds {
		counts[limit] = k.total
	}
	return counts
}
