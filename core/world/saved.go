package world

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"

	"github.com/ipfs/go-datastore"
)

// moment is what had changed in a world at the end of a tick, since the moment before.
// The tick makes it, and does no more; another goroutine hands it to the writer.
type moment struct {
	entities []savedEntity
	data     []byte // of the entities, one after the other
	players  []savedPlayer
	values   map[string][]byte // nil deletes
}

type savedEntity struct {
	e    Entity
	size int32 // of its data; negative deletes
}

type savedPlayer struct {
	key  seatKey
	data []byte // empty deletes
}

func (m *moment) isEmpty() bool {
	return len(m.entities) == 0 && len(m.players) == 0 && len(m.values) == 0
}

// mark notes that an entity has changed, or is gone.
func (k *keep) mark(e Entity) {
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

// tick saves the world when it is time to, unless the last moment is still on its way:
// what changes meanwhile is in the next one.
func (k *keep) tick(now int64) {
	if now-k.at < int64(k.room.opts.SaveEvery) || k.writing.Load() {
		return
	}
	k.at = now
	k.forget()
	if !k.save(true) && !k.failed.Load() {
		return
	}
	k.writing.Store(true)
	k.run.Go(func() {
		err := k.flush(k.ctx) // which the writer has logged
		k.failed.Store(err != nil)
		k.writing.Store(false)
	})
}

// forget lets go of the players that are gone and stored. One whose peer is connected may
// be about to join, and has read what was in the store before.
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

// save puts what has changed into a moment, and says whether anything has. heard says that
// the tick will learn whether the moment was stored; if not, the players that are gone are
// saved again with the next one.
func (k *keep) save(heard bool) bool {
	m := &moment{
		entities: make([]savedEntity, 0, len(k.dirty)), data: make([]byte, 0, k.size),
		values: make(map[string][]byte, len(k.changed)),
	}
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
	for _, p := range k.room.players {
		if p != nil && !p.spectator {
			k.savePlayer(m, p)
		}
	}
	for key, l := range k.left {
		if !l.saved {
			m.players = append(m.players, savedPlayer{key, l.data})
			k.left[key] = leaver{l.data, heard}
		}
	}
	for name := range k.changed {
		m.values[name] = k.room.world.own[name]
	}
	clear(k.changed)
	if m.isEmpty() {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.moments = append(k.moments, m)
	return true
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
	if k.buffer = data; bytes.Equal(data, p.kept) || !k.mayKeep(p, data) {
		return
	}
	p.kept = bytes.Clone(data)
	m.players = append(m.players, savedPlayer{seatKey{p.peer, p.number}, p.kept})
}

// flush has all moments until now stored.
func (k *keep) flush(ctx context.Context) error {
	k.hand()
	return k.writer.Flush(ctx)
}

// hand hands the moments to the writer, in their order.
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
	return to
}
