package world

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"slices"

	"github.com/ipfs/go-datastore"
	"github.com/libp2p/go-libp2p/core/peer"
)

// moment is what has changed in a world since the moment before, as of the end of a tick.
// The tick only makes it; another goroutine passes it to the writer.
type moment struct {
	tick     uint32
	flags    byte // for standbys; see wire.Mark
	entities []savedEntity
	data     []byte // of the entities, one after the other
	players  []savedPlayer
	inputs   []fedInput        // for standbys
	bans     []fedBan          // for standbys
	values   map[string][]byte // nil deletes
	boards   map[string][]byte // records of boards; nil deletes
	line     []byte            // for the store: the line by which the host holds the room, or nil
}

type savedEntity struct {
	e    Entity
	size int32 // of its data; negative deletes
}

type savedPlayer struct {
	key  seatKey
	data []byte // empty deletes
}

// fedInput is the last input that was taken of a player; zero if the player has left.
type fedInput struct {
	key seatKey
	taken
}

// fedBan says that a peer is refused, or no longer refused.
type fedBan struct {
	peer   peer.ID
	banned bool
}

// taken is the number of the last input that was taken of a player's program.
type taken struct{ program, seq uint32 }

func (m *moment) isEmpty() bool {
	return len(m.entities) == 0 && len(m.players) == 0 && len(m.values) == 0 && len(m.boards) == 0 && m.line == nil
}

// mark records that an entity has changed, or was removed.
func (k *keep) mark(e Entity) {
	if !k.active {
		return
	}
	k.grow(e)
	if !k.marked[e] && !k.restoring {
		k.marked[e] = true
		k.dirty = append(k.dirty, e)
	}
}

func (k *keep) grow(e Entity) {
	if more := int(e) + 1 - len(k.marked); more > 0 {
		k.marked = append(k.marked, make([]bool, more)...)
		k.stored = append(k.stored, make([]bool, more)...)
	}
}

// tick stores the world and sends the standbys what has changed, each when it is due.
func (k *keep) tick(now int64) {
	if k.stores() && now-k.at >= int64(k.room.opts.SaveEvery) && !k.writing.Load() {
		k.at = now
		k.save()
	}
	if len(k.feeds) > 0 && now-k.fed >= int64(feedEvery) {
		k.fed = now
		k.cut(!k.stores())
	} else if !k.stores() && len(k.feeds) == 0 {
		k.room.boards.take() // there is no standby to send it to, and a new one gets everything
	}
}

// save stores what has changed. It is not called while the last moment is being stored:
// changes made meanwhile are in the next one.
func (k *keep) save() {
	k.forget()
	if !k.cut(true) && !k.failed.Load() {
		return
	}
	k.writing.Store(true)
	k.run.Go(func() {
		err := k.flush(k.ctx) // the writer has logged the error
		k.older.Store(errors.Is(err, ErrOlder))
		k.failed.Store(err != nil)
		k.writing.Store(false)
	})
}

// forget drops players that have left and are stored. A player whose peer is connected is
// kept: it may be about to join, and have read what was in the store before.
func (k *keep) forget() {
	if k.failed.Load() {
		return
	}
	k.room.mu.Lock()
	defer k.room.mu.Unlock()
	for key, l := range k.left {
		if l.saved && k.room.visitors[key.peer] == nil {
			delete(k.left, key)
		}
	}
}

// cut puts what has changed into a moment for the store and the standbys, and reports
// whether there is anything to store. heard means that the tick will learn whether it was
// stored, or does not need to; otherwise the players that have left are in the next
// moment, too.
func (k *keep) cut(heard bool) bool {
	m := k.moment(heard)
	k.tell(m)
	if !k.stores() {
		return false
	}
	if m.line = k.newLine(); m.isEmpty() {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.moments = append(k.moments, m)
	return true
}

// tell sends the standbys a moment, even if nothing has changed, to show that this host
// is alive.
func (k *keep) tell(m *moment) {
	k.feeds = slices.DeleteFunc(k.feeds, (*feed).isEnded)
	m.inputs, m.bans = append(m.inputs, k.inputsAt...), k.bans
	k.inputsAt, k.bans = k.inputsAt[:0], nil
	if len(k.feeds) == 0 {
		return
	}
	for _, p := range k.room.players {
		if p != nil && !p.spectator && p.seq != p.fed {
			p.fed = p.seq
			m.inputs = append(m.inputs, fedInput{seatKey{p.peer, p.number}, taken{p.program, p.seq}})
		}
	}
	for _, f := range k.feeds {
		f.push(m)
	}
}

// begin sends a standby the whole world.
func (k *keep) begin(f *feed) {
	if !k.active {
		k.active = true
		k.grow(Entity(max(len(k.room.world.x), 1) - 1))
		k.room.boards.begin()
	}
	k.cut(false) // for the others
	m := &moment{tick: k.room.world.tick, values: maps.Clone(k.room.world.own)}
	var all []Entity
	for e, st := range k.room.world.of {
		if st.alive {
			all = append(all, Entity(e))
		}
	}
	k.prepare(all)
	for _, e := range all {
		if k.saveEntity(m, e) {
			k.stored[e] = true
		}
	}
	for key, l := range k.left {
		m.players = append(m.players, savedPlayer{key, l.data})
	}
	for _, p := range k.room.players {
		if p == nil || p.spectator {
			continue
		}
		key := seatKey{p.peer, p.number}
		m.players = append(m.players, savedPlayer{key, k.game.SavePlayer(p, nil)})
		m.inputs = append(m.inputs, fedInput{key, taken{p.program, p.seq}})
	}
	k.room.mu.Lock()
	for p := range k.room.banned {
		m.bans = append(m.bans, fedBan{p, true})
	}
	k.room.mu.Unlock()
	f.push(m)
	k.feeds = append(k.feeds, f)
}

func (k *keep) moment(heard bool) *moment {
	m := &moment{
		tick:     k.room.world.tick,
		entities: make([]savedEntity, 0, len(k.dirty)), data: make([]byte, 0, k.size),
		values: make(map[string][]byte, len(k.changed)),
	}
	k.prepare(k.dirty)
	for _, e := range k.dirty {
		k.marked[e] = false
		switch kept := k.saveEntity(m, e); {
		case kept:
			k.stored[e] = true
		case k.stored[e]:
			k.stored[e] = false
			m.entities = append(m.entities, savedEntity{e, -1})
		}
	}
	k.dirty, k.size = k.dirty[:0], len(m.data)
	for key, l := range k.left {
		if !l.saved {
			m.players = append(m.players, savedPlayer{key, l.data})
			k.left[key] = leaver{l.data, heard}
		}
	}
	for _, p := range k.room.players {
		if p != nil && !p.spectator {
			k.savePlayer(m, p)
		}
	}
	for name := range k.changed {
		m.values[name] = k.room.world.own[name]
	}
	clear(k.changed)
	m.boards = k.room.boards.take()
	return m
}

func (k *keep) prepare(entities []Entity) {
	if game, ok := k.game.(Preparer); ok {
		game.Prepare(entities)
	}
}

func (k *keep) saveEntity(m *moment, e Entity) bool {
	w := &k.room.world
	if !w.Alive(e) {
		return false
	}
	from := len(m.data)
	data := binary.LittleEndian.AppendUint32(m.data, math.Float32bits(w.x[e]))
	data = binary.LittleEndian.AppendUint32(data, math.Float32bits(w.y[e]))
	data, kept := k.game.Save(e, data)
	if kept {
		m.data = data
		m.entities = append(m.entities, savedEntity{e, int32(len(data) - from)})
	}
	return kept
}

func (k *keep) savePlayer(m *moment, p *Player) {
	data := k.game.SavePlayer(p, k.buffer[:0])
	if k.buffer = data; !p.unsaved && bytes.Equal(data, p.kept) || !k.mayKeep(p, data) {
		return
	}
	p.kept, p.unsaved = bytes.Clone(data), false
	m.players = append(m.players, savedPlayer{seatKey{p.peer, p.number}, p.kept})
}

// flush stores all moments so far.
func (k *keep) flush(ctx context.Context) error {
	k.hand()
	return k.writer.Flush(ctx)
}

// hand passes the moments to the writer, in their order.
func (k *keep) hand() {
	k.handing.Lock()
	defer k.handing.Unlock()
	k.mu.Lock()
	moments := k.moments
	k.moments = nil
	k.mu.Unlock()
	var changes []keptChange
	for _, m := range moments {
		changes = k.appendChanges(changes, m)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range changes {
		k.writer.Set(c.key, c.value)
	}
}

type keptChange struct {
	key   datastore.Key
	value []byte // nil deletes
}

func (k *keep) appendChanges(to []keptChange, m *moment) []keptChange {
	if !k.versioned {
		k.versioned = true
		to = append(to, keptChange{k.versionKey(), []byte(keptFormat)})
	}
	data := m.data
	for _, s := range m.entities {
		c := keptChange{key: k.entityKey(s.e)}
		if s.size >= 0 {
			c.value, data = data[:s.size:s.size], data[s.size:]
		}
		to = append(to, c)
	}
	for _, p := range m.players {
		c := keptChange{key: k.playerKey(p.key)}
		if len(p.data) > 0 {
			c.value = p.data
		}
		to = append(to, c)
	}
	for name, value := range m.values {
		to = append(to, keptChange{k.valueKey(name), value})
	}
	for key, value := range m.boards {
		to = append(to, keptChange{k.boardKey(key), value})
	}
	if m.line != nil {
		to = append(to, keptChange{k.lineKey(), m.line})
	}
	return to
}
