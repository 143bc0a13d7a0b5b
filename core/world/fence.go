package world

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/ipfs/go-datastore"

	"github.com/tombolo-net/tombolo/core/internal/behind"
	"github.com/tombolo-net/tombolo/core/world/wire"
)

// Several hosts may share a store, one after another, or by mistake at once. A room
// therefore writes under its epoch (Room.Epoch), which is stored beside the world.

// Fencer is a store that accepts no more writes from a host that another host has
// replaced. The store of native/postgres is one.
type Fencer interface {
	datastore.Batching

	// Under registers an epoch, of at most 1<<63 - 1, for the keys under prefix, and
	// returns a view of them, in which /a stands for prefix/a. Once a newer epoch is
	// registered, Under with an older epoch and all writes to an older view fail with an
	// error that wraps ErrOlder. Reads through the view see what older views wrote
	// before.
	Under(ctx context.Context, prefix datastore.Key, epoch uint64) (datastore.Batching, error)
}

// ErrOlder is wrapped by the errors of Room.Flush and Room.Close, and logged once, if
// another host has taken the room over in its store. This host then stores nothing more.
// The room runs until it is closed.
var ErrOlder = behind.ErrOlder

// registerTries bounds how often a host retries to register an epoch after another host
// was first.
const registerTries = 10

func (k *keep) lineKey() datastore.Key { return k.root.ChildString("l") }

// stores reports whether changes are stored.
func (k *keep) stores() bool { return k.store != nil && !k.older.Load() }

// newLine returns the line by which this peer holds the room, if it has not been stored
// yet, or nil.
func (k *keep) newLine() []byte {
	line, message := k.room.claims()
	if len(line) == 0 || line.Newest().Host != k.room.self || string(message) == string(k.line) {
		return nil
	}
	k.line = message
	return message
}

// claim makes the room continue from the stored claims, so that a host that restarts does
// not yield to one that it has replaced. It returns the store to write to. Without a
// Fencer the room continues in the same epoch, because its store cannot know who took
// over since.
func (k *keep) claim(ctx context.Context) (datastore.Batching, error) {
	fencer, fenced := k.store.(Fencer)
	for try, tried := 1, uint32(0); ; try++ {
		kept, err := k.keptLine(ctx)
		if err != nil {
			return nil, fmt.Errorf("read who has hosted the room: %w", err)
		}
		if !fenced {
			if len(kept) == 0 || kept.Newest().Host != k.room.self {
				return k.store, nil
			}
			return k.store, k.hold(kept[:len(kept)-1], kept.Newest().Epoch, kept.Newest().Serial+1)
		}
		epoch := tried + 1 // an epoch that failed belongs to a host that has not stored its line
		if len(kept) > 0 && kept.Newest().Epoch >= tried {
			epoch = kept.Newest().Epoch + 1
		}
		if len(kept) > 0 && (epoch != kept.Newest().Epoch+1 || kept.Newest().Host != k.room.self && !kept.Names(k.room.self)) {
			kept = nil
		}
		if err := k.hold(kept, epoch, 1); err != nil {
			return nil, err
		}
		to := &fencedStore{Fencer: fencer, root: k.root, number: fenceNumber(epoch, -1)}
		if err = k.putLine(ctx, to); err == nil {
			return to, nil
		}
		if !errors.Is(err, ErrOlder) || try == registerTries {
			return nil, err
		}
		tried, k.line = epoch, nil
	}
}

// hold makes this peer hold the room, by a claim that follows these.
func (k *keep) hold(before wire.Line, epoch, serial uint32) error {
	if epoch == 0 {
		return errors.New("the room has used up its epochs")
	}
	claim := wire.Claim{Room: k.room.opts.Name, Epoch: epoch, Serial: serial, Host: k.room.self}
	if err := claim.Sign(k.room.key()); err != nil {
		return err
	}
	k.room.mu.Lock()
	defer k.room.mu.Unlock()
	k.room.setLine(before.Continued(claim))
	return nil
}

// putLine stores the line at once, so that hosts that are about to start see it.
func (k *keep) putLine(ctx context.Context, to datastore.Batching) error {
	batch, err := to.Batch(ctx)
	if err != nil {
		return err
	}
	if err := batch.Put(ctx, k.lineKey(), k.newLine()); err != nil {
		return err
	}
	return batch.Commit(ctx)
}

// keptLine returns the stored line, or nil.
func (k *keep) keptLine(ctx context.Context) (wire.Line, error) {
	message, err := k.store.Get(ctx, k.lineKey())
	if errors.Is(err, datastore.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for kind, body := range wire.Split(message) {
		if kind == wire.KindLine {
			return wire.DecodeVerified(body, k.room.opts.Name)
		}
	}
	return nil, wire.ErrMalformed
}

// takeStore returns the store for a room that this peer has taken over by this line.
// Before the first write, which may have to wait for the store, it replaces the stored
// world with that of the mirror.
func (k *keep) takeStore(m *mirror, line wire.Line) datastore.Batching {
	first := &firstStore{Batching: k.store}
	if fencer, ok := k.store.(Fencer); ok {
		place := slices.Index(line[max(0, len(line)-2)].Standbys, k.room.self)
		first.Batching = &fencedStore{Fencer: fencer, root: k.root, number: fenceNumber(line.Newest().Epoch, place)}
	}
	has := k.has(m)
	first.before = func(ctx context.Context) error { return k.replace(ctx, first.Batching, has) }
	return first
}

// firstStore is a store that calls before ahead of the first batch. It is used by one
// goroutine.
type firstStore struct {
	datastore.Batching
	before func(context.Context) error // nil after it was called
}

func (s *firstStore) Batch(ctx context.Context) (datastore.Batch, error) {
	if s.before != nil {
		if err := s.before(ctx); err != nil {
			return nil, err
		}
		s.before = nil
	}
	return s.Batching.Batch(ctx)
}

// fenceNumber returns the number that is registered for an epoch of a room. Of hosts of
// the same epoch, the one to which the others yield (wire.Line.Beats) has the highest;
// place is its place among the standbys. The remaining bits are random, to tell apart two
// hosts of the same place, too.
func fenceNumber(epoch uint32, place int) uint64 {
	if place < 0 {
		place = wire.MaxStandbys
	}
	return uint64(epoch)<<31 | uint64(wire.MaxStandbys-place)<<27 | uint64(rand.Uint32N(1<<27))
}

// fencedStore is a room's store whose batches are written under the room's epoch. The
// epoch is registered with the first batch, if not before. It is used by one goroutine.
type fencedStore struct {
	Fencer
	root   datastore.Key
	number uint64
	view   datastore.Batching // nil until it is registered
}

func (s *fencedStore) register(ctx context.Context) (err error) {
	if s.view == nil {
		s.view, err = s.Under(ctx, s.root, s.number)
	}
	return err
}

func (s *fencedStore) Batch(ctx context.Context) (datastore.Batch, error) {
	if err := s.register(ctx); err != nil {
		return nil, err
	}
	b, err := s.view.Batch(ctx)
	return &fencedBatch{b, s.root.String()}, err
}

// fencedBatch is a batch of the view that accepts the keys of the store.
type fencedBatch struct {
	datastore.Batch
	root string
}

func (b *fencedBatch) in(key datastore.Key) datastore.Key {
	return datastore.RawKey(strings.TrimPrefix(key.String(), b.root))
}

func (b *fencedBatch) Put(ctx context.Context, key datastore.Key, value []byte) error {
	return b.Batch.Put(ctx, b.in(key), value)
}

func (b *fencedBatch) Delete(ctx context.Context, key datastore.Key) error {
	return b.Batch.Delete(ctx, b.in(key))
}
