package main

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/ipfs/go-datastore"

	"github.com/tombolo-net/tombolo/core/world"
	"github.com/tombolo-net/tombolo/native/store"
)

const (
	keptEntities = 50_000
	keptFor      = 5 * time.Second
)

// roomKept measures how many updates of entities a second a kept room takes, until all are
// on disk, and compares it with writing each update through to the same kind of store. An
// update moves one of 50,000 entities, chosen at random; its record has 32 bytes.
func roomKept(rounds int) ([]*figure, error) {
	updates := newFigure("rooms-kept/updates", "1/s", "ours", "write-through")
	updates.more = true
	longest := newFigure("rooms-kept/longest-tick", "ms", "ours")
	for range rounds {
		dir, err := os.MkdirTemp("", "bench-kept-")
		if err != nil {
			return nil, err
		}
		err = errors.Join(keepBehind(dir, updates, longest), writeThrough(dir, updates), os.RemoveAll(dir))
		if err != nil {
			return nil, err
		}
	}
	return []*figure{updates, longest}, nil
}

func keepBehind(dir string, updates, longest *figure) error {
	s, err := store.Open(filepath.Join(dir, "behind.db"))
	if err != nil {
		return err
	}
	defer s.Close()
	ctx := context.Background()
	n, stop, err := tunnelEnd{ours: true, transport: "tcp"}.node(ctx)
	if err != nil {
		return err
	}
	defer stop()
	rooms, err := world.New(n)
	if err != nil {
		return err
	}
	g := &drifting{}
	room, err := rooms.Host(g, world.Options{Name: "kept", Hidden: true, Store: s})
	if err != nil {
		return err
	}
	began := time.Now()
	time.Sleep(keptFor)
	longest.add("ours", float64(room.Stats().Longest)/1e6-float64(driftFor)/1e6)
	if err := rooms.Close(); err != nil { // now everything is on disk
		return err
	}
	updates.add("ours", float64(g.updates)/time.Since(began).Seconds())
	return nil
}

// driftFor is how long the game makes updates in each tick of 50 ms.
const driftFor = 20 * time.Millisecond

// drifting is a game that moves its entities as fast as it can.
type drifting struct {
	world.Game
	w       *world.World
	updates int
}

func (g *drifting) Start(w *world.World) {
	g.w = w
	for range keptEntities {
		w.Spawn(0, 0)
	}
}

func (g *drifting) Tick() {
	for began := time.Now(); time.Since(began) < driftFor; g.updates += 100 {
		for range 100 {
			g.w.Move(world.Entity(rand.IntN(keptEntities)), rand.Float32(), rand.Float32())
		}
	}
}

func (g *drifting) Save(e world.Entity, dst []byte) ([]byte, bool) {
	return append(dst, record(uint64(e))...), true
}

func (*drifting) Restore(world.Entity, []byte) error { return nil }

func (*drifting) SavePlayer(_ *world.Player, dst []byte) []byte { return dst }

func (*drifting) Change(_ world.Entity, dst []byte) []byte { return append(dst, 1) }

// record returns 24 bytes; with the 8 bytes of a position, a record has 32.
func record(e uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, e), e), e)
}

func writeThrough(dir string, updates *figure) error {
	s, err := store.Open(filepath.Join(dir, "through.db"))
	if err != nil {
		return err
	}
	defer s.Close()
	ctx := context.Background()
	n := 0
	began := time.Now()
	for time.Since(began) < keptFor {
		e := rand.Uint64N(keptEntities)
		if err := s.Put(ctx, datastore.NewKey("/e").ChildString(strconv.FormatUint(e, 36)), append(record(e), make([]byte, 8)...)); err != nil {
			return err
		}
		n++
	}
	updates.add("write-through", float64(n)/time.Since(began).Seconds())
	return nil
}
