// Package circuits implements the transport of circuit relay v2, for a host that dials
// peers through several relays.
//
// The client of go-libp2p dials a peer through one relay at a time. If a relay has fallen
// silent, it waits for up to a minute, even when nobody waits for the dial any more: see
// [client.Client]. The [Transport] has a client for each relay. It dials through the next
// relay when the previous one has failed, or has not answered for 300 ms.
//
// Protocol: https://github.com/libp2p/specs/blob/master/relay/circuit-v2.md
package circuits

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	ma "github.com/multiformats/go-multiaddr"
)

const (
	// patience is how long a dial waits for each earlier dial of the same peer through
	// another relay. A circuit takes two round trips of both peers.
	patience = 300 * time.Millisecond
	// maxIdle is the number of clients from which on those for relays that are not
	// connected are dropped, because peers choose the relays through which they are
	// dialled.
	maxIdle = 64
	// maxTwins is how many dials of a peer through one relay, at several of its
	// addresses, may wait for each other. The swarm makes 8 dials of a peer at once, for
	// all its relays.
	maxTwins = 3
)

// Addr is the address on which a host listens for circuits.
var Addr = ma.StringCast("/p2p-circuit")

// Errors of a dial that leaves the peer to another dial.
var (
	errReached = errors.New("the peer was reached through another relay")
	errDialled = errors.New("the peer is being dialled through that relay already")
)

// Transport dials and accepts circuits. All methods may be called concurrently.
type Transport struct {
	*client.Client // accepts circuits
	host           host.Host
	upgrader       transport.Upgrader

	mu      sync.Mutex
	clients map[peer.ID]*client.Client // by relay
	dials   map[peer.ID][]*dial        // in progress, by the peer that is dialled
}

var (
	_ transport.Transport    = (*Transport)(nil)
	_ transport.SkipResolver = (*Transport)(nil)
)

// dial is a dial of a peer.
type dial struct {
	relay   peer.ID
	ended   chan struct{}
	reached bool // set before ended is closed
}

// New makes the transport of a host. The host must listen on Addr after it has added the
// transport.
func New(h host.Host, u transport.Upgrader) (*Transport, error) {
	c, err := client.New(h, u)
	if err != nil {
		return nil, fmt.Errorf("make transport of circuits: %w", err)
	}
	c.Start()
	return &Transport{
		Client: c, host: h, upgrader: u,
		clients: make(map[peer.ID]*client.Client), dials: make(map[peer.ID][]*dial),
	}, nil
}

// AddTransport makes the transport of a host, adds it, and makes the host listen on Addr.
func AddTransport(h host.Host, u transport.Upgrader) error {
	n, ok := h.Network().(transport.TransportNetwork)
	if !ok {
		return fmt.Errorf("%T takes no transports", h.Network())
	}
	t, err := New(h, u)
	if err != nil {
		return err
	}
	if err := n.AddTransport(t); err != nil {
		return fmt.Errorf("add transport of circuits: %w", err)
	}
	return n.Listen(Addr)
}

// Dial dials a peer at the address of a circuit. If the peer is being dialled through
// other relays, Dial first waits until those dials have ended, at most 300 ms for each
// relay. It returns an error if the peer was reached meanwhile, or when ctx ends.
func (t *Transport) Dial(ctx context.Context, at ma.Multiaddr, p peer.ID) (transport.CapableConn, error) {
	to, relay, err := split(at)
	if err != nil {
		return nil, err
	}
	through, mine, before, err := t.begin(p, relay)
	if err != nil {
		if len(to) > 0 { // for when the relay is dialled again
			t.host.Peerstore().AddAddrs(relay, []ma.Multiaddr{to}, peerstore.TempAddrTTL)
		}
		return nil, err
	}
	var conn transport.CapableConn
	if err = await(ctx, before, relay); err == nil {
		conn, err = dialBound(ctx, through, at, p)
	}
	t.end(p, mine, err == nil)
	return conn, err
}

// dialBound dials, and gives up when ctx ends.
func dialBound(ctx context.Context, through *client.Client, at ma.Multiaddr, p peer.ID) (transport.CapableConn, error) {
	stop := func() bool { return true }
	bind := func(s network.Stream) { stop = context.AfterFunc(ctx, func() { _ = s.Reset() }) }
	conn, err := through.Dial(context.WithValue(ctx, binding{}, bind), at, p)
	if bound := stop(); err == nil && !bound {
		_ = conn.Close()
		return nil, ctx.Err()
	}
	return conn, err
}

// binding is the context key of the function that is called with the stream of a dial.
type binding struct{}

// boundHost opens streams that end with the context of their dial. A client heeds its
// context only until the stream is open, and then waits a minute for an answer.
type boundHost struct{ host.Host }

func (h boundHost) NewStream(ctx context.Context, p peer.ID, protos ...protocol.ID) (network.Stream, error) {
	s, err := h.Host.NewStream(ctx, p, protos...)
	if bind, ok := ctx.Value(binding{}).(func(network.Stream)); ok && err == nil {
		bind(s)
	}
	return s, err
}

// split returns the relay's address within the address of a circuit, which may be empty,
// and the relay's ID.
func split(at ma.Multiaddr) (to ma.Multiaddr, relay peer.ID, err error) {
	whole, _ := ma.SplitFunc(at, func(c ma.Component) bool { return c.Protocol().Code == ma.P_CIRCUIT })
	if to, relay = peer.SplitAddr(whole); relay == "" {
		return nil, "", fmt.Errorf("%s is not the address of a circuit through a relay", at)
	}
	return to, relay, nil
}

// begin records a dial, and returns the earlier dials of the same peer for which it has
// to wait: those through other relays, and those through the same relay if that is
// connected, because they would not differ.
func (t *Transport) begin(p, relay peer.ID) (through *client.Client, mine *dial, before []*dial, err error) {
	connected := t.host.Network().Connectedness(relay) == network.Connected
	t.mu.Lock()
	defer t.mu.Unlock()
	twins := 0
	for _, d := range t.dials[p] {
		if d.relay == relay {
			twins++
		}
		if d.relay != relay || connected {
			before = append(before, d)
		}
	}
	if twins >= maxTwins {
		return nil, nil, nil, errDialled
	}
	if through = t.clients[relay]; through == nil {
		t.tidy()
		if through, err = client.New(boundHost{t.host}, t.upgrader); err != nil {
			return nil, nil, nil, err
		}
		t.clients[relay] = through
	}
	mine = &dial{relay: relay, ended: make(chan struct{})}
	t.dials[p] = append(t.dials[p], mine)
	return through, mine, before, nil
}

// tidy drops the clients for relays that are not connected, if there are many clients.
// The mutex is held.
func (t *Transport) tidy() {
	if len(t.clients) < maxIdle {
		return
	}
	for relay := range t.clients {
		if t.host.Network().Connectedness(relay) != network.Connected {
			delete(t.clients, relay)
		}
	}
}

// await waits until earlier dials have ended, or until it is time to dial through another
// relay.
func await(ctx context.Context, before []*dial, relay peer.ID) error {
	if len(before) == 0 {
		return nil
	}
	over := time.NewTimer(patience * time.Duration(relaysOf(before)))
	defer over.Stop()
	for _, d := range before {
		select {
		case <-d.ended:
			if d.reached {
				return errReached
			}
		case <-over.C:
			if slices.ContainsFunc(before, func(d *dial) bool { return d.relay == relay }) {
				return errDialled
			}
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// relaysOf returns the number of relays through which dials go.
func relaysOf(dials []*dial) int {
	relays := make(map[peer.ID]struct{})
	for _, d := range dials {
		relays[d.relay] = struct{}{}
	}
	return len(relays)
}

// end records that a dial has ended.
func (t *Transport) end(p peer.ID, mine *dial, reached bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	mine.reached = reached
	close(mine.ended)
	left := slices.DeleteFunc(t.dials[p], func(d *dial) bool { return d == mine })
	if t.dials[p] = left; len(left) == 0 {
		delete(t.dials, p)
	}
}
