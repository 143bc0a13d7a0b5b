// Package reservation keeps circuit relay v2 reservations on a set of relays,
// so that a node which cannot listen can be reached through them.
//
// A [Keeper] runs one goroutine per relay: it connects, reserves and renews before the
// reservation expires. When the reservation is lost, it waits out a back-off with jitter
// and begins again. If the relay can be connected to but does not answer the request, the
// keeper first tries the relay's other transports and addresses. A bounded number of
// relays hold a reservation at once; when one fails, another takes its place.
// Protocol: https://github.com/libp2p/specs/blob/master/relay/circuit-v2.md
package reservation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	ma "github.com/multiformats/go-multiaddr"
)

// Defaults of Options.
const (
	DefaultMax        = 2
	DefaultMinBackoff = 500 * time.Millisecond
	DefaultMaxBackoff = 30 * time.Second
)

const (
	protectTag = "tombolo-reservation"

	// maxKnownAddrs bounds the addresses remembered per relay. A relay whose WebTransport
	// certificate changes is added again with new addresses for as long as the node runs.
	maxKnownAddrs = 64
	// maxRelays bounds the relays of a keeper: each has a goroutine, and a node that has
	// lost the mesh dials them all.
	maxRelays = 256
)

// Options configure a Keeper. The zero value is usable.
type Options struct {
	// Max is the maximum number of reservations held at once. If zero, DefaultMax.
	Max int
	// MinBackoff and MaxBackoff bound the wait between two attempts at a relay. The wait
	// doubles with each failure, and is then shortened by a random part of up to a half.
	// A reservation that is lost sooner than MaxBackoff after it was made counts as a
	// failure. If zero, DefaultMinBackoff and DefaultMaxBackoff.
	MinBackoff, MaxBackoff time.Duration
	// Get fetches the pages of relays: see AddURLs. If nil, relays can be added by their
	// addresses only.
	Get Get
	// Network is the name of the mesh that relays should belong to. A relay that reports
	// another one is used all the same, with a warning. If empty, any network will do.
	Network string
	// Token is presented to each relay, because some relays accept only peers with one.
	// If empty, no token is sent.
	Token string
	// Logger receives attempts and losses. If nil, nothing is logged.
	Logger *slog.Logger
}

// Reservation is a reservation that a Keeper holds on a relay.
type Reservation struct {
	Relay   peer.ID
	Addrs   []ma.Multiaddr // circuit addresses of this node, at most 32, without its own /p2p/<id>
	Expires time.Time      // if it is not renewed; at most an hour ahead
	URL     string         // of the relay's page, if the relay was added by its URL
}

// Observer receives each reservation made, each one lost, with the reason, and each
// attempt that failed. For a failed attempt r holds only the relay, or only its URL if
// its page has not answered yet, and the error names every address that was tried. Calls
// for one relay come one at a time; an Observer must not block.
type Observer func(r Reservation, lost error)

// Keeper keeps the reservations. All methods may be called concurrently.
type Keeper struct {
	opts  Options
	slots chan struct{} // one token per reservation held or attempted, except on relays that are being left

	mu     sync.Mutex
	relays []*relay
	held   map[peer.ID]Reservation
	woken  chan struct{}   // closed by Wake; non-nil only between Rest and Wake
	ctx    context.Context // of the goroutines; nil before Start and after Close

	host    host.Host
	observe Observer
	updated event.Emitter
	notify  *network.NotifyBundle
	stop    context.CancelFunc
	done    sync.WaitGroup

	closeOnce sync.Once
	closeErr  error
}

// New makes a keeper for the given relays, each with at least one address. It does
// nothing before Start.
func New(relays []peer.AddrInfo, opts Options) (*Keeper, error) {
	if opts.Max == 0 {
		opts.Max = DefaultMax
	}
	if opts.MinBackoff == 0 {
		opts.MinBackoff = DefaultMinBackoff
	}
	if opts.MaxBackoff == 0 {
		opts.MaxBackoff = DefaultMaxBackoff
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Max < 0 || opts.MinBackoff < 0 || opts.MaxBackoff < opts.MinBackoff {
		return nil, fmt.Errorf("reservation options: max %d, back-off %s to %s", opts.Max, opts.MinBackoff, opts.MaxBackoff)
	}
	k := &Keeper{
		opts:  opts,
		slots: make(chan struct{}, opts.Max),
		held:  make(map[peer.ID]Reservation),
		stop:  func() {},
	}
	return k, k.Add(relays)
}

// Add makes the keeper reserve on these relays, too, each with at least one address. If
// the keeper already knows a relay, it adds the addresses and, if it is waiting out a
// back-off, tries them at once. It remembers the latest 64 addresses of a relay, and at
// most 256 relays. If Add returns an error, it has added nothing.
func (k *Keeper) Add(relays []peer.AddrInfo) error {
	for _, r := range relays {
		if len(r.Addrs) == 0 {
			return fmt.Errorf("relay %s has no address", r.ID)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	find := func(id peer.ID) int {
		return slices.IndexFunc(k.relays, func(known *relay) bool { return known.ID == id })
	}
	fresh := make(map[peer.ID]struct{}, len(relays))
	for _, r := range relays {
		if find(r.ID) < 0 {
			fresh[r.ID] = struct{}{}
		}
	}
	if most := len(k.relays) + len(fresh); most > maxRelays {
		return fmt.Errorf("reservations are kept on at most %d relays, not on %d", maxRelays, most)
	}
	for _, r := range relays {
		if i := find(r.ID); i >= 0 {
			k.relays[i].learn(r.Addrs)
			k.rouse(k.relays[i])
			continue
		}
		k.add(newRelay(r, ""))
	}
	return nil
}

// add adds a relay and, if the keeper runs, starts its goroutine. The mutex is held.
func (k *Keeper) add(r *relay) {
	k.relays = append(k.relays, r)
	if k.ctx != nil {
		k.begin(r)
	}
}

// AddrsFactory adds the circuit addresses to a host's own; pass it to the host when
// making it. (By default a host lists them only once it is sure that it cannot be reached
// directly.)
func (k *Keeper) AddrsFactory(own []ma.Multiaddr) []ma.Multiaddr {
	return append(slices.Clone(own), k.addrs()...)
}

// Start begins keeping reservations for h and returns at once.
func (k *Keeper) Start(h host.Host, observe Observer) error {
	updated, err := h.EventBus().Emitter(new(event.EvtAutoRelayAddrsUpdated), eventbus.Stateful)
	if err != nil {
		return err
	}
	k.host, k.observe, k.updated = h, observe, updated
	k.notify = &network.NotifyBundle{DisconnectedF: func(_ network.Network, c network.Conn) { k.disconnected(c.RemotePeer()) }}
	h.Network().Notify(k.notify)
	k.mu.Lock()
	defer k.mu.Unlock()
	h.SetStreamHandler(MoveProtocol, k.told)
	k.ctx, k.stop = context.WithCancel(context.Background())
	// In random order: otherwise all nodes with the same list would go to the same
	// relays.
	for _, i := range rand.Perm(len(k.relays)) {
		k.begin(k.relays[i])
	}
	return nil
}

// begin starts a goroutine that keeps a reservation on r. The mutex is held.
func (k *Keeper) begin(r *relay) {
	ctx := k.ctx
	k.done.Go(func() { k.keep(ctx, r) })
}

// Close gives up all reservations and waits for the keeper's goroutines. It does not wait
// for any relay, and the connections to the relays stay open. Later calls return the same
// error.
func (k *Keeper) Close() error {
	k.closeOnce.Do(func() {
		k.mu.Lock()
		k.stop()
		k.ctx = nil
		k.mu.Unlock()
		k.done.Wait()
		if k.updated != nil {
			k.host.RemoveStreamHandler(MoveProtocol)
			k.host.Network().StopNotify(k.notify)
			k.closeErr = k.updated.Close()
		}
	})
	return k.closeErr
}

// disconnected is called by the host for every connection that ends. It must not block,
// because the host makes no connection meanwhile. (For the same reason the keeper does
// not subscribe to the host's event bus: it would have to read events while it waits for
// a relay to answer.)
func (k *Keeper) disconnected(p peer.ID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range k.relays {
		if r.ID == p || r.move != nil { // a relay that is being left is closed when its circuits have ended
			r.look()
		}
	}
}

// Rest suspends the keeper until Wake: it attempts nothing, and does not report attempts
// that fail. A reservation is lost when the connection to its relay ends.
func (k *Keeper) Rest() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.woken == nil {
		k.woken = make(chan struct{})
	}
}

// Wake ends a Rest and every back-off. Call it when the network may be back.
func (k *Keeper) Wake() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range k.relays {
		k.rouse(r)
	}
	if k.woken != nil {
		close(k.woken)
		k.woken = nil
	}
}

// rest returns a channel that is closed when the keeper is woken, or nil if it is not
// suspended.
func (k *Keeper) rest() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.woken
}

// rouse ends a back-off on r, but not the one that follows a later loss: otherwise all
// clients of a relay that restarts would be back at the same time. A reservation that is
// still held at the end of a rest may be lost already, so its back-off is ended, too. The
// mutex is held.
func (k *Keeper) rouse(r *relay) {
	if _, held := k.held[r.ID]; held && k.woken == nil {
		return
	}
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Relays lists the relays to reserve on, with their addresses. It leaves out a relay
// whose page has not answered yet: see Unanswered.
func (k *Keeper) Relays() []peer.AddrInfo {
	k.mu.Lock()
	defer k.mu.Unlock()
	relays := make([]peer.AddrInfo, 0, len(k.relays))
	for _, r := range k.relays {
		if r.ID != "" {
			relays = append(relays, peer.AddrInfo{ID: r.ID, Addrs: slices.Clone(r.Addrs)})
		}
	}
	return relays
}

// Held lists the reservations held now.
func (k *Keeper) Held() []Reservation {
	k.mu.Lock()
	defer k.mu.Unlock()
	held := make([]Reservation, 0, len(k.held))
	for _, relay := range k.relays {
		if r, ok := k.held[relay.ID]; ok {
			held = append(held, r)
		}
	}
	return held
}

func (k *Keeper) addrs() []ma.Multiaddr {
	var addrs []ma.Multiaddr
	for _, r := range k.Held() {
		addrs = append(addrs, r.Addrs...)
	}
	return addrs
}

// keep holds a reservation on one relay until ctx ends.
func (k *Keeper) keep(ctx context.Context, r *relay) {
	backoff := k.opts.MinBackoff
	for {
		if !k.enter(ctx) {
			return
		}
		release := sync.OnceFunc(func() { <-k.slots })
		lasted, err := k.hold(ctx, r, release)
		release()
		if ctx.Err() != nil || errors.Is(err, errKnown) {
			return
		}
		info, page := k.known(r)
		if lasted == 0 && k.rest() == nil {
			k.observe(Reservation{Relay: info.ID, URL: page}, err)
		}
		if lasted >= k.opts.MaxBackoff || errors.Is(err, ErrMoved) {
			backoff = k.opts.MinBackoff
		}
		wait := backoff - rand.N(backoff/2+1)
		backoff += min(backoff, k.opts.MaxBackoff-backoff)
		k.opts.Logger.Info("no reservation", "relay", info.ID, "page", page, "error", err, "retry", wait)
		select {
		case <-time.After(wait):
		case <-r.wake:
			backoff = k.opts.MinBackoff
		case <-ctx.Done():
			return
		}
	}
}

// enter takes a slot for an attempt once the keeper is awake. It returns false if ctx
// ended before.
func (k *Keeper) enter(ctx context.Context) bool {
	for {
		select {
		case k.slots <- struct{}{}:
		case <-ctx.Done():
			return false
		}
		woken := k.rest()
		if woken == nil {
			return true
		}
		<-k.slots
		select {
		case <-woken:
		case <-ctx.Done():
			return false
		}
	}
}

// hold connects, reserves and renews until the reservation is lost. It returns how long
// the reservation was held, 0 if it was never made, and why it ended. release gives the
// slot back before hold returns.
func (k *Keeper) hold(ctx context.Context, of *relay, release func()) (lasted time.Duration, err error) {
	relay, r, renew, err := k.obtain(ctx, of)
	if err != nil {
		return 0, err
	}
	defer k.host.ConnManager().Unprotect(relay.ID, protectTag)
	_, r.URL = k.known(of)
	made := time.Now()
	k.mu.Lock()
	of.refused = nil
	k.mu.Unlock()
	k.set(r)
	select {
	case <-of.wake: // a token that came while the reservation was made
	default:
	}
	for {
		err := k.waitLoss(ctx, of, relay.ID, renew, release)
		if err == nil { // time to renew
			next, wait, failed := k.renew(ctx, relay, r, renew)
			if failed == nil {
				next.URL = r.URL
				r, renew = next, wait
				k.set(r)
				continue
			}
			err = failed
		}
		if errors.Is(err, errDisconnected) {
			err = k.disconnection(of)
		}
		k.lose(r, err)
		lasted := max(time.Since(made), 1)
		k.left(ctx, of, relay.ID, err)
		return lasted, err
	}
}

var errDisconnected = errors.New("connection to the relay ended")

// disconnection returns the reason why the connection ended, if the relay has given one,
// or errDisconnected.
func (k *Keeper) disconnection(of *relay) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if of.refused != nil {
		return of.refused
	}
	return errDisconnected
}

// waitLoss returns nil after wait has passed, or the reason why the reservation was lost.
func (k *Keeper) waitLoss(ctx context.Context, of *relay, relay peer.ID, wait time.Duration, release func()) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		// Check the state: the token may be of an earlier connection.
		if k.host.Network().Connectedness(relay) == network.NotConnected {
			return errDisconnected
		}
		moved, patience := k.replaced(of, release)
		if moved {
			return ErrMoved
		}
		select {
		case <-of.ended:
		case <-patience:
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// renew asks until the relay agrees or the old reservation has expired.
func (k *Keeper) renew(ctx context.Context, relay peer.AddrInfo, old Reservation, last time.Duration) (Reservation, time.Duration, error) {
	for {
		r, next, _, err := k.reserve(ctx, relay)
		left := time.Until(old.Expires)
		if err == nil || left <= 0 || ctx.Err() != nil {
			return r, next, err
		}
		if k.host.Network().Connectedness(relay.ID) == network.NotConnected {
			return r, 0, errDisconnected
		}
		k.opts.Logger.Info("reservation not renewed", "relay", relay.ID, "error", err, "expires", old.Expires)
		select {
		case <-time.After(min(left, last/4+time.Second)):
		case <-ctx.Done():
			return r, 0, ctx.Err()
		}
	}
}

func (k *Keeper) set(r Reservation) {
	k.mu.Lock()
	old, had := k.held[r.Relay]
	k.held[r.Relay] = r
	for _, other := range k.relays {
		if other.move != nil {
			other.look()
		}
	}
	k.mu.Unlock()
	if had && slices.EqualFunc(old.Addrs, r.Addrs, func(a, b ma.Multiaddr) bool { return a.Equal(b) }) {
		return
	}
	k.opts.Logger.Info("reservation made", "relay", r.Relay, "expires", r.Expires)
	k.announce()
	k.observe(r, nil)
}

func (k *Keeper) lose(r Reservation, why error) {
	k.mu.Lock()
	delete(k.held, r.Relay)
	k.mu.Unlock()
	k.announce()
	k.observe(r, why)
}

// announce makes the host compute its addresses anew and send them to its peers.
func (k *Keeper) announce() {
	_ = k.updated.Emit(event.EvtAutoRelayAddrsUpdated{RelayAddrs: k.addrs()})
}
