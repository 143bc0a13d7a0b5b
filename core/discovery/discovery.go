// Package discovery finds the peers of a mesh by their IDs alone.
//
// Every node can search: a lookup walks the mesh as in Kademlia, from the relays and
// peers that the node is connected to, towards those whose IDs are nearest to the one it
// looks for. A node that can afford it also answers searches: it is a server with a
// routing table (package kad, which is go-libp2p-kad-dht). A tab is a client: it keeps no
// table. So that other peers can find it, too, it makes itself known to the servers
// nearest to it, or, in a small mesh, to its relays alone.
//
// The addresses found for a peer that cannot be dialled directly are circuit addresses:
// servers know the addresses that a peer announces when it connects to them, and a peer
// with reservations announces those through its relays.
//
// Spec: https://github.com/libp2p/specs/tree/master/kad-dht. Only FIND_NODE is used: there
// are neither values nor providers.
package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
)

const (
	// announceWidth is the number of servers, nearest to it, to which a client makes
	// itself known. A peer that looks for the client asks the bucketSize nearest servers.
	announceWidth = 6

	// announceInterval is the time between two announcements. A server forgets the
	// addresses of a peer 15 minutes after their connection has ended.
	announceInterval = 10 * time.Minute

	// settle is how long a client waits after a change of its addresses, because several
	// changes often come at once.
	settle = 300 * time.Millisecond

	minBackoff     = 500 * time.Millisecond
	maxBackoff     = 30 * time.Second
	contactTimeout = 20 * time.Second // for one call of contact, with all dials
	contactsAtOnce = 3
)

// ErrClosed is returned by lookups that Close has interrupted, or that were made after
// it.
var ErrClosed = errors.New("discovery is closed")

// Protocol is the protocol that the servers of a network speak:
// /<network>/kad/1.0.0.
func Protocol(network string) protocol.ID {
	return protocol.ID("/" + network + "/kad/1.0.0")
}

// CheckNetwork returns an error if name cannot be the name of a network: if it is empty,
// or if it contains a slash, a space, a tab or a line break.
func CheckNetwork(name string) error {
	if name == "" || strings.ContainsAny(name, "/ \t\r\n") {
		return fmt.Errorf("invalid network name %q: it must not be empty or contain a slash or a space", name)
	}
	return nil
}

// Table is the routing table of a server. All methods may be called
// concurrently.
type Table interface {
	// Nearest lists at most n servers whose IDs are nearest to p, the nearest first.
	Nearest(p peer.ID, n int) []peer.ID
	// Size is the number of servers in the table.
	Size() int
	// Refresh starts a search for servers that the table lacks, and returns at once.
	Refresh()
	// Close ends the table and stops answering.
	Close() error
}

// Serve makes a host a server of the protocol: see kad.Serve.
type Serve func(h host.Host, proto protocol.ID) (Table, error)

// Options configure a Discovery. Network is required.
type Options struct {
	// Network is the name of the mesh. Nodes of different networks do not find
	// each other.
	Network string

	// Serve makes the node a server. If nil, it is a client, which costs next to nothing
	// while it searches for nobody.
	Serve Serve

	// Bootstrap returns the peers to connect to when no server is connected, above all
	// relays. Lookups also ask them first, because a relay knows every peer that holds a
	// reservation on it. Bootstrap is called whenever the peers are needed, from any
	// goroutine. If nil, there are none.
	Bootstrap func() []peer.AddrInfo

	// Logger reports when the mesh is lost and found. If nil, nothing is logged.
	Logger *slog.Logger
}

// Discovery finds peers. All methods may be called concurrently.
type Discovery struct {
	host      host.Host
	protocol  protocol.ID
	bootstrap func() []peer.AddrInfo
	log       *slog.Logger
	table     Table // nil for a client
	count     counters

	changes event.Subscription
	kick    chan struct{} // makes the keeper look at once
	lost    atomic.Bool   // no server is connected

	mu      sync.Mutex // orders enter and Close
	closed  chan struct{}
	running sync.WaitGroup

	closeOnce sync.Once
	closeErr  error
}

// New starts discovery for h and returns at once. If no server answers, discovery keeps
// trying. ctx bounds the start only.
func New(ctx context.Context, h host.Host, o Options) (*Discovery, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := CheckNetwork(o.Network); err != nil {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	d := &Discovery{
		host:      h,
		protocol:  Protocol(o.Network),
		bootstrap: o.Bootstrap,
		log:       o.Logger,
		kick:      make(chan struct{}, 1),
		closed:    make(chan struct{}),
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	if d.bootstrap == nil {
		d.bootstrap = func() []peer.AddrInfo { return nil }
	}
	var err error
	if o.Serve != nil {
		if d.table, err = o.Serve(h, d.protocol); err != nil {
			return nil, fmt.Errorf("discovery: %w", err)
		}
	}
	// This must be read at once: the host waits for a subscriber that does not read its
	// events.
	d.changes, err = h.EventBus().Subscribe([]any{
		new(event.EvtPeerIdentificationCompleted),
		new(event.EvtPeerProtocolsUpdated),
		new(event.EvtPeerConnectednessChanged),
		new(event.EvtLocalAddressesUpdated),
	}, eventbus.Name("discovery"), eventbus.BufSize(256))
	if err != nil {
		if d.table != nil {
			err = errors.Join(err, d.table.Close())
		}
		return nil, fmt.Errorf("discovery: %w", err)
	}
	d.lost.Store(!d.knowsServer())
	d.running.Go(d.watch)
	d.running.Go(d.keep)
	return d, nil
}

// Close ends all lookups, stops answering, and waits for all goroutines of the package.
// Connections stay open. Later and concurrent calls wait for the first one and return its
// result.
func (d *Discovery) Close() error {
	d.closeOnce.Do(func() {
		d.mu.Lock()
		close(d.closed)
		d.mu.Unlock()
		d.closeErr = d.changes.Close()
		d.running.Wait()
		if d.table != nil {
			d.closeErr = errors.Join(d.closeErr, d.table.Close())
		}
	})
	return d.closeErr
}

// Wake tells discovery that the network may be back, or that the machine slept. Discovery
// then contacts the mesh and makes the node known at once. After Close, Wake does
// nothing.
func (d *Discovery) Wake() {
	_, leave, err := d.enter(context.Background())
	if err != nil {
		return
	}
	defer leave()
	if d.table != nil {
		d.table.Refresh()
	}
	d.nudge()
}

func (d *Discovery) nudge() {
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

// watch reports to the keeper the changes that concern it.
func (d *Discovery) watch() {
	for ev := range d.changes.Out() {
		switch ev := ev.(type) {
		case event.EvtLocalAddressesUpdated:
			if d.table == nil { // a table handles this by itself
				d.nudge()
			}
		case event.EvtPeerIdentificationCompleted:
			d.met(ev.Peer)
		case event.EvtPeerProtocolsUpdated:
			d.met(ev.Peer)
			if slices.Contains(ev.Removed, d.protocol) {
				d.missed()
			}
		case event.EvtPeerConnectednessChanged:
			// Tabs come and go by the thousand; only the end of a server matters.
			if ev.Connectedness == network.NotConnected && d.serves(ev.Peer) {
				d.missed()
			}
		}
	}
}

// missed is called when a server has left.
func (d *Discovery) missed() {
	if !d.lost.Load() && !d.knowsServer() {
		d.lost.Store(true)
		d.nudge()
	}
}

// met is called for a connected peer whose protocols are known.
func (d *Discovery) met(p peer.ID) {
	if d.lost.Load() && d.serves(p) {
		d.lost.Store(false)
		d.nudge()
	}
}

// keep makes sure that at least one server is connected at all times, and that the
// servers nearest to a client know it.
func (d *Discovery) keep() {
	ctx, cancel := d.untilClosed(context.Background())
	defer cancel()
	backoff := minBackoff
	for {
		wait := announceInterval - rand.N(announceInterval/8)
		switch {
		case d.knowsServer() || d.contact(ctx):
			if d.lost.Swap(false) || backoff > minBackoff {
				d.log.Debug("the mesh is found", "network", d.protocol)
			}
			backoff = minBackoff
			d.missed() // the server may have left before lost was reset
			if d.table == nil {
				d.announce(ctx)
			}
		case len(d.bootstrap()) > 0:
			d.lost.Store(true)
			wait = backoff - rand.N(backoff/2)
			backoff = min(2*backoff, maxBackoff)
			d.log.Debug("nobody of the mesh answers", "network", d.protocol, "retry", wait)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-d.kick:
			backoff = minBackoff
			timer.Reset(settle)
			select {
			case <-timer.C:
			case <-d.closed:
			}
			select { // this round covers what came meanwhile, too
			case <-d.kick:
			default:
			}
		case <-d.closed:
		}
		timer.Stop()
		if d.isClosed() {
			return
		}
	}
}

// announce makes a client known: a server that it asks learns its addresses when it
// connects. In a small mesh, the servers that are already connected suffice.
func (d *Discovery) announce(ctx context.Context) {
	d.count.announcements.Add(1)
	newLookup(d, d.host.ID(), announceWidth, nil).run(ctx)
}

// contact connects to bootstrap peers, and reports whether one of them is a server. It
// begins with a few, in random order, and tries a few more whenever the last ones have
// taken too long or have all failed. A node must not dial all of them: every relay would
// then carry every node.
func (d *Discovery) contact(ctx context.Context) bool {
	contacts := slices.Clone(d.bootstrap())
	rand.Shuffle(len(contacts), func(i, j int) { contacts[i], contacts[j] = contacts[j], contacts[i] })
	ctx, cancel := context.WithTimeout(network.WithAllowLimitedConn(ctx, "tombolo"), contactTimeout)
	defer cancel()
	served := make(chan bool)
	waiting := 0
	more := func() {
		n := min(contactsAtOnce, len(contacts))
		for _, c := range contacts[:n] {
			go func() {
				err := d.connect(ctx, c)
				if err != nil {
					d.log.Debug("cannot contact the mesh", "peer", c.ID, "error", err)
				}
				served <- err == nil && d.serves(c.ID)
			}()
		}
		contacts, waiting = contacts[n:], waiting+n
	}
	late := time.NewTicker(patience)
	defer late.Stop()
	found := false
	for more(); waiting > 0; {
		select {
		case is := <-served:
			waiting--
			found = found || is
		case <-late.C:
			if !found {
				more()
			}
		}
		switch {
		case found:
			cancel() // one is enough
		case waiting == 0 && ctx.Err() == nil:
			more()
		}
	}
	return found
}

// connect makes sure that a contact is connected and its protocols are known.
func (d *Discovery) connect(ctx context.Context, c peer.AddrInfo) error {
	// The keeper backs off by itself, in shorter steps than the swarm.
	if s, ok := d.host.Network().(interface{ Backoff() *swarm.DialBackoff }); ok {
		s.Backoff().Clear(c.ID)
	}
	if err := d.host.Connect(ctx, c); err != nil {
		return err
	}
	// If there was a connection already, its identification may be under way.
	if h, ok := d.host.(interface{ IDService() identify.IDService }); ok {
		for _, conn := range d.host.Network().ConnsToPeer(c.ID) {
			select {
			case <-h.IDService().IdentifyWait(conn):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

// enter registers a lookup, unless discovery is closed, and returns a ctx that Close
// ends. leave must be called when the lookup has ended.
func (d *Discovery) enter(ctx context.Context) (_ context.Context, leave func(), err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.isClosed() {
		return nil, nil, ErrClosed
	}
	d.running.Add(1)
	ctx, cancel := d.untilClosed(ctx)
	return ctx, func() { cancel(); d.running.Done() }, nil
}

func (d *Discovery) untilClosed(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	d.running.Go(func() {
		select {
		case <-d.closed:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, cancel
}

func (d *Discovery) isClosed() bool {
	select {
	case <-d.closed:
		return true
	default:
		return false
	}
}

// serves reports whether a peer is known to be a server of the network.
func (d *Discovery) serves(p peer.ID) bool {
	known, err := d.host.Peerstore().SupportsProtocols(p, d.protocol)
	return err == nil && len(known) > 0
}

// knowsServer reports whether a server is connected.
func (d *Discovery) knowsServer() bool {
	return slices.ContainsFunc(d.host.Network().Peers(), d.serves)
}

// relays lists the servers to ask first: bootstrap peers that are connected, at most
// maxRelays.
func (d *Discovery) relays() []peer.ID {
	var ids []peer.ID
	for _, r := range d.bootstrap() {
		if len(ids) < maxRelays && d.host.Network().Connectedness(r.ID) != network.NotConnected && d.serves(r.ID) {
			ids = append(ids, r.ID)
		}
	}
	return ids
}

// nearest lists servers to begin a lookup with.
func (d *Discovery) nearest(p peer.ID) []peer.ID {
	var ids []peer.ID
	if d.table != nil {
		ids = d.table.Nearest(p, bucketSize)
	}
	if len(ids) < bucketSize { // the table of a server that has just begun is empty
		for _, c := range d.host.Network().Peers() {
			if d.serves(c) {
				ids = append(ids, c)
			}
		}
	}
	return ids
}
