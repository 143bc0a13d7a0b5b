package scale

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/host/peerstore/pstoremem"
	ma "github.com/multiformats/go-multiaddr"
)

// peerHost is a host on the simulated network, with the methods that package mesh uses.
type peerHost struct {
	host.Host // nil: the meshes call none of its other methods
	w         *world
	place     place
	self      peer.ID
	known     peerstore.Peerstore
	bus       event.Bus
	changed   event.Emitter
	met       event.Emitter

	mu       sync.Mutex
	conns    map[peer.ID]*conn
	handlers map[protocol.ID]network.StreamHandler
	down     bool
	free     time.Time // when it has finished taking in the tabs that came
}

func (w *world) newHost(addr string, far time.Duration, side int) (*peerHost, error) {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return nil, err
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return nil, err
	}
	at, err := ma.NewMultiaddr(addr)
	if err != nil {
		return nil, err
	}
	known, err := pstoremem.NewPeerstore()
	if err != nil {
		return nil, err
	}
	h := &peerHost{
		w: w, self: id, known: known, bus: eventbus.NewBus(),
		place:    place{addr: at, far: far, side: side, sums: new(sums)},
		conns:    make(map[peer.ID]*conn),
		handlers: make(map[protocol.ID]network.StreamHandler),
	}
	h.changed, err = h.bus.Emitter(new(event.EvtPeerConnectednessChanged))
	if err == nil {
		h.met, err = h.bus.Emitter(new(event.EvtPeerIdentificationCompleted))
	}
	return h, errors.Join(err, known.AddPrivKey(id, key))
}

func (h *peerHost) base() *place { return &h.place }

// joined adds a connection, and identifies the other end.
func (h *peerHost) joined(c *conn, protos []protocol.ID) {
	h.mu.Lock()
	h.conns[c.RemotePeer()] = c
	h.mu.Unlock()
	_ = h.known.SetProtocols(c.RemotePeer(), protos...)
	_ = h.changed.Emit(event.EvtPeerConnectednessChanged{Peer: c.RemotePeer(), Connectedness: network.Connected})
	_ = h.met.Emit(event.EvtPeerIdentificationCompleted{Peer: c.RemotePeer(), Conn: c, Protocols: protos})
}

func (h *peerHost) lost(c *conn) {
	h.mu.Lock()
	is := h.conns[c.RemotePeer()] == c
	if is {
		delete(h.conns, c.RemotePeer())
	}
	h.mu.Unlock()
	if is {
		go func() {
			_ = h.changed.Emit(event.EvtPeerConnectednessChanged{Peer: c.RemotePeer(), Connectedness: network.NotConnected})
		}()
	}
}

// opened calls the handler when the other end's first bytes may have arrived.
func (h *peerHost) opened(s *stream) {
	h.mu.Lock()
	handle := h.handlers[s.proto]
	h.mu.Unlock()
	if handle == nil {
		_ = s.Reset()
		return
	}
	go handle(s)
}

func (h *peerHost) protocols() []protocol.ID {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Keys(h.handlers))
}

func (h *peerHost) ID() peer.ID                    { return h.self }
func (h *peerHost) Peerstore() peerstore.Peerstore { return h.known }
func (h *peerHost) EventBus() event.Bus            { return h.bus }
func (h *peerHost) Network() network.Network       { return &peerNetwork{h: h} }

func (h *peerHost) ConnManager() connmgr.ConnManager { return connmgr.NullConnMgr{} }

func (h *peerHost) SetStreamHandler(p protocol.ID, f network.StreamHandler) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.handlers[p] = f
}

func (h *peerHost) RemoveStreamHandler(p protocol.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.handlers, p)
}

func (h *peerHost) NewStream(_ context.Context, p peer.ID, protos ...protocol.ID) (network.Stream, error) {
	h.mu.Lock()
	c := h.conns[p]
	h.mu.Unlock()
	if c == nil {
		return nil, fmt.Errorf("%s is not connected", p)
	}
	known, _ := h.known.SupportsProtocols(p, protos...)
	if len(known) == 0 {
		return nil, fmt.Errorf("%s does not speak %s", p, protos)
	}
	s := c.open(known[0])
	if s == nil {
		return nil, errLost
	}
	return s, nil
}

// peerNetwork is the network of a host.
type peerNetwork struct {
	network.Network // nil: the meshes call none of its other methods
	h               *peerHost
}

func (n *peerNetwork) LocalPeer() peer.ID             { return n.h.self }
func (n *peerNetwork) Peerstore() peerstore.Peerstore { return n.h.known }

func (n *peerNetwork) Connectedness(p peer.ID) network.Connectedness {
	n.h.mu.Lock()
	defer n.h.mu.Unlock()
	if n.h.conns[p] != nil {
		return network.Connected
	}
	return network.NotConnected
}

func (n *peerNetwork) Peers() []peer.ID {
	n.h.mu.Lock()
	defer n.h.mu.Unlock()
	return slices.Collect(maps.Keys(n.h.conns))
}

func (n *peerNetwork) ConnsToPeer(p peer.ID) []network.Conn {
	n.h.mu.Lock()
	defer n.h.mu.Unlock()
	if c := n.h.conns[p]; c != nil {
		return []network.Conn{c}
	}
	return nil
}
