package board

import (
	"context"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
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

// Store stores series of boards and their players. The boards are in memory, and changes
// are written behind them. Under the root of the store are:
//
//	/v                                      the version of this format
//	/p/<number>                             the peer of that number
//	/s/<series in base32>/<period>/<end>/<number>
//	                                        the player's score and its order, as two varints
//
// A period's end is in seconds since 1970; numbers are in base 36. All methods may be
// called concurrently.
type Store struct {
	records Records
	close   func() error
	flush   func(context.Context) error
	players Players

	mu     sync.Mutex
	series map[string]*Series // by root; nil while it is being opened
}

// Records stores boards, as records with keys such as /p/0.
type Records interface {
	// Get returns the record of a key, or datastore.ErrNotFound.
	Get(ctx context.Context, key string) ([]byte, error)
	// Each calls take for each record under a key, with the rest of its key. It returns
	// the error of take.
	Each(ctx context.Context, under string, take func(name string, value []byte) error) error
	// Change writes a record; nil deletes it. It is called with locks of boards held, and
	// must not block.
	Change(key string, value []byte)
}

// StoreOptions configure a Store. The zero value is usable.
type StoreOptions struct {
	// Delay is how long a change may wait to be stored. If zero, a second.
	Delay time.Duration
	// Logger receives the failures of the datastore. If nil, nothing is logged.
	Logger *slog.Logger
}

const storeFormat = "1"

var nameCoding = base32.HexEncoding.WithPadding(base32.NoPadding)

// Open opens the boards of a name in a datastore, under /boards/<name in base32>, and
// reads their players. Changes are written behind them; a crash loses as much as with a
// world.Keeper. ctx bounds the reading. Do not open two stores of one name at once.
func Open(ctx context.Context, ds datastore.Batching, name string, opts StoreOptions) (*Store, error) {
	w := &written{ds: ds, root: datastore.NewKey("/boards").ChildString(nameCoding.EncodeToString([]byte(name))).String()}
	w.writer = behind.New(ds, &w.mu, behind.Options{What: fmt.Sprintf("the boards of %q", name), Delay: opts.Delay, Logger: opts.Logger})
	s, err := OpenIn(ctx, w)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the boards of %q: %w", name, err), w.writer.Close())
	}
	s.flush, s.close = w.writer.Flush, w.writer.Close
	return s, nil
}

// OpenIn opens boards whose records something else stores. Flush and Close of the Store
// then do nothing.
func OpenIn(ctx context.Context, records Records) (*Store, error) {
	s := &Store{
		records: records, series: make(map[string]*Series),
		close: func() error { return nil }, flush: func(context.Context) error { return nil },
	}
	if err := s.load(ctx); err != nil {
		return nil, err
	}
	s.players.named = func(number uint32, id peer.ID) { records.Change(playerKey(number), []byte(id)) }
	return s, nil
}

// written is Records that are written behind to a datastore.
type written struct {
	ds     datastore.Batching
	root   string
	mu     sync.Mutex // of the writer; locked after a board's
	writer *behind.Writer
}

func (w *written) Get(ctx context.Context, key string) ([]byte, error) {
	return w.ds.Get(ctx, datastore.RawKey(w.root+key))
}

func (w *written) Each(ctx context.Context, under string, take func(name string, value []byte) error) error {
	return behind.Each(ctx, w.ds, query.Query{Prefix: w.root + under}, take)
}

func (w *written) Change(key string, value []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writer.Set(datastore.RawKey(w.root+key), value)
}

const versionKey = "/v"

func (s *Store) load(ctx context.Context) error {
	version, err := s.records.Get(ctx, versionKey)
	if errors.Is(err, datastore.ErrNotFound) {
		s.records.Change(versionKey, []byte(storeFormat))
		return nil
	}
	if err != nil {
		return err
	}
	if string(version) != storeFormat {
		return fmt.Errorf("they are of format %.20q; this program knows format %s", version, storeFormat)
	}
	ids := make(map[uint32]peer.ID)
	err = s.records.Each(ctx, "/p", func(name string, value []byte) error {
		n, err := strconv.ParseUint(name, 36, 32)
		if err != nil || n >= MaxPlayers || len(value) == 0 {
			return errors.New("this is not a player")
		}
		ids[uint32(n)] = peer.ID(value)
		return nil
	})
	for n := range uint32(len(ids)) {
		id, is := ids[n]
		if !is {
			return errors.Join(err, fmt.Errorf("the record of player %d is missing", n))
		}
		s.players.add(id)
	}
	return err
}

// Players returns the players of all boards.
func (s *Store) Players() *Players { return &s.players }

// Series opens a series, made as by NewSeries, with its stored scores. ctx bounds the
// reading. Opening a series twice is an error. A series of another period is a different
// one, even with the same name.
func (s *Store) Series(ctx context.Context, name string, period Period, lowestFirst bool, keep int) (*Series, error) {
	root := "/s/" + nameCoding.EncodeToString([]byte(name)) + "/" + strconv.Itoa(int(period))
	s.mu.Lock()
	_, open := s.series[root]
	if !open {
		s.series[root] = nil
	}
	s.mu.Unlock()
	if open {
		return nil, fmt.Errorf("open the boards %q: they are open", name)
	}
	series := NewSeries(period, lowestFirst, keep)
	err := s.fill(ctx, series, root)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		delete(s.series, root)
		return nil, fmt.Errorf("open the boards %q: %w", name, err)
	}
	s.series[root] = series
	return series, nil
}

// fill reads the stored boards of a series, and makes their changes be stored.
func (s *Store) fill(ctx context.Context, series *Series, root string) error {
	boards := make(map[int64]*Board)
	err := s.records.Each(ctx, root, func(name string, value []byte) error {
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
			b = New(series.lowest)
			boards[at] = b
		}
		b.put(uint32(n), p)
		b.seq = max(b.seq, p.seq)
		return nil
	})
	if err != nil {
		return err
	}
	k := &keptSeries{records: s.records, root: root}
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
	series.Kept() // drops those that are too old
	return nil
}

// Each calls take for each current record, and returns the error of take. Changes do not
// wait meanwhile: a change goes to Records, and may also be among the records that Each
// passes to take.
func (s *Store) Each(take func(key string, value []byte) error) error {
	s.mu.Lock()
	open := slices.Collect(maps.Values(s.series))
	s.mu.Unlock()
	if err := take(versionKey, []byte(storeFormat)); err != nil {
		return err
	}
	for _, series := range open {
		if series == nil {
			continue // it is being read, and has not changed
		}
		for _, d := range series.Kept() {
			if err := series.kept.each(d, take); err != nil {
				return err
			}
		}
	}
	for number, id := range s.players.all() { // includes every player on a board read above
		if err := take(playerKey(uint32(number)), []byte(id)); err != nil {
			return err
		}
	}
	return nil
}

func playerKey(number uint32) string { return "/p/" + strconv.FormatUint(uint64(number), 36) }

// Flush returns when all earlier changes are stored, or with the error of the store or of
// ctx. A write that failed is retried.
func (s *Store) Flush(ctx context.Context) error { return s.flush(ctx) }

// Close stores what is left, and waits for that for at most ten seconds. The error says
// what could not be stored. The boards can still be read and changed, in memory. It must
// be called once.
func (s *Store) Close() error { return s.close() }

// keptSeries stores the changes of a series.
type keptSeries struct {
	records Records
	root    string
}

func (k *keptSeries) key(end time.Time) string {
	var at int64
	if !end.IsZero() {
		at = end.Unix()
	}
	return k.root + "/" + strconv.FormatInt(at, 36) + "/"
}

func rowKey(board string, player uint32) string {
	return board + strconv.FormatUint(uint64(player), 36)
}

// each calls take for each record of a board, which may change meanwhile.
func (k *keptSeries) each(d Dated, take func(key string, value []byte) error) error {
	d.mu.RLock()
	at := slices.Clone(d.at)
	d.mu.RUnlock()
	under := k.key(d.End)
	for player, p := range at {
		if p.seq == 0 {
			continue
		}
		if err := take(rowKey(under, uint32(player)), appendPlace(nil, p)); err != nil {
			return err
		}
	}
	return nil
}

// begin makes the board's changes be stored from now on.
func (k *keptSeries) begin(d Dated) {
	under := k.key(d.End)
	d.changed = func(player uint32, p place) {
		if p.seq == 0 {
			k.records.Change(rowKey(under, player), nil)
			return
		}
		k.records.Change(rowKey(under, player), appendPlace(nil, p))
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
			k.records.Change(rowKey(under, uint32(player)), nil)
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
