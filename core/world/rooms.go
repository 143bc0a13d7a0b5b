package world

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/tombolo-net/tombolo/core/dispatch"
	"github.com/tombolo-net/tombolo/core/link"
	"github.com/tombolo-net/tombolo/core/mesh"
	"github.com/tombolo-net/tombolo/core/world/wire"
)

// Node is the part of a node that rooms use. *core.Node implements it.
type Node interface {
	ID() peer.ID
	Handle(proto protocol.ID, f network.StreamHandler) (remove func(), err error)
	Subscribe(pattern string, opts ...dispatch.Option) (*dispatch.Subscription, error)
	Respond(typ string, f link.Responder) (remove func(), err error)
	ConnectPeer(ctx context.Context, p peer.AddrInfo) error
	Open(ctx context.Context, p peer.ID, proto protocol.ID) (network.Stream, error)
	Presence(typ string) (*mesh.Presence, error)
	Request(ctx context.Context, p peer.ID, typ string, data []byte) ([]byte, error)
	Broadcast(ctx context.Context, typ string, data []byte, opts ...mesh.BroadcastOption) error
	Host() host.Host
}

// Rooms holds the rooms that a node hosts. All methods may be called concurrently.
type Rooms struct {
	node    Node
	lobby   lobby
	remove  func()
	serving sync.WaitGroup // the streams of the node's own players

	mu     sync.Mutex
	rooms  map[string]*Room
	stands map[string]*Standby  // for rooms that this node may take over
	offers map[string]*Offering // by the type of their requests
	closed bool
}

// New lets a node host rooms. It registers the protocol of rooms, so a node can have only
// one Rooms.
func New(node Node) (*Rooms, error) {
	rs := &Rooms{node: node, rooms: make(map[string]*Room), stands: make(map[string]*Standby), offers: make(map[string]*Offering)}
	rs.lobby.begin(rs.Listings)
	var undo []func()
	rs.remove = func() {
		for _, f := range undo {
			f()
		}
	}
	for _, begin := range []func() (func(), error){
		func() (func(), error) { return node.Handle(wire.Protocol, rs.serve) },
		func() (func(), error) { return node.Handle(wire.StandbyProtocol, rs.serveStandby) },
		func() (func(), error) { return node.Handle(wire.WalkProtocol, rs.serveWalk) },
		func() (func(), error) {
			return node.Handle(wire.LobbyProtocol, func(s network.Stream) { rs.lobby.serve(s.Conn().RemotePeer(), s) })
		},
		func() (func(), error) { return node.Respond(wire.ClaimType, rs.claim) },
	} {
		end, err := begin()
		if err != nil {
			rs.remove()
			return nil, fmt.Errorf("rooms: %w", err)
		}
		undo = append(undo, end)
	}
	if node, ok := node.(interface {
		BeforeRest(func(context.Context)) func()
	}); ok { // its connections are about to end
		undo = append(undo, node.BeforeRest(rs.HandOver))
	}
	return rs, nil
}

// ErrNameTaken is returned by Host if the node already hosts a room of this name.
var ErrNameTaken = errors.New("the node hosts a room of this name already")

// Host opens a room with this game. With a store, the room begins as it was last stored.
// It runs until the room or rs is closed, or until its game panics. If the store is a
// Fencer, the room takes over from the host that holds it there.
func (rs *Rooms) Host(game Game, opts Options) (*Room, error) {
	r, err := rs.prepare(game, opts)
	if err != nil {
		return nil, fmt.Errorf("host a room: %w", err)
	}
	rs.mu.Lock()
	_, taken := rs.rooms[opts.Name]
	rs.mu.Unlock()
	if taken { // otherwise the open room would not store anything any more
		return nil, fmt.Errorf("host room %q: %w", opts.Name, ErrNameTaken)
	}
	if opts.Store != nil {
		if err := r.keep.load(); err != nil {
			return nil, fmt.Errorf("host room %q: %w", opts.Name, err)
		}
	}
	if len(opts.Standbys) > 0 {
		err = r.NameStandbys(opts.Standbys...)
	}
	if err == nil {
		err = rs.begin(r, nil)
	}
	if err != nil {
		if opts.Store != nil {
			err = errors.Join(err, r.keep.writer.Close()) // nothing was changed
		}
		return nil, err
	}
	return r, nil
}

func (rs *Rooms) prepare(game Game, opts Options) (*Room, error) {
	key := func() crypto.PrivKey { return rs.node.Host().Peerstore().PrivKey(rs.node.ID()) }
	r, err := newRoom(rs.node.ID(), key, game, opts)
	if err == nil {
		r.node, r.open = rs.node, rs.Open
	}
	return r, err
}

// begin starts the room; after, if not nil, is the standby that takes it over.
func (rs *Rooms) begin(r *Room, after *Standby) (err error) {
	opts := r.opts
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.closed {
		return ErrClosed
	}
	if _, taken := rs.rooms[opts.Name]; taken || rs.stands[opts.Name] != after {
		return fmt.Errorf("host room %q: %w", opts.Name, ErrNameTaken)
	}
	var found *announced
	if !opts.Hidden {
		if found, err = rs.announce(wire.RoomsType, wire.RoomType(opts.Name)); err != nil {
			return fmt.Errorf("host room %q: %w", opts.Name, err)
		}
	}
	rs.rooms[opts.Name] = r
	delete(rs.stands, opts.Name)
	if r.keep != nil {
		go r.meet(rs.node)
	}
	if opts.GiveWay {
		go r.giveWay(rs.node)
	}
	go func() {
		r.run()
		r.boards.close()
		if found != nil {
			_ = found.close() // its only error is that the node is closed
		}
		rs.mu.Lock()
		delete(rs.rooms, opts.Name)
		rs.mu.Unlock()
		close(r.done)
	}()
	return nil
}

// Rooms lists the open rooms, in the order of their names.
func (rs *Rooms) Rooms() []*Room {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	var list []*Room
	for _, r := range rs.rooms {
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b *Room) int { return strings.Compare(a.opts.Name, b.opts.Name) })
	return list
}

// Overdue returns the delay of the tick that is latest among all rooms, or zero if all
// are in time. It is for a watchdog, see command.Watchdog: a program cannot end a game
// that is stuck, except by ending itself.
func (rs *Rooms) Overdue() time.Duration {
	var most time.Duration
	for _, r := range rs.Rooms() {
		if due := r.due.Load(); due > 0 { // it has started
			most = max(most, time.Duration(r.now()-due))
		}
	}
	return most
}

// HandOver hands each room over to a standby that is ready to take over, if there is one.
// Call it when the node is about to become unreachable. It waits for all of them, or until
// ctx ends.
func (rs *Rooms) HandOver(ctx context.Context) {
	var leaving sync.WaitGroup
	for _, r := range rs.Rooms() {
		leaving.Go(func() {
			if _, err := r.HandOver(ctx); err != nil && !errors.Is(err, ErrNoStandby) {
				r.opts.Logger.Warn("a room was not handed over", "room", r.opts.Name, "error", err)
			}
		})
	}
	leaving.Wait()
}

// leaveLimit bounds how long Rooms.Close waits for the rooms to be handed over.
const leaveLimit = 5 * time.Second

// Close hands each room over to a standby that is ready to take over, if there is one,
// closes the others and waits for them. It returns the errors of Room.Close.
func (rs *Rooms) Close() error {
	rs.mu.Lock()
	rs.closed = true
	stands := slices.Collect(maps.Values(rs.stands))
	rs.mu.Unlock()
	for _, s := range stands {
		_ = s.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveLimit)
	defer cancel()
	rs.HandOver(ctx)
	var errs []error
	for _, r := range rs.Rooms() {
		errs = append(errs, r.Close())
	}
	rs.remove()
	rs.lobby.close()
	rs.serving.Wait()
	return errors.Join(errs...)
}

// helloLimit is how long a peer may take to send its first message.
const helloLimit = 10 * time.Second

// serve runs a stream that a peer has opened.
func (rs *Rooms) serve(s network.Stream) { rs.serveFrom(s.Conn().RemotePeer(), s) }

func (rs *Rooms) serveFrom(p peer.ID, s network.Stream) {
	messages, hello, ok := readHello(s)
	if !ok {
		return
	}
	rs.mu.Lock()
	r := rs.rooms[hello.Room]
	if stand := rs.stands[hello.Room]; r == nil && stand != nil {
		r = stand.room // the player waits until it is taken over
	}
	rs.mu.Unlock()
	if r == nil {
		refuse(s, wire.NoRoom)
		return
	}
	v, code := r.admit(p, s, hello.Version)
	switch code {
	case 0:
	case wire.Moved:
		leave(s, r.lastWords())
		return
	default:
		refuse(s, code)
		return
	}
	v.run(messages)
}

// readHello reads which room a peer wants.
func readHello(s network.Stream) (messages *wire.Reader, hello wire.Hello, ok bool) {
	return readFirst(s, wire.MaxToHost, wire.KindHello, wire.DecodeHello)
}

// readFirst reads a peer's first message, of up to most bytes. If the peer does not send
// it within helloLimit, or sends something else, readFirst resets the stream.
func readFirst[M any](s network.Stream, most int, kind wire.Kind, decode func([]byte) (M, error)) (messages *wire.Reader, first M, ok bool) {
	_ = s.SetReadDeadline(time.Now().Add(helloLimit))
	messages = wire.NewReader(s, most)
	said, body, err := messages.Next()
	if err == nil && said == kind {
		first, err = decode(body)
	}
	if err != nil || said != kind {
		_ = s.ResetWithError(network.StreamProtocolViolation)
		return nil, first, false
	}
	_ = s.SetReadDeadline(time.Time{})
	return messages, first, true
}

// refuse sends a peer the reason why its stream ends, and gives it a moment to read that.
func refuse(s network.Stream, code wire.Code) {
	leave(s, wire.AppendOut(nil, wire.Out{All: true, Code: code, Reason: code.String()}))
}

func leave(s network.Stream, last []byte) {
	_ = s.SetDeadline(time.Now().Add(time.Second))
	_, err := s.Write(last)
	if err == nil && s.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, s)
	}
	_ = s.Reset()
}
