package world

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/tombolo-net/tombolo/core/dispatch"
	"github.com/tombolo-net/tombolo/core/mesh"
	"github.com/tombolo-net/tombolo/core/message"
	"github.com/tombolo-net/tombolo/core/world/board"
	"github.com/tombolo-net/tombolo/core/world/wire"
)

// The host of a room may play in it, too. libp2p opens no streams from a node to itself,
// so package seat accepts Rooms in place of a *core.Node, and Rooms.Open makes such
// streams.

// ID returns the node's peer ID.
func (rs *Rooms) ID() peer.ID { return rs.node.ID() }

// Open opens a stream to a peer's rooms, or to the node's own.
func (rs *Rooms) Open(ctx context.Context, p peer.ID, proto protocol.ID) (network.Stream, error) {
	if p != rs.node.ID() {
		return rs.node.Open(ctx, p, proto)
	}
	serve := map[protocol.ID]func(peer.ID, network.Stream){
		wire.Protocol: rs.serveFrom, wire.LobbyProtocol: rs.lobby.serve, wire.WalkProtocol: rs.serveWalkFrom,
	}[proto]
	if serve == nil {
		return nil, errors.New("the node opens no stream to itself but to its rooms")
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.closed {
		return nil, ErrClosed
	}
	mine, theirs := ownStreams()
	rs.serving.Go(func() { serve(p, theirs) })
	return mine, nil
}

// ConnectPeer connects to a peer. For the node itself it does nothing.
func (rs *Rooms) ConnectPeer(ctx context.Context, p peer.AddrInfo) error {
	if p.ID == rs.node.ID() {
		return nil
	}
	return rs.node.ConnectPeer(ctx, p)
}

// Request sends a request, as core.Node.Request does. It also answers requests to the node
// itself for rooms that it offers and for the boards of its rooms.
func (rs *Rooms) Request(ctx context.Context, p peer.ID, typ string, data []byte) ([]byte, error) {
	if p != rs.node.ID() {
		return rs.node.Request(ctx, p, typ, data)
	}
	rs.mu.Lock()
	offering := rs.offers[typ]
	rs.mu.Unlock()
	if offering != nil {
		return offering.answerTo(ctx, p, data)
	}
	for _, r := range rs.Rooms() {
		if server := r.boards.served(); server != nil && typ == board.RequestType(r.opts.Name) {
			return server.Answer(ctx, &message.Message{From: p, Type: typ, Data: data})
		}
	}
	return nil, errors.New("the node offers no such rooms and has no such boards")
}

// Presence returns the presence of the node: see core.Node.Presence.
func (rs *Rooms) Presence(typ string) (*mesh.Presence, error) { return rs.node.Presence(typ) }

// Subscribe subscribes at the node: see core.Node.Subscribe.
func (rs *Rooms) Subscribe(pattern string, opts ...dispatch.Option) (*dispatch.Subscription, error) {
	return rs.node.Subscribe(pattern, opts...)
}

// ownStream is one end of a stream within the process. A write returns when the other end
// has read it.
type ownStream struct{ in, out net.Conn }

var _ network.Stream = (*ownStream)(nil)

func ownStreams() (a, b *ownStream) {
	aIn, bOut := net.Pipe()
	bIn, aOut := net.Pipe()
	return &ownStream{aIn, aOut}, &ownStream{bIn, bOut}
}

func (s *ownStream) Read(b []byte) (int, error)  { return s.in.Read(b) }
func (s *ownStream) Write(b []byte) (int, error) { return s.out.Write(b) }
func (s *ownStream) CloseWrite() error           { return s.out.Close() }
func (s *ownStream) CloseRead() error            { return s.in.Close() }
func (s *ownStream) Close() error                { return errors.Join(s.in.Close(), s.out.Close()) }
func (s *ownStream) Reset() error                { return s.Close() }

func (s *ownStream) ResetWithError(network.StreamErrorCode) error { return s.Close() }

func (s *ownStream) SetDeadline(t time.Time) error {
	return errors.Join(s.in.SetDeadline(t), s.out.SetDeadline(t))
}
func (s *ownStream) SetReadDeadline(t time.Time) error  { return s.in.SetReadDeadline(t) }
func (s *ownStream) SetWriteDeadline(t time.Time) error { return s.out.SetWriteDeadline(t) }

func (s *ownStream) ID() string                    { return "own" }
func (s *ownStream) Protocol() protocol.ID         { return wire.Protocol }
func (s *ownStream) SetProtocol(protocol.ID) error { return nil }
func (s *ownStream) Stat() network.Stats           { return network.Stats{} }
func (s *ownStream) Conn() network.Conn            { return nil }
func (s *ownStream) Scope() network.StreamScope    { return &network.NullScope{} }
