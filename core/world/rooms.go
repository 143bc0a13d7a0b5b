package world

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/tombolo-net/tombolo/core/dispatch"
	"github.com/tombolo-net/tombolo/core/link"
	"github.com/tombolo-net/tombolo/core/mesh"
	"github.com/tombolo-net/tombolo/core/world/wire"
)

// Node is what rooms take of a node. *core.Node is one.
type Node interface {
	ID() peer.ID
	Handle(proto protocol.ID, f network.StreamHandler) (remove func(), err error)
	Subscribe(pattern string, opts ...dispatch.Option) (*dispatch.Subscription, error)
	Respond(typ string, f link.Responder) (remove func(), err error)
	Open(ctx context.Context, p peer.ID, proto protocol.ID) (network.Stream, error)
	Presence(typ string) (*mesh.Presence, error)
	Request(ctx context.Context, p peer.ID, typ string, data []byte) ([]byte, error)
}

// Rooms are the rooms that a node hosts. All methods may be called concurrently.
type Rooms struct {
	node    Node
	remove  func()
	serving sync.WaitGroup // the node's own players

	mu     sync.Mutex
	rooms  map[string]*Room
	closed bool
}

// New makes a node one that can host rooms. It takes the protocol of rooms; there is
// one Rooms for a node.
func New(node Node) (*Rooms, error) {
	rs := &Rooms{node: node, rooms: make(map[string]*Room)}
	handled, err := node.Handle(wire.Protocol, rs.serve)
	if err != nil {
		return nil, fmt.Errorf("rooms: %w", err)
	}
	answered, err := node.Respond(wire.RoomsType, rs.list)
	if err != nil {
		handled()
		return nil, fmt.Errorf("rooms: %w", err)
	}
	rs.remove = func() { handled(); answered() }
	return rs, nil
}

// ErrNameTaken is returned by Host where the node hosts a room of this name already.
var ErrNameTaken = errors.New("the node hosts a room of this name already")

// Host begins a room with this game, as it was kept where it has a store. It runs until
// Close of the room or of rs, or until its game panics.
func (rs *Rooms) Host(game Game, opts Options) (*Room, error) {
	r, err := newRoom(rs.node.ID(), game, opts)
	if err != nil {
		return nil, fmt.Errorf("host a room: %w", err)
	}
	if r.keep != nil {
		if err := r.keep.load(); err != nil {
			return nil, fmt.Errorf("host room %q: %w", opts.Name, err)
		}
	}
	if err := rs.begin(r); err != nil {
		if r.keep != nil {
			err = errors.Join(err, r.keep.writer.Close()) // nothing was changed
		}
		return nil, err
	}
	return r, nil
}

func (rs *Rooms) begin(r *Room) (err error) {
	opts := r.opts
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.closed {
		return ErrClosed
	}
	if _, taken := rs.rooms[opts.Name]; taken {
		return fmt.Errorf("host room %q: %w", opts.Name, ErrNameTaken)
	}
	var found *announced
	if !opts.Hidden {
		if found, err = rs.announce(opts.Name); err != nil {
			return fmt.Errorf("host room %q: %w", opts.Name, err)
		}
	}
	rs.rooms[opts.Name] = r
	go func() {
		r.run()
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

// Rooms lists the rooms that are open, in the order of their names.
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

// Overdue is for how long the room that is held up most has owed its tick; zero where
// all keep their time. A watchdog may ask for it, see command.Watchdog: a program can
// end a game that is stuck only with itself.
func (rs *Rooms) Overdue() time.Duration {
	var most time.Duration
	for _, r := range rs.Rooms() {
		if due := r.due.Load(); due > 0 { // it has begun
			most = max(most, time.Duration(r.now()-due))
		}
	}
	return most
}

// Close closes all rooms and waits for them. The error is that of Room.Close.
func (rs *Rooms) Close() error {
	rs.remove()
	rs.mu.Lock()
	rs.closed = true
	rs.mu.Unlock()
	var errs []error
	for _, r := range rs.Rooms() {
		errs = append(errs, r.Close())
	}
	rs.serving.Wait()
	return errors.Join(errs...)
}

// helloLimit is how long a peer may take to say which room it wants.
const helloLimit = 10 * time.Second

// serve runs a stream that a peer has opened.
func (rs *Rooms) serve(s network.Stream) { rs.serveFrom(s.Conn().RemotePeer(), s) }

func (rs *Rooms) serveFrom(p peer.ID, s network.Stream) {
	_ = s.SetReadDeadline(time.Now().Add(helloLimit))
	messages := wire.NewReader(s, wire.MaxToHost)
	kind, body, err := messages.Next()
	if err != nil || kind != wire.KindHello {
		_ = s.ResetWithError(network.StreamProtocolViolation)
		return
	}
	hello, err := wire.DecodeHello(body)
	if err != nil {
		_ = s.ResetWithError(network.StreamProtocolViolation)
		return
	}
	_ = s.SetReadDeadline(time.Time{})
	rs.mu.Lock()
	r := rs.rooms[hello.Room]
	rs.mu.Unlock()
	if r == nil {
		refuse(s, wire.NoRoom)
		return
	}
	v, code := r.admit(p, s, hello.Version)
	if code != 0 {
		refuse(s, code)
		return
	}
	v.run(messages)
}

// refuse tells a peer why its stream ends, and gives it a moment to read that.
func refuse(s network.Stream, code wire.Code) {
	_ = s.SetDeadline(time.Now().Add(time.Second))
	_, err := s.Write(wire.AppendOut(nil, wire.Out{All: true, Code: code, Reason: code.String()}))
	if err == nil && s.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, s)
	}
	_ = s.Reset()
}
