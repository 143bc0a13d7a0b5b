package world

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"

	"github.com/ipfs/go-datastore"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/world/board"
)

// The boards of a room are kept in the same way as its world: their changes are in the
// next moment, for the store and the standbys. A new standby gets all boards from its
// feed, not from the tick.

// BoardOptions configure a Board. The zero value is one board that never ends, on which
// the highest score is the best.
type BoardOptions struct {
	Period      board.Period
	LowestFirst bool
	// Keep is how many boards of earlier periods are kept in addition to the current one.
	Keep int
}

// Board ranks a room's players by their scores, with a separate board for each period: see
// package board. The methods read and change the board of the current period. They may be
// called concurrently, but only changes that the game makes within its own methods belong
// to the same moment as the world.
type Board struct {
	*board.Series
	// Players numbers the peers, for what happened in an earlier period: see Series.At.
	Players *board.Players
}

// Set gives a player a score. A player that already has this score keeps its place.
func (b *Board) Set(p peer.ID, score int64) { b.Now().Set(b.Players.Number(p), score) }

// Add adds to a player's score, and returns the sum.
func (b *Board) Add(p peer.ID, by int64) int64 { return b.Now().Add(b.Players.Number(p), by) }

// Improve gives a player a score if it has none, or a worse one, and reports whether it
// did.
func (b *Board) Improve(p peer.ID, score int64) bool {
	return b.Now().Improve(b.Players.Number(p), score)
}

// Remove takes a player off the board.
func (b *Board) Remove(p peer.ID) { b.Now().Remove(b.Players.Number(p)) }

// boards holds the boards of a room. board.Store keeps its records in it.
type boards struct {
	room *Room

	mu     sync.Mutex        // locked after a board's mutex
	found  map[string][]byte // stored records, until their board is opened
	dirty  map[string][]byte // changed since the last moment; nil deletes
	active bool              // changes are recorded

	opening sync.Mutex
	store   *board.Store // nil before the first is opened
	open    map[string]*Board
	server  *board.Server
}

var _ board.Records = (*boards)(nil)

// Board opens a board of the room, or returns the one that is open. It has its stored
// scores, in the order in which they were made, and moves with the room to another host.
// Any peer may ask for it by the names of the room and the board: see board.Ask and
// board.Watch. A game calls Board in Start, always with the same options. It returns an
// error if the name is not a valid name of a board, or if the stored board is damaged.
func (w *World) Board(name string, opts BoardOptions) (*Board, error) {
	b, err := w.boards.board(name, opts)
	if err != nil {
		return nil, fmt.Errorf("board %.64q of room %q: %w", name, w.boards.room.opts.Name, err)
	}
	return b, nil
}

func (bs *boards) board(name string, opts BoardOptions) (*Board, error) {
	bs.opening.Lock()
	defer bs.opening.Unlock()
	if b := bs.open[name]; b != nil {
		return b, nil
	}
	ctx := context.Background() // the records are in memory
	if bs.store == nil {
		store, err := board.OpenIn(ctx, bs)
		if err != nil {
			return nil, err
		}
		server, err := board.Serve(bs.room.node, bs.room.opts.Name, store.Players(), nil)
		if err != nil {
			return nil, err
		}
		bs.mu.Lock()
		bs.store = store
		bs.mu.Unlock()
		bs.server, bs.open = server, make(map[string]*Board)
	}
	series, err := bs.store.Series(ctx, name, opts.Period, opts.LowestFirst, opts.Keep)
	if err != nil {
		return nil, err
	}
	if err := bs.server.Add(name, series); err != nil {
		return nil, err
	}
	b := &Board{series, bs.store.Players()}
	bs.open[name] = b
	return b, nil
}

// served returns the server of the boards, or nil.
func (bs *boards) served() *board.Server {
	bs.opening.Lock()
	defer bs.opening.Unlock()
	return bs.server
}

// close ends the server of the boards.
func (bs *boards) close() {
	if server := bs.served(); server != nil {
		_ = server.Close() // which never fails
	}
}

// Get implements board.Records.
func (bs *boards) Get(_ context.Context, key string) ([]byte, error) {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	if value, is := bs.found[key]; is {
		return value, nil
	}
	return nil, datastore.ErrNotFound
}

// Each implements board.Records. A record that was taken without an error belongs to the
// store.
func (bs *boards) Each(_ context.Context, under string, take func(name string, value []byte) error) error {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	for key, value := range bs.found {
		if name, is := strings.CutPrefix(key, under+"/"); is {
			if err := take(name, value); err != nil {
				return fmt.Errorf("the record %s is damaged: %w", key, err)
			}
		}
	}
	maps.DeleteFunc(bs.found, func(key string, _ []byte) bool { return strings.HasPrefix(key, under+"/") })
	return nil
}

// Change implements board.Records.
func (bs *boards) Change(key string, value []byte) {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	if !bs.active {
		return
	}
	if bs.dirty == nil {
		bs.dirty = make(map[string][]byte)
	}
	bs.dirty[key] = value
}

// begin starts recording changes.
func (bs *boards) begin() {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	bs.active = true
}

// take returns what has changed since the last call.
func (bs *boards) take() map[string][]byte {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	dirty := bs.dirty
	bs.dirty = nil
	return dirty
}

// inherit gives the boards the records that a host has sent.
func (bs *boards) inherit(records map[string][]byte) {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	bs.found, bs.active = records, true
	if bs.room.keep.store != nil {
		bs.dirty = maps.Clone(records)
	}
}

// foundRecord adds a record from the store.
func (bs *boards) foundRecord(name string, value []byte) error {
	if name == "" || value == nil {
		return errors.New("this is not a record of a board")
	}
	bs.mu.Lock()
	defer bs.mu.Unlock()
	if bs.found == nil {
		bs.found = make(map[string][]byte)
	}
	bs.found["/"+name] = value
	return nil
}

// each calls take for every record, and returns its first error. The game continues
// meanwhile, and its changes are in the next moment as well.
func (bs *boards) each(take func(key string, value []byte) error) error {
	bs.mu.Lock()
	found, store := maps.Clone(bs.found), bs.store
	bs.mu.Unlock()
	for key, value := range found {
		if err := take(key, value); err != nil {
			return err
		}
	}
	if store == nil {
		return nil
	}
	return store.Each(take)
}
