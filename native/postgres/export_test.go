package postgres

import (
	"context"
	"fmt"
	"time"

	ds "github.com/ipfs/go-datastore"
	"github.com/jackc/pgx/v5"
)

// Freeze begins to write as a view does, and pauses before the commit until thaw is closed.
// It returns the error of that commit. The server waits for limit instead of five seconds.
func Freeze(ctx context.Context, view ds.Batching, key ds.Key, limit time.Duration, began chan<- struct{}, thaw <-chan struct{}) error {
	s := view.(*Store)
	return s.db.transactOnce(ctx, func(tx pgx.Tx) error {
		if err := s.fence.check(ctx, tx, s.db.epochs); err != nil {
			return err
		}
		n := statements{put: []string{s.base + key.String()}, values: [][]byte{[]byte("frozen")}}
		if err := n.run(ctx, tx, s); err != nil {
			return err
		}
		const name = "idle_in_transaction_session_timeout"
		var was string
		if err := tx.QueryRow(ctx, `SHOW `+name).Scan(&was); err != nil || was != "5s" {
			return fmt.Errorf("the limit is %q (%w)", was, err)
		}
		if _, err := tx.Exec(ctx, fmt.Sprintf(`SET LOCAL %s = %d`, name, limit.Milliseconds())); err != nil {
			return err
		}
		close(began)
		select {
		case <-thaw:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

// Table and Epochs return the names of a store's tables, quoted.
func Table(s *Store) string { return s.db.table }

func Epochs(s *Store) string { return s.db.epochs }
