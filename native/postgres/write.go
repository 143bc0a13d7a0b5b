package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	ds "github.com/ipfs/go-datastore"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// A statement writes at most rowsOnce rows, and takes no more once they have bytesOnce.
	rowsOnce  = 5000
	bytesOnce = 1 << 20
	// tries bounds how often a transaction is attempted that the server aborts in favour of
	// another.
	tries = 5

	// begin also bounds how long a writer may stop in the middle of a transaction: otherwise
	// a frozen process would keep its rows locked for ever.
	begin = `BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL idle_in_transaction_session_timeout = '5s'`
)

// transact runs f in a transaction, at READ COMMITTED whatever the database's default is.
// If the server aborts it in favour of another transaction, it runs f again.
func (db *database) transact(ctx context.Context, f func(pgx.Tx) error) error {
	for try := 1; ; try++ {
		err := db.transactOnce(ctx, f)
		var refused *pgconn.PgError
		if try == tries || !errors.As(err, &refused) || refused.Code != deadlock && refused.Code != serialization {
			return err
		}
	}
}

// Error codes: see appendix A of PostgreSQL's manual.
const (
	deadlock      = "40P01"
	serialization = "40001"
)

func (db *database) transactOnce(ctx context.Context, f func(pgx.Tx) error) error {
	tx, err := db.pool.BeginTx(ctx, pgx.TxOptions{BeginQuery: begin})
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		_ = tx.Rollback(ctx) // if it fails, the connection is closed
		return err
	}
	return tx.Commit(ctx)
}

// write applies changes to the table in one transaction; a nil value deletes the key.
func (s *Store) write(ctx context.Context, changes map[string][]byte) error {
	keys := slices.Sorted(maps.Keys(changes)) // writers that lock rows in the same order do not deadlock
	return s.db.transact(ctx, func(tx pgx.Tx) error {
		if err := s.fence.check(ctx, tx, s.db.epochs); err != nil {
			return err
		}
		var now statements
		for _, k := range keys {
			now.add(k, changes[k])
			if now.isFull() {
				if err := now.run(ctx, tx, s); err != nil {
					return err
				}
			}
		}
		return now.run(ctx, tx, s)
	})
}

// statements are the changes of the next statements.
type statements struct {
	put    []string
	values [][]byte
	gone   []string
	bytes  int
}

func (n *statements) add(key string, value []byte) {
	n.bytes += len(key) + len(value)
	if value == nil {
		n.gone = append(n.gone, key)
		return
	}
	n.put = append(n.put, key)
	n.values = append(n.values, value)
}

func (n *statements) isFull() bool { return len(n.put)+len(n.gone) >= rowsOnce || n.bytes >= bytesOnce }

func (n *statements) run(ctx context.Context, tx pgx.Tx, s *Store) error {
	defer func() { *n = statements{} }()
	if len(n.put) > 0 {
		if _, err := tx.Exec(ctx, `INSERT INTO `+s.db.table+` (key, value, epoch)
			SELECT k, v, $3 FROM unnest($1::text[], $2::bytea[]) AS new (k, v)
			ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value, epoch = EXCLUDED.epoch`,
			n.put, n.values, s.fence.number()); err != nil {
			return err
		}
	}
	if len(n.gone) > 0 {
		if _, err := tx.Exec(ctx, `DELETE FROM `+s.db.table+` WHERE key = ANY($1::text[])`, n.gone); err != nil {
			return err
		}
	}
	return nil
}

// writeOne writes one key; a nil value deletes it.
func (s *Store) writeOne(ctx context.Context, what string, key ds.Key, value []byte) error {
	k, err := s.at(key)
	if err == nil {
		err = s.write(ctx, map[string][]byte{k: value})
	}
	if err != nil {
		return fmt.Errorf("PostgreSQL: %s %.100q: %w", what, key, err)
	}
	return nil
}

// Put returns when the value is committed. After an error it may be committed or not,
// because the connection may have broken in between. After an error that wraps ErrOlder
// it is not.
func (s *Store) Put(ctx context.Context, key ds.Key, value []byte) error {
	return s.writeOne(ctx, "put", key, append([]byte{}, value...))
}

// Delete deletes a key. A missing key is not an error. For errors, see Put.
func (s *Store) Delete(ctx context.Context, key ds.Key) error {
	return s.writeOne(ctx, "delete", key, nil)
}

// Batch returns a batch that collects changes in memory; the last change of a key counts.
// Commit applies all of them in one transaction, or none; for errors, see Put. After an
// error, Commit may be called again.
func (s *Store) Batch(context.Context) (ds.Batch, error) {
	return &batch{s: s, changes: make(map[string][]byte)}, nil
}

type batch struct {
	s       *Store
	mu      sync.Mutex
	changes map[string][]byte // by key in the table
}

func (b *batch) add(what string, key ds.Key, value []byte) error {
	k, err := b.s.at(key)
	if err != nil {
		return fmt.Errorf("PostgreSQL: %s %.100q in a batch: %w", what, key, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changes[k] = value
	return nil
}

func (b *batch) Put(_ context.Context, key ds.Key, value []byte) error {
	if value = bytes.Clone(value); value == nil {
		value = []byte{}
	}
	return b.add("put", key, value)
}

func (b *batch) Delete(_ context.Context, key ds.Key) error { return b.add("delete", key, nil) }

func (b *batch) Commit(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.s.write(ctx, b.changes); err != nil {
		return fmt.Errorf("PostgreSQL: commit a batch of %d: %w", len(b.changes), err)
	}
	clear(b.changes)
	return nil
}
