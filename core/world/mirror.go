package world

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/internal/behind"
	"github.com/tombolo-net/tombolo/core/world/wire"
)

// mirror is a standby's copy of a world, as of the last complete batch from the host. It
// is used by one goroutine.
type mirror struct {
	number   uint32 // of the last batch; zero before the first
	tick     uint32
	at       time.Time // of the last batch
	unsealed int       // batches since the last one that the host signed
	chain    wire.Chain
	entities map[uint32]mirrored
	players  map[seatKey][]byte
	inputs   map[seatKey]taken
	values   map[string][]byte
	boards   map[string][]byte
	banned   map[peer.ID]struct{}
	bytes    int
	pending  [][]byte // records of the batch being received
	waiting  int      // size of pending, in bytes
}

type mirrored struct {
	x, y float32
	data []byte
}

var _ wire.Records = (*mirror)(nil)

const (
	// mostMirrored bounds the world that a host sends to a standby, in bytes.
	mostMirrored = 1 << 30
	// mostUnsealed bounds the batches after which the host must have signed. It signs
	// once a second, and from a hidden tab only one batch comes in that time.
	mostUnsealed = 20
)

func newMirror() *mirror {
	return &mirror{
		entities: make(map[uint32]mirrored), players: make(map[seatKey][]byte),
		inputs: make(map[seatKey]taken), values: make(map[string][]byte), boards: make(map[string][]byte), banned: make(map[peer.ID]struct{}),
	}
}

// note adjusts the count of bytes, and returns an error if there are too many.
func (m *mirror) note(was, is int) error {
	if m.bytes += is - was; m.bytes > mostMirrored {
		return fmt.Errorf("the world has over %d bytes", mostMirrored)
	}
	return nil
}

// mirrorCost is about what a record costs in addition to its data, in bytes.
const mirrorCost = 64

func (m *mirror) Entity(e uint32, x, y float32, data []byte) error {
	if e >= MaxEntities || !isPlace(x, y) {
		return fmt.Errorf("entity %d at (%v, %v)", e, x, y)
	}
	was := m.entities[e]
	m.entities[e] = mirrored{x, y, append(was.data[:0], data...)}
	return m.note(len(was.data), len(data))
}

func (m *mirror) Gone(e uint32) error {
	was := m.entities[e]
	delete(m.entities, e)
	return m.note(len(was.data), 0)
}

func (m *mirror) Player(p peer.ID, number uint32, data []byte) error {
	key := seatKey{p, number}
	was, known := m.players[key]
	cost := 0 // of the old value
	if known {
		cost = len(was) + mirrorCost
	}
	if len(data) == 0 {
		delete(m.players, key)
		return m.note(cost, 0)
	}
	if len(m.players) >= mostKept && !known {
		return errors.New("something is kept of too many players")
	}
	m.players[key] = append(was[:0], data...)
	return m.note(cost, len(data)+mirrorCost)
}

func (m *mirror) Input(p peer.ID, number, program, seq uint32) error {
	key := seatKey{p, number}
	if seq == 0 {
		delete(m.inputs, key)
		return nil
	}
	if len(m.inputs) >= MaxEntities {
		return errors.New("too many players")
	}
	m.inputs[key] = taken{program, seq}
	return nil
}

func (m *mirror) Value(name string, value []byte) error { return m.set(m.values, name, value) }

func (m *mirror) Board(key string, value []byte) error {
	if len(key) > maxBoardKey || !isBoardKey(key) {
		return fmt.Errorf("a record of a board under %.20q", key)
	}
	return m.set(m.boards, key, value)
}

// isBoardKey reports whether a record of a board may have the key, and a store accept it:
// names of letters, digits and hyphens, each after a slash.
func isBoardKey(key string) bool {
	rest, begins := strings.CutPrefix(key, "/")
	for name := range strings.SplitSeq(rest, "/") {
		begins = begins && name != ""
	}
	other := func(r rune) bool {
		return r != '/' && r != '-' && !('0' <= r && r <= '9') && !('a' <= r && r <= 'z') && !('A' <= r && r <= 'Z')
	}
	return begins && !strings.ContainsFunc(rest, other)
}

// maxBoardKey bounds a board's key, in bytes.
const maxBoardKey = 512

func (m *mirror) set(in map[string][]byte, name string, value []byte) error {
	was, known := in[name]
	cost := 0 // of the old value
	if known {
		cost = len(name) + len(was) + mirrorCost
	}
	if value == nil {
		delete(in, name)
		return m.note(cost, 0)
	}
	in[name] = append([]byte{}, value...)
	return m.note(cost, len(name)+len(value)+mirrorCost)
}

func (m *mirror) Ban(p peer.ID, banned bool) error {
	if !banned {
		delete(m.banned, p)
		return nil
	}
	m.banned[p] = struct{}{}
	return m.note(0, mirrorCost)
}

// take adds a message with records.
func (m *mirror) take(body []byte) error {
	m.chain.Add(body)
	if m.number == 0 { // there is no world yet, so it cannot be left half changed
		return wire.DecodeRecords(body, m)
	}
	if m.waiting += len(body); m.waiting > mostMirrored {
		return fmt.Errorf("%w: a batch of over %d bytes", wire.ErrMalformed, mostMirrored)
	}
	m.pending = append(m.pending, append([]byte{}, body...))
	return nil
}

// mark ends a batch, and returns an error if the batch is invalid.
func (m *mirror) mark(body []byte, claim *wire.Claim) (wire.Mark, error) {
	mark, err := wire.DecodeMark(body)
	if err != nil {
		return mark, err
	}
	sum := m.chain.End(mark.Number, mark.Tick, mark.Flags)
	m.unsealed++
	switch {
	case mark.Number != m.number+1:
		return mark, fmt.Errorf("%w: batch %d after %d", wire.ErrMalformed, mark.Number, m.number)
	case mark.Sum != sum:
		return mark, fmt.Errorf("%w: batch %d is not as the host has summed it up", wire.ErrMalformed, mark.Number)
	case len(mark.Signature) > 0 && !mark.Verify(claim.Host, claim.Room, claim.Epoch):
		return mark, fmt.Errorf("%w: batch %d is not signed by the host", wire.ErrMalformed, mark.Number)
	case len(mark.Signature) == 0 && m.unsealed > mostUnsealed:
		return mark, fmt.Errorf("%w: the host has not signed the last %d batches", wire.ErrMalformed, m.unsealed)
	case len(mark.Signature) > 0:
		m.unsealed = 0
	}
	for _, records := range m.pending {
		if err := wire.DecodeRecords(records, m); err != nil {
			return mark, err
		}
	}
	m.pending, m.waiting = nil, 0
	m.number, m.tick, m.at = mark.Number, mark.Tick, time.Now()
	return mark, nil
}

// inherit makes the room begin as a copy of the mirror, held by this line.
func (k *keep) inherit(m *mirror, line wire.Line) {
	k.restored, k.active = true, true
	for e, at := range m.entities {
		k.found = append(k.found, keptEntity{Entity(e), at.x, at.y, at.data})
	}
	k.room.world.own = m.values
	k.room.boards.inherit(m.boards)
	k.room.world.tick = m.tick
	for key, data := range m.players {
		k.left[key] = leaver{data: data}
	}
	k.players, k.inputs = len(m.players), m.inputs
	k.room.mu.Lock()
	k.room.banned = m.banned
	k.room.mu.Unlock()
	if k.store == nil {
		return
	}
	k.openWriter(k.takeStore(m, line))
	for e := range m.entities {
		k.mark(Entity(e))
	}
	for name := range m.values {
		k.changed[name] = struct{}{}
	}
}

// has returns the keys that the store should contain for the mirror.
func (k *keep) has(m *mirror) map[datastore.Key]bool {
	has := map[datastore.Key]bool{k.versionKey(): true, k.lineKey(): true}
	for e := range m.entities {
		has[k.entityKey(Entity(e))] = true
	}
	for key := range m.players {
		has[k.playerKey(key)] = true
	}
	for name := range m.values {
		has[k.valueKey(name)] = true
	}
	for key := range m.boards {
		has[k.boardKey(key)] = true
	}
	return has
}

// replace deletes the room's keys in the store that are not in has.
func (k *keep) replace(ctx context.Context, to datastore.Batching, has map[datastore.Key]bool) error {
	batch, err := to.Batch(ctx)
	if err != nil {
		return err
	}
	q := query.Query{Prefix: k.root.String(), KeysOnly: true}
	err = behind.Each(ctx, k.store, q, func(name string, _ []byte) error {
		if key := k.root.ChildString(name); !has[key] {
			return batch.Delete(ctx, key)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return batch.Commit(ctx)
}
