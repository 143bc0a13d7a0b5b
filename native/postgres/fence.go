package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	ds "github.com/ipfs/go-datastore"
	"github.com/jackc/pgx/v5"

	"github.com/tombolo-net/tombolo/core/world"
)

// ErrOlder is wrapped by errors of Under, and of a view's writes, if a newer epoch is
// registered for the prefix: another writer has taken over. Nothing was written.
var ErrOlder = world.ErrOlder

var _ world.Fencer = (*Store)(nil) // a room registers its own epochs

// fence refuses the writes of a writer that another one has replaced. A nil fence refuses
// none.
type fence struct {
	prefix string
	epoch  int64
}

// Under registers an epoch for the keys under prefix, and returns a view of those keys
// for the writer of this epoch. If a newer epoch is registered, the error wraps ErrOlder.
// An epoch is at most 1<<63 - 1. The view's keys are relative to prefix: its /a is
// prefix/a in the store.
//
// Once Under has returned:
//
//   - No write of an older epoch is committed any more. It fails with an error that wraps
//     ErrOlder and writes nothing, be it a Put, a Delete or a batch.
//   - Every write of an older epoch that was committed before is visible to later reads,
//     even if its writer never got the confirmation.
//
// So a writer that calls Under, then reads, and then writes loses nothing, and nobody
// writes in between. A lock ensures this: every write is a transaction that begins with
// SELECT ... FOR SHARE of the row with the prefix's epoch, and continues only if that is
// its own epoch. To register an epoch, Under updates that row, which waits for the
// transactions that have locked it; later ones wait for Under. All of them run at READ
// COMMITTED, at which a locking read returns the newest committed version of the row,
// however old the transaction is, and a query sees everything that was committed before
// it began.
//
// A writer that is frozen in the middle of a write delays Under, and its successor's
// writes, for at most five seconds: then the server ends its transaction and its
// connection.
//
// Not guaranteed: two writers with the same epoch are not kept apart. Reads are not
// fenced. Neither are the writes of the store itself, nor those of views of other
// prefixes, even if one prefix lies under the other. And a server that loses commits,
// because of synchronous_commit=off or by failing over to a replica that lags, may lose a
// registration, too.
func (s *Store) Under(ctx context.Context, prefix ds.Key, epoch uint64) (ds.Batching, error) {
	view, err := s.under(ctx, prefix, epoch)
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL: register epoch %d for %.100q: %w", epoch, prefix, err)
	}
	return view, nil
}

func (s *Store) under(ctx context.Context, prefix ds.Key, epoch uint64) (*Store, error) {
	if epoch > math.MaxInt64 {
		return nil, errors.New("an epoch is at most 1<<63 - 1")
	}
	at, err := s.at(ds.NewKey(prefix.String()))
	if err != nil {
		return nil, err
	}
	f := &fence{prefix: at, epoch: int64(epoch)}
	err = s.db.transact(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `INSERT INTO `+s.db.epochs+` AS known (prefix, epoch) VALUES ($1, $2)
			ON CONFLICT (prefix) DO UPDATE SET epoch = EXCLUDED.epoch WHERE known.epoch < EXCLUDED.epoch`,
			f.prefix, f.epoch); err != nil {
			return err
		}
		return f.check(ctx, tx, s.db.epochs)
	})
	if err != nil {
		return nil, err
	}
	return &Store{db: s.db, base: strings.TrimSuffix(at, "/"), fence: f}, nil
}

// check fails unless the registered epoch is the fence's own, and locks it until the
// transaction ends.
func (f *fence) check(ctx context.Context, tx pgx.Tx, epochs string) error {
	if f == nil {
		return nil
	}
	var registered int64
	if err := tx.QueryRow(ctx, `SELECT epoch FROM `+epochs+` WHERE prefix = $1 FOR SHARE`, f.prefix).Scan(&registered); err != nil {
		return fmt.Errorf("read the epoch of %.100q: %w", f.prefix, err)
	}
	if registered != f.epoch {
		return fmt.Errorf("%w for %.100q: %d, this is %d", ErrOlder, f.prefix, registered, f.epoch)
	}
	return nil
}

// number returns the epoch to write into a row.
func (f *fence) number() int64 {
	if f == nil {
		return 0
	}
	return f.epoch
}
