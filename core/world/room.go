package world

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/ipfs/go-datastore"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/world/wire"
)

const (
	DefaultHz           = 20
	DefaultPlayers      = 256
	DefaultVisible      = 256
	DefaultBudget       = 4 << 10
	DefaultGrace        = 15 * time.Second
	DefaultInputSize    = 256
	DefaultSeatsPerPeer = 32
)

// Options of a room. The zero value of all but Name is usable.
type Options struct {
	// Name is the name under which players join the room: 1 to 64 bytes of UTF-8.
	Name string
	// Version is that of the game. A player of another version is refused. At most 64
	// bytes.
	Version string
	// Password, if not empty, is needed to join.
	Password string

	// Hidden keeps the room out of searches by name: a player has to know its host.
	Hidden bool

	// Private admits only players with an invitation, see Rooms.Invite: the room is Hidden,
	// and gets a random Password if it has none.
	Private bool

	// GiveWay ends the room, with a Moved, when another peer holds one of the same name and
	// version that has more players, or as many and the lower id: for a room that whoever
	// finds none begins to hold, so that two who begin at once come together. The players
	// are told, and can look for the other room. Anybody may hold a room of any name, and
	// say of it what they like, so a stranger can end this one. It has no Store and no
	// Standbys, which settle that in their own way, and is not Hidden.
	GiveWay bool

	// Tags are shown to peers that search for rooms, by name, for example the map: at most
	// 16, each with a name of up to 32 bytes and a value of up to 128, both printable.
	// Room.SetTags changes them.
	Tags map[string]string

	// Hz is how many ticks there are in a second, up to 100. If zero, DefaultHz.
	Hz int
	// Players is how many may play. If zero, DefaultPlayers.
	Players int
	// Spectators is how many may watch besides. If zero, none.
	Spectators int
	// SeatsPerPeer is how many seats one peer may have. If zero, DefaultSeatsPerPeer.
	SeatsPerPeer int
	// Grace is how long the seat of a player is kept whose connection was lost. If
	// zero, DefaultGrace.
	Grace time.Duration

	// Idle closes the room after this time without players and spectators. If zero, the
	// room stays open.
	Idle time.Duration

	// Radius is how far a player sees, in the unit of the world. If zero, every player sees
	// everything.
	Radius float32
	// Leave is the distance at which an entity leaves a player's sight, at least Radius. If
	// zero, 1.2 times Radius. An entity that moves farther than Leave - Radius in four
	// ticks is seen late.
	Leave float32
	// Visible is how many entities one player sees, the nearest first. If zero,
	// DefaultVisible; at most 16,384.
	Visible int
	// Budget is how many bytes of records a player receives in one tick. Records that do
	// not fit wait, and become more urgent. If zero, DefaultBudget; at most 64 KiB.
	Budget int

	// Inputs is how many inputs of one player are taken in a second. A player may send that
	// many at once. Further inputs wait at the player's end. If zero, twice Hz.
	Inputs int
	// InputSize bounds an input, in bytes. If zero, DefaultInputSize; at most 32 KiB.
	InputSize int

	// Store keeps the world beyond the end of the room. The Game must then be a Keeper. One
	// store can keep rooms of different names. If it is a Fencer, only the newest of
	// several hosts of a room writes. If nil, nothing is kept.
	Store datastore.Batching
	// SaveEvery is how often what has changed is stored. If zero, DefaultSaveEvery.
	SaveEvery time.Duration

	// Standbys may hold the room after this peer; see Room.NameStandbys. The Game must then
	// be a Keeper.
	Standbys []peer.ID

	// Neighbours are the hosts whose rooms' players may walk to this one; see
	// Room.NameNeighbours. If none, only players of this node's other rooms may.
	Neighbours []peer.ID

	// Logger, if nil, is silent.
	Logger *slog.Logger
}

func (o *Options) check() error {
	o.Hz = cmp.Or(o.Hz, DefaultHz)
	o.Players = cmp.Or(o.Players, DefaultPlayers)
	o.SeatsPerPeer = cmp.Or(o.SeatsPerPeer, DefaultSeatsPerPeer)
	o.Grace = cmp.Or(o.Grace, DefaultGrace)
	o.Leave = cmp.Or(o.Leave, 1.2*o.Radius)
	o.Visible = cmp.Or(o.Visible, DefaultVisible)
	o.Budget = cmp.Or(o.Budget, DefaultBudget)
	o.Inputs = cmp.Or(o.Inputs, 2*o.Hz)
	o.InputSize = cmp.Or(o.InputSize, DefaultInputSize)
	o.SaveEvery = cmp.Or(o.SaveEvery, DefaultSaveEvery)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Private {
		o.Hidden = true
		o.Password = cmp.Or(o.Password, rand.Text())
	}
	if err := CheckName(o.Name); err != nil {
		return err
	}
	if o.GiveWay && (o.Store != nil || len(o.Standbys) > 0) {
		return errGivesWay
	}
	if o.GiveWay && o.Hidden {
		return errors.New("a room that gives way is found by its name, so it cannot be hidden")
	}
	if len(o.Version) > wire.MaxName {
		return fmt.Errorf("the version %.20q… has %d bytes; at most %d may be", o.Version, len(o.Version), wire.MaxName)
	}
	for _, l := range []struct {
		name            string
		is, least, most float64
	}{
		{"Hz", float64(o.Hz), 1, 100},
		{"Players", float64(o.Players), 1, MaxEntities},
		{"Spectators", float64(o.Spectators), 0, MaxEntities},
		{"SeatsPerPeer", float64(o.SeatsPerPeer), 1, 4096},
		{"Grace", o.Grace.Seconds(), 0, 86400},
		{"Idle", o.Idle.Seconds(), 0, 86400},
		{"SaveEvery", o.SaveEvery.Seconds(), 0.01, 3600},
		{"Radius", float64(o.Radius), 0, MaxPlace},
		{"Leave", float64(o.Leave), float64(o.Radius), MaxPlace},
		{"Visible", float64(o.Visible), 1, 16 << 10},
		{"Budget", float64(o.Budget), MaxRecord, 64 << 10},
		{"Inputs", float64(o.Inputs), 1, 10000},
		{"InputSize", float64(o.InputSize), 1, 32 << 10},
	} {
		if !(l.least <= l.is && l.is <= l.most) {
			return fmt.Errorf("%s is %v; it may be from %v to %v", l.name, l.is, l.least, l.most)
		}
	}
	return wire.CheckTags(o.Tags)
}

// CheckName returns an error that says what is wrong with the name of a room, or nil.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("the name of the room is empty")
	case len(name) > wire.MaxName:
		return fmt.Errorf("the name of the room, %.20q…, has %d bytes; at most %d may be", name, len(name), wire.MaxName)
	case !utf8.ValidString(name):
		return fmt.Errorf("the name of the room, %q, is not UTF-8", name)
	}
	return nil
}

// ErrClosed is returned by Room.Wait when Room.Close ended the room.
var ErrClosed = errors.New("the room is closed")

// Room is a game that this node hosts. All methods may be called concurrently.
type Room struct {
	opts   Options
	node   Node // for the boards
	self   peer.ID
	game   Game
	world  World
	keep   *keep // nil if the game is no Keeper
	boards boards
	key    func() crypto.PrivKey
	open   opener
	start  time.Time
	ctx    context.Context // of the walks; it ends with the room
	stop   context.CancelFunc

	mu       sync.Mutex
	visitors map[peer.ID]*visitor // the newest of each peer
	ready    []*visitor           // that have something for the tick
	calls    []func()             // for the tick
	ended    bool
	banned   map[peer.ID]struct{}
	tags     map[string]string // never changed, but replaced
	stats    Stats
	line     wire.Line // empty while no standbys are named
	feeds    map[peer.ID]*feed
	// lineMessage is the line as players are told of it.
	lineMessage []byte
	neighbours  []peer.ID
	expected    map[seatKey]*expected // that walk here
	playing     int                   // the tick's, which writes it with mu held
	promised    int                   // the places that are kept

	// Of the tick.
	spareReady []*visitor
	spareCalls []func()
	all        []*visitor
	seats      map[seatKey]*Player
	players    []*Player // by slot; nil where the slot is free
	absent     []*Player
	free       []int
	watching   int
	peopled    int64     // when there was last somebody
	walkers    []*Player // that walk to another room

	spareWalkers []*Player
	outs         []*Player
	eyes         eyes
	records      records
	framer       framer
	phases       phases
	shed         shed
	leaving      *leaving  // it is to be handed over after this tick
	moved        *Moved    // the room ends because of another
	yielded      wire.Line // of that one, if it has standbys

	wake    chan struct{}
	due     atomic.Int64 // when the next tick is due, by now
	closing chan struct{}
	done    chan struct{}
	once    sync.Once
	serving sync.WaitGroup // the visitors' goroutines
	err     error
	unkept  error // why the last changes were not stored
}

type seatKey struct {
	peer   peer.ID
	number uint32
}

func newRoom(self peer.ID, key func() crypto.PrivKey, game Game, opts Options) (*Room, error) {
	if game == nil {
		return nil, errors.New("the game is nil")
	}
	if err := opts.check(); err != nil {
		return nil, err
	}
	r := &Room{
		opts: opts, self: self, key: key, game: game, start: time.Now(),
		visitors: make(map[peer.ID]*visitor),
		banned:   make(map[peer.ID]struct{}),
		tags:     maps.Clone(opts.Tags),
		seats:    make(map[seatKey]*Player),
		wake:     make(chan struct{}, 1), closing: make(chan struct{}), done: make(chan struct{}),
		neighbours: slices.Clone(opts.Neighbours),
	}
	r.ctx, r.stop = context.WithCancel(context.Background())
	r.eyes = eyes{w: &r.world, radius: opts.Radius, leave: opts.Leave, most: opts.Visible}
	r.boards.room, r.world.boards = r, &r.boards
	r.records = records{game: game, w: &r.world}
	r.framer = framer{records: &r.records, budget: opts.Budget}
	if keeper, ok := game.(Keeper); ok {
		r.keep = newKeep(r, keeper)
		r.world.keep = r.keep
	} else if opts.Store != nil {
		return nil, fmt.Errorf("the room has a Store, but its game, a %T, is no Keeper", game)
	}
	return r, nil
}

// Name is the room's name.
func (r *Room) Name() string { return r.opts.Name }

// Close ends the room, tells its players, stores what has changed, and waits for its
// goroutines. It waits for the tick, too, so a game must not call it, but may have a
// goroutine do so. The error says what could not be stored, and why.
func (r *Room) Close() error {
	r.once.Do(func() { close(r.closing) })
	<-r.done
	return r.unkept
}

// Done is closed when the room has ended.
func (r *Room) Done() <-chan struct{} { return r.done }

// untilDone is a context that ends with the room.
func (r *Room) untilDone() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-r.done
		cancel()
	}()
	return ctx, cancel
}

// Wait waits for the end of the room, and returns why it has ended: ErrClosed, the panic of
// its game, or a *Moved. It returns the error of ctx if that ends first.
func (r *Room) Wait(ctx context.Context) error {
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Kick removes all seats of a peer. It takes effect with the next tick.
func (r *Room) Kick(p peer.ID, reason string) { r.Do(func() { r.putPeer(p, wire.Kicked, reason) }) }

// Ban removes all seats of a peer, and refuses the peer from now on.
func (r *Room) Ban(p peer.ID, reason string) {
	r.ban(p, true)
	r.Do(func() { r.putPeer(p, wire.Banned, reason) })
}

// ban notes that a peer is refused from now on, or is not any more, also by the standbys.
func (r *Room) ban(p peer.ID, banned bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if banned {
		r.banned[p] = struct{}{}
	} else {
		delete(r.banned, p)
	}
	if r.keep != nil && !r.ended {
		r.calls = append(r.calls, func() { r.keep.bans = append(r.keep.bans, fedBan{p, banned}) })
	}
}

// Unban ends a ban.
func (r *Room) Unban(p peer.ID) {
	r.ban(p, false)
}

func (r *Room) putPeer(p peer.ID, why Reason, reason string) {
	for _, player := range r.players {
		if player != nil && player.peer == p {
			player.put(why, reason)
		}
	}
}

// Do calls f in the next tick, before the inputs, in the goroutine that runs the game. Do
// returns at once. f is not called if the room has ended.
func (r *Room) Do(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ended {
		r.calls = append(r.calls, f)
	}
}

// admit makes a visitor of a stream that a peer has opened to this room. The code, if
// not zero, says why it does not.
func (r *Room) admit(p peer.ID, s stream, version string) (*visitor, wire.Code) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, banned := r.banned[p]
	_, again := r.visitors[p]
	switch {
	case r.ended && r.moved != nil:
		return nil, wire.Moved
	case r.ended:
		return nil, wire.Closed
	case r.opts.Version != version:
		return nil, wire.Version
	case banned:
		return nil, wire.Banned
	case !again && len(r.visitors) >= r.opts.Players+r.opts.Spectators+spareVisitors && !r.expects(p):
		return nil, wire.Full
	}
	v := newVisitor(r, p, s)
	v.before = r.visitors[p]
	r.visitors[p] = v
	r.ready = append(r.ready, v)
	r.serving.Add(1)
	return v, 0
}

// spareVisitors is how many peers may be connected that have no seat.
const spareVisitors = 64

// notice has the tick look at a visitor, and begin if it is late: the timers of a hidden
// page may be slow, and what arrives is not.
func (r *Room) notice(v *visitor) {
	r.mu.Lock()
	r.ready = append(r.ready, v)
	r.mu.Unlock()
	if r.now() > r.due.Load() {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

func (r *Room) now() int64 { return int64(time.Since(r.start)) }

// run runs the ticks until the room ends.
func (r *Room) run() {
	if r.keep != nil {
		defer r.closeKept()
	}
	defer r.finish()
	var unrestored error
	r.err = r.guard("panicked", func() {
		r.game.Start(&r.world)
		if r.keep != nil {
			unrestored = r.keep.restore()
		}
		if unrestored == nil {
			r.ticks()
		}
	})
	var moved error
	if r.moved != nil {
		moved = r.moved
	}
	r.err = cmp.Or(r.err, unrestored, moved, ErrClosed)
	if game, ok := r.game.(Ender); ok {
		if err := r.guard("panicked at its end", func() { game.End(r.err) }); err != nil {
			r.err = errors.Join(r.err, err)
		}
	}
}

// closeKept stores the last changes. It comes after the players have heard of the end.
func (r *Room) closeKept() {
	r.unkept = r.keep.close(!errors.Is(r.err, ErrClosed) && r.yielded == nil)
	if r.yielded != nil && errors.Is(r.unkept, ErrOlder) {
		r.unkept = nil // who holds the room now stores it
	}
	if r.unkept != nil {
		r.err = errors.Join(r.err, r.unkept)
	}
}

// guard makes an error of a panic of the game.
func (r *Room) guard(what string, f func()) (err error) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		cause, ok := v.(error)
		if !ok {
			cause = fmt.Errorf("%v", v)
		}
		err = fmt.Errorf("the game of room %q %s: %w", r.opts.Name, what, cause)
		r.opts.Logger.Error("a game panicked, and its room ends", "room", r.opts.Name, "panic", v, "stack", string(debug.Stack()))
	}()
	f()
	return nil
}

// finish tells the players that the room has ended, and lets go of their streams.
func (r *Room) finish() {
	r.stop()
	r.mu.Lock()
	r.ended = true
	visitors := make([]*visitor, 0, len(r.visitors))
	for _, v := range r.visitors {
		visitors = append(visitors, v)
	}
	r.mu.Unlock()
	last := r.lastWords()
	for _, v := range r.all {
		switch {
		case len(last) == 0:
			v.end()
			continue
		case v.writing.Load(): // then, as soon as it has taken that
			v.sayNow(last)
			continue
		case v.isEnded():
			continue
		}
		v.out = append(v.out, last...)
		v.closing = true
		v.flush(r.now())
	}
	r.drain(visitors)
	r.endFeeds()
	r.serving.Wait()
}

// lastWords are what the players are told at the end. Where the game has failed and a
// standby is ready, there are none: it will take over.
func (r *Room) lastWords() []byte {
	out := wire.Out{All: true, Code: wire.Closed, Reason: "its host has closed it"}
	switch {
	case r.moved != nil:
		out.Code, out.Reason = wire.Moved, r.moved.Error()
		if len(r.yielded) > 0 {
			return wire.AppendOut(wire.AppendLine(nil, r.yielded), out)
		}
	case errors.Is(r.err, ErrClosed):
	case r.heir() != nil:
		return nil
	default:
		out.Reason = "its game failed"
	}
	return wire.AppendOut(nil, out)
}

// drain waits a moment for the players to take their leave, and ends the streams.
func (r *Room) drain(visitors []*visitor) {
	late := time.NewTimer(time.Second)
	defer late.Stop()
	for _, v := range r.all {
		select {
		case <-v.ended:
			continue
		case <-late.C:
		}
		break
	}
	for _, v := range append(visitors, r.all...) {
		v.end()
	}
}
