package world

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/world/wire"
)

const (
	// silence is how long a standby waits without hearing from a host before it takes
	// over. The second standby waits silenceEach longer, and so on, counted from when it
	// last heard of an earlier one that is about to take over.
	silence     = 2 * time.Second
	silenceEach = time.Second
	// askAgain is how long a standby that has been fed waits before it asks a peer again.
	// One that has not waits twice as long each time, up to askLimit.
	askAgain = 250 * time.Millisecond
	askLimit = 5 * time.Second
	// dialLimit bounds how long it takes to open a stream to a host.
	dialLimit = 5 * time.Second
	// tidyEvery is how often waiting players that have left are dropped.
	tidyEvery = time.Second
)

// Standby is this node's part in a room that another peer hosts. This node takes the room
// over when the host leaves or falls silent. All methods may be called concurrently.
type Standby struct {
	rooms *Rooms
	room  *Room // the room to be held; players wait in it
	ctx   context.Context
	stop  context.CancelFunc
	done  chan struct{} // closed when the room is held, or will not be
	over  chan struct{} // closed when its goroutine has returned

	tick atomic.Uint32 // the tick up to which it has received the world

	handed network.Stream // a stream to the host that waits for this node to take over, or nil

	mu     sync.Mutex
	line   wire.Line
	host   peer.ID // the peer that it asks
	synced bool
	whole  bool  // it has received a whole world
	reason error // why it is not fed
	err    error
}

// StandBy makes this node a standby of a room that another peer hosts. It receives the
// world and its changes, and takes the room over when the host hands it over or has been
// silent for two seconds. The host feeds only standbys that it has named, see
// Room.NameStandbys; this node asks again until it is named. game must follow the same
// rules as the host's. It starts when the room is taken over, with these options.
func (rs *Rooms) StandBy(host peer.ID, game Keeper, opts Options) (*Standby, error) {
	opts.Standbys = nil // the host's other standbys will be named, and the host
	r, err := rs.prepare(game, opts)
	if err != nil {
		return nil, fmt.Errorf("stand by for a room: %w", err)
	}
	if host == rs.node.ID() {
		return nil, fmt.Errorf("stand by for room %q: its host is this node itself", opts.Name)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Standby{
		rooms: rs, room: r, ctx: ctx, stop: cancel, host: host,
		done: make(chan struct{}), over: make(chan struct{}),
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	_, taken := rs.rooms[opts.Name]
	_, stands := rs.stands[opts.Name]
	switch {
	case rs.closed:
		cancel()
		return nil, ErrClosed
	case taken || stands:
		cancel()
		return nil, fmt.Errorf("stand by for room %q: %w", opts.Name, ErrNameTaken)
	}
	rs.stands[opts.Name] = s
	go s.run()
	return s, nil
}

// Wait waits until this node holds the room, and returns it. The error is ErrClosed if
// the room or the standby was closed, the error of the takeover, or the error of ctx.
func (s *Standby) Wait(ctx context.Context) (*Room, error) {
	select {
	case <-s.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	return s.room, nil
}

// Room returns the room if this node holds it, else nil. It does not wait.
func (s *Standby) Room() *Room {
	select {
	case <-s.done:
	default:
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil
	}
	return s.room
}

// Ready reports whether this node could take over, and the host counts on it. If not, the
// error is the reason why the host does not feed it, if that is known.
func (s *Standby) Ready() (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.synced, s.reason
}

// Host returns the peer that holds the room, as far as the standby knows.
func (s *Standby) Host() peer.ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.host
}

// Tick returns the tick up to which this node has received the world, or zero before the
// first.
func (s *Standby) Tick() uint32 { return s.tick.Load() }

// Waiting returns the number of peers whose players wait here for the room to be taken
// over.
func (s *Standby) Waiting() int {
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	return len(s.room.visitors)
}

// Close ends the standby and waits for it. A room that it already holds stays open.
func (s *Standby) Close() error {
	s.stop()
	<-s.over
	return nil
}

// run asks to be fed until the room must be taken over or the standby is closed.
func (s *Standby) run() {
	defer close(s.over)
	tidied := make(chan struct{})
	go func() {
		defer close(tidied)
		s.tidy()
	}()
	world, err := s.follow()
	if err == nil {
		err = s.hold(world)
	}
	s.stop()
	<-tidied
	s.mu.Lock()
	s.err = err
	s.mu.Unlock()
	close(s.done)
	if err != nil {
		s.rooms.mu.Lock()
		if s.rooms.stands[s.room.opts.Name] == s {
			delete(s.rooms.stands, s.room.opts.Name)
		}
		s.rooms.mu.Unlock()
		s.room.abandon()
	}
}

// follow is fed by the room's current host until the room must be taken over, and returns
// the world as of then.
func (s *Standby) follow() (*mirror, error) {
	var world *mirror
	var heard time.Time // when the last sign came that the room continues
	for pause := askAgain; ; pause = min(2*pause, askLimit) {
		f := &fed{standby: s, heard: heard, ready: world != nil}
		err := f.run()
		if heard = f.heard; f.world != nil && f.world.number > 0 {
			world = f.world
		}
		if world != nil {
			pause = askAgain
		}
		s.note(err)
		switch {
		case s.ctx.Err() != nil || f.closed:
			return nil, ErrClosed
		case f.final:
			return world, nil
		case world != nil && time.Since(heard) >= s.patience():
			s.room.opts.Logger.Warn("a room is taken over: its host is heard of no more",
				"room", s.room.opts.Name, "host", s.Host(), "for", time.Since(heard), "error", err)
			// Continue after the ticks that players may have seen.
			world.tick += uint32(time.Since(world.at).Seconds()*float64(s.room.opts.Hz)) + 1
			return world, nil
		}
		s.next(f.asked)
		select {
		case <-time.After(pause):
		case <-s.ctx.Done():
		}
	}
}

func (s *Standby) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && (s.reason == nil || s.reason.Error() != err.Error()) {
		s.room.opts.Logger.Info("a standby is not fed", "room", s.room.opts.Name, "host", s.host, "error", err)
	}
	s.reason = err
}

// patience returns how long this standby waits without hearing from a host before it
// takes over.
func (s *Standby) patience() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return patienceOf(s.place(s.room.self))
}

// patienceOf returns the patience of the standby at a place.
func patienceOf(place int) time.Duration {
	return silence + time.Duration(max(0, place))*silenceEach
}

// place returns a peer's place among the standbys, or a negative number; mu is held.
func (s *Standby) place(of peer.ID) int {
	if len(s.line) == 0 {
		return -1
	}
	return slices.Index(s.line.Newest().Standbys, of)
}

// takesOver returns the room once this standby holds it, for a later standby that asks on
// stream. It first shows that standby that this one is about to take over, so that the
// other does not do so itself meanwhile. takesOver returns nil if it is not this one's
// turn before the other's, or if this one had time to take over and did not, because the
// host is heard again.
func (s *Standby) takesOver(before peer.ID, stream network.Stream) *Room {
	s.mu.Lock()
	first, second := s.place(s.room.self), s.place(before)
	line, isNext := s.line, s.whole && 0 <= first && first < second
	s.mu.Unlock()
	if !isNext {
		return nil
	}
	_ = stream.SetWriteDeadline(time.Now().Add(silenceEach))
	if _, err := stream.Write(wire.AppendLine(nil, line)); err != nil {
		return nil
	}
	_ = stream.SetWriteDeadline(time.Time{})
	late := time.NewTimer(s.patience())
	defer late.Stop()
	select {
	case <-s.done:
	case <-late.C:
	}
	return s.Room()
}

// next makes the standby ask another peer that may hold the room than asked: the host,
// and then each standby in turn.
func (s *Standby) next(asked peer.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.line) == 0 || s.host != asked { // a line has named another host meanwhile
		return
	}
	newest := s.line.Newest()
	may := append([]peer.ID{newest.Host}, newest.Standbys...)
	may = slices.DeleteFunc(may, func(p peer.ID) bool { return p == s.room.self })
	s.host = may[(slices.Index(may, s.host)+1)%len(may)]
}

// learn accepts a verified line that a peer shows, and reports whether it was known.
func (s *Standby) learn(l wire.Line) (known bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known = len(s.line) > 0 && same(l, s.line)
	if len(s.line) > 0 && !known && !l.Beats(s.line) {
		return false, fmt.Errorf("%s claims the room in epoch %d, but %s holds it in epoch %d",
			l.Newest().Host, l.Newest().Epoch, s.line.Newest().Host, s.line.Newest().Epoch)
	}
	s.line, s.host = l, l.Newest().Host
	return known, nil
}

// same reports whether two verified lines end with the same claim.
func same(a, b wire.Line) bool {
	x, y := a.Newest(), b.Newest()
	return x.Epoch == y.Epoch && x.Serial == y.Serial && x.Host == y.Host
}

// fed is one stream on which a standby is fed.
type fed struct {
	standby *Standby
	asked   peer.ID
	world   *mirror
	heard   time.Time
	ready   bool // it has a whole world, and could take over
	final   bool // the host hands the room over
	closed  bool // the room has been closed
}

// run asks the standby's host, and reads the feed until it ends.
func (f *fed) run() error {
	s := f.standby
	s.mu.Lock()
	host := s.host
	s.mu.Unlock()
	f.asked = host
	ctx, cancel := context.WithDeadline(s.ctx, f.openLimit())
	stream, err := s.rooms.node.Open(ctx, host, wire.StandbyProtocol)
	cancel()
	if err != nil {
		return err
	}
	defer context.AfterFunc(s.ctx, func() { _ = stream.Reset() })()
	defer func() {
		if !f.final {
			_ = stream.Reset()
		}
	}()
	hello := wire.Hello{Room: s.room.opts.Name, Version: s.room.opts.Version}
	if _, err := stream.Write(wire.AppendHello(nil, hello)); err != nil {
		return err
	}
	defer func() {
		s.mu.Lock()
		s.synced = s.synced && f.final
		s.mu.Unlock()
	}()
	return f.read(stream, host)
}

// limit returns the time by which the host must be heard, when it may be time to take
// over. A standby without a whole world has nothing to take over, and gets more time.
func (f *fed) limit() time.Time {
	if !f.ready {
		return time.Now().Add(dialLimit)
	}
	return f.heard.Add(f.standby.patience())
}

// openLimit returns how long to wait for the peer that is asked: until the next standby
// may hold the room, because that one must then be asked. A standby before this one gets
// at least silenceEach.
func (f *fed) openLimit() time.Time {
	s := f.standby
	s.mu.Lock()
	asked, own := s.place(f.asked), s.place(s.room.self)
	s.mu.Unlock()
	switch next := f.heard.Add(patienceOf(asked + 1)); {
	case !f.ready || asked >= own:
		return f.limit()
	case asked < 0 || time.Until(next) > silenceEach:
		return next
	default:
		return time.Now().Add(silenceEach)
	}
}

func (f *fed) read(stream network.Stream, host peer.ID) error {
	s := f.standby
	messages := wire.NewReader(stream, wire.MaxFeed)
	f.world = newMirror()
	var claim *wire.Claim
	for {
		_ = stream.SetReadDeadline(f.limit())
		kind, body, err := messages.Next()
		if err != nil {
			return err
		}
		switch {
		case kind == wire.KindOut:
			o, err := wire.DecodeOut(body)
			if err != nil {
				return err
			}
			return errors.New(o.Reason)
		case kind == wire.KindLine:
			l, err := wire.DecodeVerified(body, s.room.opts.Name)
			if err != nil {
				return err
			}
			known, err := s.learn(l)
			if err != nil {
				return err
			}
			f.heard = time.Now() // a new holder of the room gets its time, too
			switch newest := l.Newest(); {
			case newest.Host == host:
				claim = newest
			case !known || claim != nil:
				return fmt.Errorf("the room has moved to %s", newest.Host)
			} // otherwise a standby is about to take over
		case kind == wire.KindRecords && claim != nil:
			if err := f.world.take(body); err != nil {
				return err
			}
			f.heard = time.Now()
		case kind == wire.KindMark && claim != nil:
			mark, err := f.world.mark(body, claim)
			if err != nil {
				return err
			}
			f.heard, f.ready = time.Now(), true
			s.tick.Store(mark.Tick)
			s.mu.Lock()
			s.synced = mark.Number > 1 // now the host knows, too, that the first batch was sent
			s.whole, s.reason = true, nil
			s.mu.Unlock()
			if mark.Flags&wire.MarkEnded != 0 {
				f.closed = true
				return ErrClosed
			}
			if mark.Flags&wire.MarkFinal != 0 {
				f.final = true
				s.handed = stream
				return nil
			}
		default:
			return fmt.Errorf("%w: kind %d of a room's host", wire.ErrMalformed, kind)
		}
	}
}

// hold makes this node hold the room, with the world that it has received.
func (s *Standby) hold(world *mirror) error {
	r := s.room
	s.mu.Lock()
	before := s.line
	s.mu.Unlock()
	line, err := takeOver(before, r.self, r.key())
	if err != nil {
		return err
	}
	r.keep.inherit(world, line)
	r.mu.Lock()
	r.setLine(line)
	r.mu.Unlock()
	if err := s.rooms.begin(r, s); err != nil {
		return err
	}
	r.opts.Logger.Info("a room is held by this node now", "room", r.opts.Name,
		"epoch", line.Newest().Epoch, "tick", world.tick, "before", before.Newest().Host)
	if s.handed != nil {
		_, err := s.handed.Write(wire.AppendLine(nil, line))
		if err = errors.Join(err, s.handed.CloseWrite()); err != nil {
			_ = s.handed.Reset() // that host will receive the claim when the two meet
		}
	}
	return nil
}

// tidy drops waiting players that have left, until the standby ends.
func (s *Standby) tidy() {
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.room.tidy()
		case <-s.ctx.Done():
			return
		}
	}
}

// tidy drops ended visitors of a room that has not begun.
func (r *Room) tidy() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ready = slices.DeleteFunc(r.ready, func(v *visitor) bool {
		if !v.isEnded() {
			return false
		}
		if r.visitors[v.peer] == v {
			delete(r.visitors, v.peer)
		}
		return true
	})
}

// abandon ends a room that has not begun.
func (r *Room) abandon() {
	r.mu.Lock()
	r.ended = true
	var waiting []*visitor
	for _, v := range r.visitors {
		waiting = append(waiting, v)
	}
	r.mu.Unlock()
	for _, v := range waiting {
		v.end()
	}
	r.stop()
	r.serving.Wait()
	if r.keep.writer != nil {
		_ = r.keep.writer.Close() // it logs what it cannot store
	}
	r.keep.stop()
	close(r.done)
}
