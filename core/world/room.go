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

// Options configure a room. The zero value of every field but Name is usable.
type Options struct {
	// Name is the name under which players join the room: 1 to 64 bytes of UTF-8.
	Name string
	// Version is the version of the game, at most 64 bytes. A player with another version
	// is refused.
	Version string
	// Password, if not empty, is needed to join.
	Password string

	// Hidden keeps the room out of searches by name: a player has to know its host.
	Hidden bool

	// Private admits only players with an invitation, see Rooms.Invite: the room is Hidden,
	// and gets a random Password if it has none.
	Private bool

	// GiveWay ends the room, with a Moved, when another peer holds one of the same name
	// and version that has more players, or as many and the lower peer ID. It is for a
	// room that every player who finds none starts to host, so that two who start at once
	// come together. The players are informed, and can look for the other room. Anybody
	// may host a room of any name and describe it as they like, so a stranger can end
	// this one. The room cannot have a Store or Standbys, which resolve such conflicts in
	// their own way, and cannot be Hidden.
	GiveWay bool

	// Tags are shown by name to peers that search for rooms, for example the map. There
	// may be 16, each with a name of up to 32 bytes and a value of up to 128, both
	// printable. Room.SetTags changes them.
	Tags map[string]string

	// Hz is the number of ticks a second, up to 100. If zero, DefaultHz.
	Hz int
	// Players is the maximum number of players. If zero, DefaultPlayers.
	Players int
	// Spectators is the maximum number of spectators, in addition to the players. If
	// zero, none.
	Spectators int
	// SeatsPerPeer is the maximum number of seats of one peer. If zero,
	// DefaultSeatsPerPeer.
	SeatsPerPeer int
	// Grace is how long the seat of a player is kept after its connection was lost. If
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
	// Visible is the maximum number of entities that one player sees, the nearest first.
	// If zero, DefaultVisible; at most 16,384.
	Visible int
	// Budget is the maximum size of the records that a player receives in one tick, in
	// bytes. Records that do not fit wait, and become more urgent. If zero,
	// DefaultBudget; at most 64 KiB.
	Budget int

	// Inputs is how many inputs of one player are accepted in a second. A player may send
	// that many at once. Further inputs wait on the player's side. If zero, twice Hz.
	Inputs int
	// InputSize bounds an input, in bytes. If zero, DefaultInputSize; at most 32 KiB.
	InputSize int

	// Store keeps the world beyond the end of the room. The Game must then be a Keeper.
	// One store can hold rooms of different names. If it is a Fencer, only the newest of
	// several hosts of a room writes. If nil, nothing is stored.
	Store datastore.Batching
	// SaveEvery is how often changes are stored. If zero, DefaultSaveEvery.
	SaveEvery time.Duration

	// Standbys are the peers that may take the room over; see Room.NameStandbys. The Game
	// must then be a Keeper.
	Standbys []peer.ID

	// Neighbours are the hosts from whose rooms players may walk to this one; see
	// Room.NameNeighbours. If none, only players of this node's other rooms may.
	Neighbours []peer.ID

	// Logger receives warnings and events. If nil, nothing is logged.
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
	ctx    context.Context // of the walks; cancelled when the room ends
	stop   context.CancelFunc

	mu       sync.Mutex
	visitors map[peer.ID]*visitor // the newest visitor of each peer
	ready    []*visitor           // visitors with something for the tick
	calls    []func()             // for the tick
	ended    bool
	banned   map[peer.ID]struct{}
	tags     map[string]string // never changed, only replaced
	stats    Stats
	line     wire.Line // empty until standbys are named
	feeds    map[peer.ID]*feed
	// lineMessage is the message that gives players the line.
	lineMessage []byte
	neighbours  []peer.ID
	expected    map[seatKey]*expected // players that are walking here
	playing     int                   // written only by the tick, with mu held
	promised    int                   // seats promised to players that are about to have them

	// The fields of the tick.
	spareReady []*visitor
	spareCalls []func()
	all        []*visitor
	seats      map[seatKey]*Player
	players    []*Player // by slot; nil if the slot is free
	absent     []*Player
	free       []int
	watching   int
	peopled    int64     // when somebody was last in the room
	walkers    []*Player // players that are walking to another room

	spareWalkers []*Player
	outs         []*Player
	eyes         eyes
	records      records
	framer       framer
	phases       phases
	shed         shed
	leaving      *leaving  // a request to hand the room over after this tick
	moved        *Moved    // set if the room ends because another peer holds it
	yielded      wire.Line // the other host's line, if it has standbys

	wake    chan struct{}
	due     atomic.Int64 // when the next tick is due, by the clock of now
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

// Name returns the room's name.
func (r *Room) Name() string { return r.opts.Name }

// Close ends the room, informs its players, stores what has changed, and waits for its
// goroutines. It waits for the tick, too, so a game must not call it except from a
// goroutine of its own. The error says what could not be stored, and why.
func (r *Room) Close() error {
	r.once.Do(func() { close(r.closing) })
	<-r.done
	return r.unkept
}

// Done returns a channel that is closed when the room has ended.
func (r *Room) Done() <-chan struct{} { return r.done }

// untilDone returns a context that is cancelled when the room ends.
func (r *Room) untilDone() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-r.done
		cancel()
	}()
	return ctx, cancel
}

// Wait waits until the room has ended, and returns the reason: ErrClosed, the panic of
// its game, or a *Moved. If ctx ends first, Wait returns its error.
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

// ban starts or ends the refusal of a peer, also on the standbys.
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
// returns at once. If the room has ended, it does not call f.
func (r *Room) Do(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ended {
		r.calls = append(r.calls, f)
	}
}

// admit makes a visitor of a stream that a peer has opened to this room. A code other
// than zero is the reason why it refused.
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

// spareVisitors is how many peers without a seat may be connected.
const spareVisitors = 64

// notice puts a visitor on the list for the tick, and starts the tick if it is late: the
// timers of a hidden page may be slow, but messages arrive in time.
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

// closeKept stores the last changes, after the players have been informed of the end.
func (r *Room) closeKept() {
	r.unkept = r.keep.close(!errors.Is(r.err, ErrClosed) && r.yielded == nil)
	if r.yielded != nil && errors.Is(r.unkept, ErrOlder) {
		r.unkept = nil // the peer that holds the room now stores it
	}
	if r.unkept != nil {
		r.err = errors.Join(r.err, r.unkept)
	}
}

// guard turns a panic of the game into an error.
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

// finish informs the players that the room has ended, and closes their streams.
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
		case v.writing.Load(): // still writing: send it next
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

// lastWords returns the messages that the players get at the end. If the game failed and
// a standby is ready to take over, there are none.
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

// drain waits up to a second for the players to end their streams, and then resets the
// rest.
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
