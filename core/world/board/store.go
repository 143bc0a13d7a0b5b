package board

import (
	"context"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/internal/behind"
)

// Store keeps series of boards, and who is on them. The boards are in memory; what changes
// is written behind them, with the bounds of world.Keeper. In the store lie, under
// /boards/<name in base32>:
//
//	v                                       the version of this format
//	p/<number>                              the peer of that number
//	s/<series in base32>/<period>/<end>/<number>
//	                                        the player's score and its order, as two varints
//
// A period's end is in seconds since 1970; numbers are in base 36. All methods may be
// called concurrently.
type Store struct {
	ds      datastore.Batching
	root    datastore.Key
	players Players

	mu     sync.Mutex // of the writer; taken after a board's
	writer *behind.Writer
	series map[string]struct{} // that are open
}

// StoreOptions of a Store. The zero value is usable.
type StoreOptions struct {
	// Delay is the longest that a change waits to be stored. If zero, a second.
	Delay time.Duration
	// Logger, if nil, is silent.
	Logger *slog.Logger
}

const storeFormat = "1"

var nameCoding = base32.HexEncoding.WithPadding(base32.NoPadding)

// Open opens the boards of a name, and reads who is on them. ctx bounds the reading. Two
// of a name must not be open at once.
func Open(ctx context.Context, ds datastore.Batching, name string, opts StoreOptions) (*Store, error) {
	s := &Store{
		ds: ds, root: datastore.NewKey("/boards").ChildString(nameCoding.EncodeToString([]byte(name))),
		series: make(map[string]struct{}),
	}
	isNew, err := s.load(ctx)
	if err != nil {
		return nil, fmt.Errorf("open the boards of %q: %w", name, err)
	}
	s.writer = behind.New(ds, &s.mu, behind.Options{What: fmt.Sprintf("the boards of %q", name), Delay: opts.Delay, Logger: opts.Logger})
	if isNew {
		s.change(s.root.ChildString("v"), []byte(storeFormat))
	}
	s.players.named = func(number uint32, id peer.ID) { s.change(s.playerKey(number), []byte(id)) }
	return s, nil
}

func (s *Store) load(ctx context.Context) (isNew bool, err error) {
	version, err := s.ds.Get(ctx, s.root.ChildString("v"))
	if errors.Is(err, datastore.ErrNotFound) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	if string(version) != storeFormat {
		return false, fmt.Errorf("they are of format %.20q; this program knows format %s", version, storeFormat)
	}
	ids := make(map[uint32]peer.ID)
	err = behind.Each(ctx, s.ds, query.Query{Prefix: s.root.ChildString("p").String()}, func(name string, value []byte) error {
		n, err := strconv.ParseUint(name, 36, 32)
		if err != nil || n >= MaxPlayers || len(value) == 0 {
			return errors.New("it is no player")
		}
		ids[uint32(n)] = peer.ID(value)
		return nil
	})
	for n := range uint32(len(ids)) {
		id, is := ids[n]
		if !is {
			return false, errors.Join(err, fmt.Errorf("the record of player %d is missing", n))
		}
		s.players.add(id)
	}
	return false, err
}

// Players are the players of all boards.
func (s *Store) Players() *Players { return &s.players }

// Series opens a series, as NewSeries makes one, with what is kept of it. ctx bounds the
// reading. A series that is open already is an error; one of another period is another.
func (s *Store) Series(ctx context.Context, name string, period Period, lowestFirst bool, keep int) (*Series, error) {
	series := NewSeries(period, lowestFirst, keep)
	k := &keptSeries{store: s, root: s.root.ChildString("s").ChildString(nameCoding.EncodeToString([]byte(name))).ChildString(strconv.Itoa(int(period)))}
	s.mu.Lock()
	_, open := s.series[k.root.String()]
	s.series[k.root.String()] = struct{}{}
	s.mu.Unlock()
	if open {
		return nil, fmt.Errorf("open the boards %q: they are open", name)
	}
	boards := make(map[int64]*Board)
	err := behind.Each(ctx, s.ds, query.Query{Prefix: k.root.String()}, func(name string, value []byte) error {
		end, player, _ := strings.Cut(name, "/")
		at, err := strconv.ParseInt(end, 36, 64)
		n, err2 := strconv.ParseUint(player, 36, 32)
		p, err3 := decodePlace(value)
		if err := errors.Join(err, err2, err3); err != nil {
			return err
		}
		if n >= uint64(s.players.count()) {
			return fmt.Errorf("there is no player %d", n)
		}
		b := boards[at]
		if b == nil {
			b = New(lowestFirst)
			boards[at] = b
		}
		b.put(uint32(n), p)
		b.seq = max(b.seq, p.seq)
		return nil
	})
	if err != nil {
		s.mu.Lock()
		delete(s.series, k.root.String())
		s.mu.Unlock()
		return nil, fmt.Errorf("open the boards %q: %w", name, err)
	}
	for at, b := range boards {
		d := Dated{Board: b}
		if at != 0 {
			d.End = time.Unix(at, 0).UTC()
		}
		k.begin(d)
		series.boards = append(series.boards, d)
	}
	slices.SortFunc(series.boards, func(a, b Dated) int { return b.End.Compare(a.End) })
	series.kept = k
	series.Kept() // which drops those that are too old
	return series, nil
}

func (s *Store) playerKey(number uint32) datastore.Key {
	return s.root.ChildString("p").ChildString(strconv.FormatUint(uint64(number), 36))
}

// change has a value written; nil deletes.
func (s *Store) change(key datastore.Key, value []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writer.Set(key, value)
}

// Flush returns when all that was changed before is stored, or with the error of the store
// or of ctx. What the store did not take is tried again.
func (s *Store) Flush(ctx context.Context) error { return s.writer.Flush(ctx) }

// Close stores what is left, and waits for that, at most ten seconds. The error says what
// could not be stored. The boards can still be read and changed, in memory. It is called
// once.
func (s *Store) Close() error { return s.writer.Close() }

// keptSeries is where a series is stored.
type keptSeries struct {
	store *Store
	root  datastore.Key
}

func (k *keptSeries) key(end time.Time) string {
	var at int64
	if !end.IsZero() {
		at = end.Unix()
	}
	return k.root.String() + "/" + strconv.FormatInt(at, 36) + "/"
}

func rowKey(board string, player uint32) datastore.Key {
	return datastore.RawKey(board + strconv.FormatUint(uint64(player), 36))
}

// begin makes sure that the board's changes are stored from now on.
func (k *keptSeries) begin(d Dated) {
	under := k.key(d.End)
	d.changed = func(player uint32, p place) {
		if p.seq == 0 {
			k.store.change(rowKey(under, player), nil)
			return
		}
		k.store.change(rowKey(under, player), appendPlace(nil, p))
	}
}

// drop deletes a board whose period is over.
func (k *keptSeries) drop(d Dated) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.changed = nil
	under := k.key(d.End)
	for player, p := range d.at {
		if p.seq != 0 {
			k.store.change(rowKey(under, uint32(player)), nil)
		}
	}
}

func appendPlace(dst []byte, p place) []byte {
	return binary.AppendUvarint(binary.AppendVarint(dst, p.score), uint64(p.seq))
}

func decodePlace(data []byte) (place, error) {
	score, n := binary.Varint(data)
	if n <= 0 {
		return place{}, errors.New("it has no score")
	}
	seq, m := binary.Uvarint(data[n:])
	if m != len(data)-n || m <= 0 || seq == 0 || seq >= 1<<32 {
		return place{}, errors.New("it has no order")
	}
	return place{score, uint32(seq)}, nil
}
