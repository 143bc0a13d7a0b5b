package relay

import (
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/reservation"
)

// DefaultDrain is the longest that a drain takes by default. Service managers kill a
// program after a minute and a half.
const DefaultDrain = time.Minute

const (
	// Telling the peers takes at most a quarter of the drain, and at most tellEvery for each
	// peer.
	tellEvery = 20 * time.Millisecond
	// drainCheck is how often the drain checks whether circuits have ended.
	drainCheck = 100 * time.Millisecond
	// Bounds of what a notice says about other relays: see reservation.Notice.
	maxOffers     = 8
	addrsOfOffers = 12
)

// drain makes the peers of a relay move to other relays.
type drain struct {
	host   host.Host
	places *places
	log    *slog.Logger

	ended chan struct{}   // closed when the drain waits for no peer any more
	ctx   context.Context // ends with close
	stop  context.CancelFunc
	done  sync.WaitGroup

	mu     sync.Mutex
	others []peer.AddrInfo // relays to move to
	limit  time.Duration   // of a drain
	began  bool
	moving map[peer.ID]bool // peers that agreed to move: true once they have
}

func newDrain(h host.Host, p *places, log *slog.Logger) *drain {
	d := &drain{host: h, places: p, log: log, ended: make(chan struct{}), moving: make(map[peer.ID]bool)}
	d.ctx, d.stop = context.WithCancel(context.Background())
	return d
}

// set sets the relays that peers can move to, and how long a drain may take.
func (d *drain) set(others []peer.AddrInfo, limit time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.others, d.limit = others, limit
}

// Drain begins to move all peers to other relays, and returns at once. From now on, new
// peers get no reservation. The channel of Drained is closed when every peer that can
// move has moved and all circuits through this relay at those peers have ended, or after
// Options.DrainTime. A notice to a peer lists the connected relays among Options.Peers.
// Later calls do nothing.
func (r *Relay) Drain() { r.drain.begin() }

// Drained returns a channel that is closed when the drain is over: it is then time to
// call Close.
func (r *Relay) Drained() <-chan struct{} { return r.drain.ended }

func (d *drain) begin() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.began || d.ctx.Err() != nil {
		return
	}
	d.began = true
	limit := d.limit
	if limit == 0 {
		limit = DefaultDrain
	}
	d.done.Go(func() {
		ctx, stop := context.WithTimeout(d.ctx, limit)
		defer stop()
		defer close(d.ended)
		d.run(ctx, limit)
	})
}

// ease makes some peers move because there are too many. Peers that have nowhere to go
// stay.
func (d *drain) ease(some []peer.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(some) == 0 || d.ctx.Err() != nil {
		return
	}
	d.log.Warn("more peers hold reservations than may: some are told to move", "peers", len(some))
	d.done.Go(func() {
		ctx, stop := context.WithTimeout(d.ctx, DefaultDrain)
		defer stop()
		d.tellAll(ctx, some, DefaultDrain)
	})
}

// close ends a drain, and waits for its goroutines.
func (d *drain) close() {
	d.mu.Lock()
	d.stop()
	d.mu.Unlock()
	d.done.Wait()
}

func (d *drain) run(ctx context.Context, limit time.Duration) {
	all := d.places.drain()
	d.log.Info("draining: peers are told to move", "peers", len(all), "limit", limit)
	d.tellAll(ctx, all, limit)
	tick := time.NewTicker(drainCheck)
	defer tick.Stop()
	for ctx.Err() == nil && d.places.inCircuit(d.movers()) {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	d.log.Info("drained", "peers", len(all), "moved", d.moved(), "circuits", d.places.limits()[1].Used)
}

// tellAll tells peers to move, one after the other, and waits until they have.
func (d *drain) tellAll(ctx context.Context, all []peer.ID, limit time.Duration) {
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	every := tellEvery
	if len(all) > 0 {
		every = min(every, limit/4/time.Duration(len(all)))
	}
	offers := d.offers()
	var telling sync.WaitGroup
	for _, p := range all {
		telling.Go(func() { d.tell(ctx, p, offers) })
		select {
		case <-time.After(every):
		case <-ctx.Done():
		}
	}
	telling.Wait()
}

// tell tells one peer to move, and waits until it has.
func (d *drain) tell(ctx context.Context, p peer.ID, offers []string) {
	s, err := core.PreferNewest(d.host).NewStream(ctx, p, reservation.MoveProtocol)
	if err != nil {
		d.log.Debug("a peer cannot be told to move", "peer", p, "error", err)
		return
	}
	defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
	var within int
	if ends, ok := ctx.Deadline(); ok {
		within = int(time.Until(ends) / time.Second)
	}
	moving, err := reservation.Tell(s, reservation.Notice{Within: within, Relays: offers})
	if err == nil && moving {
		d.note(p, false)
		if err = reservation.Moved(s); err == nil {
			d.places.release(p)
			d.note(p, true)
		}
	}
	if err != nil {
		_ = s.Reset()
		d.log.Debug("a peer does not move", "peer", p, "error", err)
		return
	}
	_ = s.Close()
}

func (d *drain) note(p peer.ID, moved bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.moving[p] = moved
}

func (d *drain) movers() []peer.ID {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Keys(d.moving))
}

func (d *drain) moved() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, moved := range d.moving {
		if moved {
			n++
		}
	}
	return n
}

// toMove returns how many peers have agreed to move and have not done so yet.
func (d *drain) toMove() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := int64(0)
	for _, moved := range d.moving {
		if !moved {
			n++
		}
	}
	return n
}

// offers returns the addresses of the other relays that are connected, as configured and
// as those relays report them.
func (d *drain) offers() (offers []string) {
	d.mu.Lock()
	others := d.others
	d.mu.Unlock()
	relays := 0
	for _, other := range others {
		if relays == maxOffers || d.host.Network().Connectedness(other.ID) != network.Connected {
			continue
		}
		relays++
		addrs := append(slices.Clone(other.Addrs), d.host.Peerstore().Addrs(other.ID)...)
		slices.SortStableFunc(addrs, func(a, b ma.Multiaddr) int { return a.Compare(b) })
		addrs = slices.CompactFunc(addrs, func(a, b ma.Multiaddr) bool { return a.Equal(b) })
		whole, err := peer.AddrInfoToP2pAddrs(&peer.AddrInfo{ID: other.ID, Addrs: addrs[:min(len(addrs), addrsOfOffers)]})
		if err != nil {
			continue
		}
		for _, a := range whole {
			offers = append(offers, a.String())
		}
	}
	return offers
}
