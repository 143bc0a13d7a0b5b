// Package discovery finds the peers of a mesh by their ids alone.
//
// Every node asks: a lookup walks the mesh in the way of Kademlia, from the
// relays and peers the node is connected to towards those whose ids are nearest
// to the one it looks for. A node that can carry it also answers: it is a
// server, with a routing table (package kad, which is go-libp2p-kad-dht). A tab
// is a client: it keeps no table, and makes itself known to the servers nearest
// to it, or in a small mesh to its relays alone, so that it too is found.
//
// What is found of a peer that cannot be dialled directly are circuit addresses:
// servers know of a peer what it says of itself when it connects to them, and a
// peer with reservations names its relays.
//
// Spec: https://github.com/libp2p/specs/tree/master/kad-dht. Only FIND_NODE is
// spoken: there are neither values nor providers.
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
	// announceWidth is how many of the servers nearest to it a client makes
	// itself known to. Who looks for it asks bucketSize of them.
	announceWidth = 6

	// announceInterval is the time between two such rounds. A server forgets
	// where a peer is 15 minutes after the connection to it has ended.
	announceInterval = 10 * time.Minute

	// settle is how long a client waits after a change of its addresses, of
	// which there are often several at once.
	settle = 300 * time.Millisecond

	minBackoff     = 500 * time.Millisecond
	maxBackoff     = 30 * time.Second
	contactTimeout = 20 * time.Second // a round of dials of contacts, all their addresses
	contactsAtOnce = 3
)

// ErrClosed is returned by lookups that Close has ended, or that came after it.
var ErrClosed = errors.New("discovery is closed")

// Protocol is the protocol that the servers of a network speak:
// /<network>/kad/1.0.0.
func Protocol(network string) protocol.ID {
	return protocol.ID("/" + network + "/kad/1.0.0")
}

// CheckNetwork says what is wrong with the name of a network.
func CheckNetwork(name string) error {
	if name == "" || strings.ContainsAny(name, "/ \t\r\n") {
		return fmt.Errorf("invalid network name %q: it must not be empty or contain a slash or a space", name)
	}
	return nil
}

// Table is the routing table of a server. All methods may be called
// concurrently.
type Table interface {
	// Nearest lists at most n servers whose ids are nearest to p, the nearest
	// first.
	Nearest(p peer.ID, n int) []peer.ID
	// Size is the number of servers in the table.
	Size() int
	// Refresh looks for servers the table lacks, and returns at once.
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

	// Serve makes the node a server. If nil, it is a client, which costs next
	// to nothing while it looks for nobody.
	Serve Serve

	// Bootstrap lists those to turn to when no server is connected, relays
	// above all; they are also asked first, because they know whoever holds a
	// reservation with them. It is called whenever they are needed, from any
	// goroutine. If nil, there are none.
	Bootstrap func() []peer.AddrInfo

	// Logger receives when the mesh is lost and found. If nil, nothing is
	// logged.
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
	kick    chan struct{} // has the keeper look at once
	lost    atomic.Bool   // no server is connected

	mu      sync.Mutex // orders enter and Close
	closed  chan struct{}
	running sync.WaitGroup

	closeOnce sync.Once
	closeErr  error
}

// New starts discovery for h and returns at once: whether or not anybody
// answers, it keeps trying. ctx bounds the start only.
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
	// Read from at once: the host waits for who does not read its events.
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

// Close ends all lookups, stops answering, and waits for all goroutines of the
// package. Connections stay. Later and concurrent calls wait for the first and
// return its result.
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

// Wake tells that the network may be back, or that the machine slept: the mesh
// is contacted and the node makes itself known at once. After Close it does
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

// watch looks out for changes that the keeper must know of.
func (d *Discovery) watch() {
	for ev := range d.changes.Out() {
		switch ev := ev.(type) {
		case event.EvtLocalAddressesUpdated:
			if d.table == nil { // a table sees to it by itself
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

// missed is told that a server has left.
func (d *Discovery) missed() {
	if !d.lost.Load() && !d.knowsServer() {
		d.lost.Store(true)
		d.nudge()
	}
}

// met is told of a connected peer whose protocols are known.
func (d *Discovery) met(p peer.ID) {
	if d.lost.Load() && d.serves(p) {
		d.lost.Store(false)
		d.nudge()
	}
}

// keep has at least one server connected at all times, and a client known to the
// servers nearest to it.
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
			d.missed() // it may have left before it was noticed that it is here
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
			select { // what came meanwhile is seen to as well
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

// announce makes a client known: those asked for it learn where it is as they
// are connected to. In a small mesh those connected already suffice.
func (d *Discovery) announce(ctx context.Context) {
	d.count.announcements.Add(1)
	newLookup(d, d.host.ID(), announceWidth, nil).run(ctx)
}

// contact connects to those to turn to, and says whether one of them is a server. It
// begins with a few, in no order, and tries a few more each time that those have kept it
// waiting or have all failed. If every node dialled all relays, every relay would carry all nodes.
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
	// Where there was a connection already, its identification may be under way.
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

// enter counts a lookup in, unless discovery is closed, and has its ctx end with
// Close. leave counts it out.
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

// serves says whether a peer is known to be a server of the network.
func (d *Discovery) serves(p peer.ID) bool {
	known, err := d.host.Peerstore().SupportsProtocols(p, d.protocol)
	return err == nil && len(known) > 0
}

// knowsServer says whether a server is connected.
func (d *Discovery) knowsServer() bool {
	return slices.ContainsFunc(d.host.Network().Peers(), d.serves)
}

// relays lists some of those to be asked first, which are connected.
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
