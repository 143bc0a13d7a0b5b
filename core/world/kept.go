package world

import (
	"context"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/internal/behind"
	"github.com/tombolo-net/tombolo/core/world/wire"
)

// How a world outlasts its room. It is in memory; changes are written behind it to
// Options.Store, every Options.SaveEvery, one batch at a time. The store has these keys,
// under /rooms/<name in base32>:
//
//	v                   the version of this format
//	e/<entity>          its place, and what the game saves of it
//	p/<peer>/<seat>     what the game saves of a player
//	g/<name in base32>  what the game keeps by World.Keep
//	b/...               its boards, as in board.Store
//	l                   the host's claims, as a message, if it makes any
//
// Numbers in keys are in base 36. A place is two 32-bit floats, little-endian.

// A Keeper is a Game whose world outlasts its room. With Options.Store, a room begins as
// it was last stored. With standbys (see Room.NameStandbys), one of them continues it.
// The methods are called in the same way as those of Game.
//
// A crash loses what changed in the last Options.SaveEvery and during a commit, except
// for what Room.Flush has stored. Room.Close loses nothing. If the game panics, what had
// not been saved by then is lost.
type Keeper interface {
	Game

	// Restore is called between Start and the first tick, once for each stored entity. The
	// world already contains the entity, with its old number and place. An error ends the
	// room, and the store stays as it is.
	Restore(e Entity, data []byte) error

	// Save appends what to store about an entity besides its place. It is called for
	// entities that were spawned, moved or touched. If keep is false, for example for a
	// player's own avatar, the entity does not exist after a restart.
	Save(e Entity, dst []byte) (data []byte, keep bool)

	// SavePlayer appends the state to keep of a player. Player.Kept returns it when the
	// player joins again, however much later. SavePlayer is called at every save while
	// the player has its seat, five times a second if there are standbys, and when the
	// player leaves, before Leave. If it appends nothing, nothing is kept of the player.
	// It is not called for spectators. At most a million players are kept (see
	// Stats.Lost), and anybody can join under many peer IDs, so keep only players worth
	// keeping.
	SavePlayer(p *Player, dst []byte) []byte
}

// A Preparer is a Keeper that gets all entities of the next save in one call, for example
// because its world is in another program.
type Preparer interface {
	Keeper

	// Prepare is called before Save is called for these entities, removed ones included,
	// and SavePlayer for all players. These calls follow before anything else happens.
	Prepare(entities []Entity)
}

const (
	// DefaultSaveEvery is how often the world is saved.
	DefaultSaveEvery = behind.DefaultDelay

	keptFormat = "1"
	// readLimit bounds the time it takes to read a player's record, and loadLimit the
	// time for the whole world.
	readLimit = 10 * time.Second
	loadLimit = time.Minute
	// mostLeft bounds the players that have left and are not stored yet, in case the
	// store takes nothing.
	mostLeft = 1 << 16
	// mostKept bounds the players of whom something is kept, because anybody may join
	// under many peer IDs.
	mostKept = 1 << 20
)

// ErrNotKept is returned by Room.Flush if the room has no Options.Store.
var ErrNotKept = errors.New("the room is not kept: it has no store")

var keyCoding = base32.HexEncoding.WithPadding(base32.NoPadding)

// keep stores a room's world and sends it to the standbys. Its fields belong to the tick,
// except for those below mu.
type keep struct {
	game  Keeper
	room  *Room
	store datastore.Batching // nil without a store
	root  datastore.Key
	line  []byte // the line that is stored

	active bool    // there is a store, or there was a standby: changes are recorded
	feeds  []*feed // the room's feeds that have been sent the whole world
	fed    int64   // when changes were last sent to them

	restored  bool
	found     []keptEntity // entities of the store, until they are in the world
	restoring bool

	at       int64               // when the world was last saved
	dirty    []Entity            // changed since the last moment
	marked   []bool              // is in dirty
	stored   []bool              // is in the store, or on its way there
	changed  map[string]struct{} // names of the game's values that have changed
	left     map[seatKey]leaver
	inputs   map[seatKey]taken // the last inputs that the host before this one took
	bans     []fedBan          // since the last moment
	inputsAt []fedInput        // of players that have left since the last moment
	players  int               // of whom something is kept
	buffer   []byte
	size     int // of the last moment

	writing atomic.Bool
	failed  atomic.Bool // the last batch failed
	older   atomic.Bool // another host has taken over in the store, which accepts nothing more from this one
	run     sync.WaitGroup
	ctx     context.Context // cancelled when the room ends
	stop    context.CancelFunc

	handing   sync.Mutex // held while moments are passed to the writer
	versioned bool       // the version is in the store, or with the writer

	mu      sync.Mutex
	moments []*moment // not yet with the writer
	writer  *behind.Writer
	count   behind.Stats
	lost    uint64
}

type keptEntity struct {
	e    Entity
	x, y float32
	data []byte
}

// leaver is a player that has left. Its state is here until it is in the store.
type leaver struct {
	data  []byte
	saved bool // the writer has it
}

func newKeep(r *Room, game Keeper) *keep {
	if r.opts.Store != nil {
		r.boards.begin()
	}
	ctx, stop := context.WithCancel(context.Background())
	return &keep{
		ctx: ctx, stop: stop,
		game: game, room: r, store: r.opts.Store, active: r.opts.Store != nil,
		root:    datastore.NewKey("/rooms").ChildString(keyCoding.EncodeToString([]byte(r.opts.Name))),
		changed: make(map[string]struct{}), left: make(map[seatKey]leaver),
	}
}

func (k *keep) versionKey() datastore.Key { return k.root.ChildString("v") }

func (k *keep) entityKey(e Entity) datastore.Key {
	return k.root.ChildString("e").ChildString(strconv.FormatUint(uint64(e), 36))
}

func (k *keep) playerKey(s seatKey) datastore.Key {
	return k.root.ChildString("p").ChildString(s.peer.String()).ChildString(strconv.FormatUint(uint64(s.number), 36))
}

func (k *keep) valueKey(name string) datastore.Key {
	return k.root.ChildString("g").ChildString(keyCoding.EncodeToString([]byte(name)))
}

func (k *keep) boardKey(key string) datastore.Key {
	return datastore.RawKey(k.root.String() + "/b" + key)
}

// load reads what is stored, except for the players, and starts the writer.
func (k *keep) load() error {
	ctx, cancel := context.WithTimeout(context.Background(), loadLimit)
	defer cancel()
	to, err := k.claim(ctx)
	if err != nil {
		return err
	}
	version, err := k.store.Get(ctx, k.versionKey())
	switch {
	case errors.Is(err, datastore.ErrNotFound):
	case err != nil:
		return fmt.Errorf("read what is kept of the room: %w", err)
	case string(version) != keptFormat:
		return fmt.Errorf("what is kept of the room is of format %.20q; this program knows format %s", version, keptFormat)
	default:
		k.restored, k.versioned = true, true
	}
	for kind, take := range map[string]func(name string, value []byte) error{
		"e": k.foundEntity, "g": k.foundValue, "b": k.room.boards.foundRecord, "p": func(string, []byte) error { k.players++; return nil },
	} {
		q := query.Query{Prefix: k.root.ChildString(kind).String(), KeysOnly: kind == "p"}
		if err := behind.Each(ctx, k.store, q, take); err != nil {
			return fmt.Errorf("read what is kept of the room: %w", err)
		}
	}
	k.restored = k.restored || len(k.found) > 0 // a store without transactions may have no version yet
	k.openWriter(to)
	return nil
}

func (k *keep) openWriter(to datastore.Batching) {
	k.writer = behind.New(to, &k.mu, behind.Options{
		What: fmt.Sprintf("room %q", k.room.opts.Name), Delay: k.room.opts.SaveEvery,
		Count: &k.count, Logger: k.room.opts.Logger,
	})
}

func (k *keep) foundEntity(name string, value []byte) error {
	n, err := strconv.ParseUint(name, 36, 32)
	if err != nil || n >= MaxEntities || len(value) < 8 {
		return errors.New("this is not an entity")
	}
	x, y := readPlace(value)
	if !isPlace(x, y) {
		return fmt.Errorf("an entity cannot be at (%v, %v)", x, y)
	}
	k.found = append(k.found, keptEntity{Entity(n), x, y, value[8:]})
	return nil
}

func readPlace(b []byte) (x, y float32) {
	return math.Float32frombits(binary.LittleEndian.Uint32(b)), math.Float32frombits(binary.LittleEndian.Uint32(b[4:]))
}

// parsePlayer parses the end of a player's key.
func (k *keep) parsePlayer(name string) (key seatKey, err error) {
	id, number, _ := strings.Cut(name, "/")
	if key.peer, err = peer.Decode(id); err != nil {
		return key, err
	}
	n, err := strconv.ParseUint(number, 36, 32)
	key.number = uint32(n)
	return key, err
}

func (k *keep) foundValue(name string, value []byte) error {
	decoded, err := keyCoding.DecodeString(name)
	if err != nil {
		return err
	}
	k.room.world.keepOwn(string(decoded), value)
	return nil
}

// restore puts the stored entities into the world.
func (k *keep) restore() error {
	w := &k.room.world
	if len(k.found) > 0 && w.count > 0 {
		return fmt.Errorf("room %q: Start puts entities into a world that is restored; see World.Restored", k.room.opts.Name)
	}
	k.restoring = true
	for _, f := range k.found {
		w.SpawnAs(f.e, f.x, f.y)
		k.grow(f.e)
		k.stored[f.e] = true
	}
	k.restoring = false
	w.free = w.free[:0]
	for e := range w.of { // free numbers
		if !w.of[e].alive {
			w.free = append(w.free, Entity(e))
		}
	}
	for _, f := range k.found {
		if err := k.game.Restore(f.e, f.data); err != nil {
			return fmt.Errorf("restore entity %d of room %q: %w", f.e, k.room.opts.Name, err)
		}
	}
	k.found = nil
	return nil
}

// leaves saves a player that is about to leave. A player that walked to another room has
// taken its state with it.
func (k *keep) leaves(p *Player, why Reason) {
	if p.spectator || !k.active {
		return
	}
	key := seatKey{p.peer, p.number}
	if len(k.feeds) > 0 {
		k.inputsAt = append(k.inputsAt, fedInput{key: key})
	}
	var data []byte
	if why != wire.Walked {
		data = k.game.SavePlayer(p, nil)
	}
	if len(data) == 0 && len(p.kept) == 0 {
		return
	}
	if _, known := k.left[key]; !known && len(k.left) >= mostLeft {
		k.lose("the store takes nothing")
		return
	}
	if !k.mayKeep(p, data) {
		return
	}
	k.left[key] = leaver{data: data}
}

// isBack handles a player that has a seat again: what was kept for it is its own again.
func (k *keep) isBack(p *Player) {
	key := seatKey{p.peer, p.number}
	delete(k.inputs, key)
	if l, was := k.left[key]; was && !p.spectator {
		p.unsaved = !l.saved
		delete(k.left, key)
	}
}

// mayKeep counts the players of whom something is kept, and reports whether data may be
// kept.
func (k *keep) mayKeep(p *Player, data []byte) bool {
	switch {
	case len(p.kept) == 0 && len(data) > 0:
		if k.players >= mostKept {
			k.lose("something is kept of too many")
			return false
		}
		k.players++
	case len(p.kept) > 0 && len(data) == 0:
		k.players--
	}
	return true
}

// lose counts the state of a player that is not kept, and logs it now and then.
func (k *keep) lose(why string) {
	k.mu.Lock()
	k.lost++
	lost := k.lost
	k.mu.Unlock()
	if lost&(lost-1) == 0 {
		k.room.opts.Logger.Warn("what is to be kept of players is lost", "room", k.room.opts.Name, "reason", why, "times", lost)
	}
}

// recalled is what the store has of a player that is about to join.
type recalled struct {
	seat uint32
	data []byte
	err  error
	last taken // the last input that the host before this one took
}

// read reads what is kept of a player, so that the tick, which handles the player's
// message next, does not have to. It is called by the visitor's reader.
func (k *keep) read(v *visitor, kind wire.Kind, body []byte) {
	var j wire.Join
	var err error
	if kind == wire.KindArrive {
		var a wire.Arrive
		a, err = wire.DecodeArrive(body)
		j.Seat = a.Seat
	} else {
		j, err = wire.DecodeJoin(body)
	}
	if err != nil || j.Spectator || k.store == nil {
		return // the tick handles the message
	}
	ctx, cancel := context.WithTimeout(context.Background(), readLimit)
	defer cancel()
	data, err := k.store.Get(ctx, k.playerKey(seatKey{v.peer, j.Seat}))
	if errors.Is(err, datastore.ErrNotFound) {
		data, err = nil, nil
	}
	if err != nil {
		k.room.opts.Logger.Warn("what is kept of a player cannot be read", "room", k.room.opts.Name, "peer", v.peer, "error", err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.recalls = append(v.recalls, recalled{seat: j.Seat, data: data, err: err})
}

// recall returns what is kept of a player that asks for a seat. It is called once for
// each time that the player asks.
func (k *keep) recall(v *visitor, seat uint32) recalled {
	key, found := seatKey{v.peer, seat}, recalled{}
	v.mu.Lock()
	if at := slices.IndexFunc(v.recalls, func(c recalled) bool { return c.seat == seat }); at >= 0 {
		found = v.recalls[at]
		v.recalls = slices.Delete(v.recalls, at, at+1)
	}
	v.mu.Unlock()
	if l, here := k.left[key]; here {
		found = recalled{seat: seat, data: l.data}
	}
	found.last = k.inputs[key]
	return found
}

// close stores what has not been stored. If the game has failed, close does not call it.
func (k *keep) close(failed bool) error {
	if k.store == nil {
		k.stop()
		k.run.Wait()
		return nil
	}
	var err error
	if !failed {
		err = k.room.guard("panicked when it was saved", func() { k.cut(false) })
	}
	k.hand()
	err = errors.Join(err, k.writer.Close())
	k.stop()
	k.run.Wait()
	return err
}

// Restored reports whether the room begins with a stored world. If so, Start must not
// spawn anything, because the entities come by Keeper.Restore.
func (w *World) Restored() bool { return w.keep != nil && w.keep.restored }

// Anew discards the stored world. It is for a game that has a newer one of its own, which
// calls Anew in Start before it spawns anything. Keeper.Restore is then not called, and
// stored entities and values are deleted unless the game puts them into the world again.
func (w *World) Anew() {
	if w.keep == nil {
		return
	}
	for _, f := range w.keep.found {
		w.keep.grow(f.e)
		w.keep.stored[f.e] = true
		w.keep.mark(f.e)
	}
	w.keep.found, w.keep.restored = nil, false
	for name := range w.own {
		w.Keep(name, nil)
	}
}

// AllKept yields the values that the game keeps by name, in no particular order. The game
// must not change them.
func (w *World) AllKept() iter.Seq2[string, []byte] { return maps.All(w.own) }

// Keep stores a value of the game under a name, in addition to its entities and players,
// for example the time that is left of a round. It keeps a copy, and stores it with the
// other changes. A nil value deletes the name. Without a store, the value lasts as long
// as the room.
func (w *World) Keep(name string, value []byte) {
	if value != nil {
		value = append([]byte{}, value...)
	}
	w.keepOwn(name, value)
	if w.keep != nil && w.keep.active {
		w.keep.changed[name] = struct{}{}
	}
}

func (w *World) keepOwn(name string, value []byte) {
	if w.own == nil {
		w.own = make(map[string][]byte)
	}
	w.own[name] = value
	if value == nil {
		delete(w.own, name)
	}
}

// Kept returns the value that Keep last stored under the name, in this room or before it;
// nil if none. The game must not change it.
func (w *World) Kept(name string) []byte { return w.own[name] }

// Kept returns what Keeper.SavePlayer last appended for this player, in this room or
// before it; nil if nothing.
func (p *Player) Kept() []byte { return p.kept }

// Flush stores everything that has changed, and returns when it is stored. It returns
// ErrNotKept without Options.Store, ErrClosed if the room has ended (everything is stored
// at its end), the error of ctx, or the error of the store. A write that failed is
// retried, unless the error wraps ErrOlder.
func (r *Room) Flush(ctx context.Context) error {
	if r.keep == nil || r.keep.store == nil {
		return ErrNotKept
	}
	saved := make(chan struct{})
	r.Do(func() { r.keep.cut(false); close(saved) })
	select {
	case <-saved:
	case <-r.done:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	err := r.keep.flush(ctx)
	if errors.Is(err, behind.ErrClosed) {
		return ErrClosed
	}
	return err
}
