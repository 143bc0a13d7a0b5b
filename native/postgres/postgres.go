// Package postgres is a go-datastore in a PostgreSQL database, for rooms and boards that
// have outgrown one machine. Several hosts can share a database, and a host that was
// replaced cannot overwrite the data of its successor: see Store.Under.
//
// A store has two tables: one has a row for each key, the other the epoch of each prefix.
// Keys are ordered by their bytes, as in every go-datastore.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"unicode/utf8"

	ds "github.com/ipfs/go-datastore"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// DefaultTable is the name of the table that holds the keys.
	DefaultTable = "tombolo"
	// MaxKey bounds a key, the prefix of Store.Under included, in bytes. PostgreSQL puts
	// at most 2,704 bytes into an index.
	MaxKey = 2048

	epochsSuffix = "_epochs"
)

// tableName is lower case, so that psql needs no quotes, and short enough that
// PostgreSQL, which cuts names to 63 bytes, can tell the two tables apart.
var tableName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,55}$`)

// Options configure a Store. The zero value is usable.
type Options struct {
	// Table is the name of the table that holds the keys: at most 56 lower-case letters,
	// digits and underscores. The table of the epochs has the same name with the suffix
	// "_epochs". Both are looked up, and created, by the connection's search_path. If empty,
	// DefaultTable.
	Table string
}

// Store is an open store, or a view of one that Under has returned. All methods may be
// called concurrently.
//
// A method returns when its ctx ends at the latest. An error says what was tried, and
// wraps the *pgconn.PgError if the server refused; it never contains the password of the
// URL. Each operation, and each query whose results are not yet closed, uses one of the
// pool's connections; if none is free, the call waits.
//
// A key must be valid UTF-8 without a zero byte and have at most MaxKey bytes, or the
// method fails. A value has less than 1 GB.
type Store struct {
	db    *database
	base  string // prefix of each key in the table
	fence *fence // nil for the store that Open returned
}

var _ ds.Batching = (*Store)(nil)

// database is shared by a store and its views.
type database struct {
	pool          *pgxpool.Pool
	table, epochs string // quoted

	mu      sync.Mutex
	cursors map[*cursor]struct{} // open ones
	closed  bool
}

// Open opens the store in a database, and creates its tables if they are missing. ctx
// bounds that. url is a libpq connection string:
// postgres://user:password@host:5432/database, or key=value pairs. It accepts the
// parameters of pgxpool in addition to those of libpq, for example pool_max_conns, the
// maximum number of connections (by default the larger of 4 and the number of
// processors). The database must be encoded in UTF-8, and the server must accept writes.
func Open(ctx context.Context, url string, opts Options) (_ *Store, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("open PostgreSQL: %w", err)
		}
	}()
	if opts.Table == "" {
		opts.Table = DefaultTable
	}
	if !tableName.MatchString(opts.Table) {
		return nil, fmt.Errorf("%q is not a name for a table: use at most 56 of a-z, 0-9 and _", opts.Table)
	}
	config, err := pgxpool.ParseConfig(url)
	if err != nil { // its text may contain a part of the password
		return nil, errors.New("the URL is not like postgres://user:password@host:5432/database?sslmode=verify-full (escape what is special in the password)")
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	db := &database{
		pool:    pool,
		table:   pgx.Identifier{opts.Table}.Sanitize(),
		epochs:  pgx.Identifier{opts.Table + epochsSuffix}.Sanitize(),
		cursors: make(map[*cursor]struct{}),
	}
	if err := db.begin(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	return &Store{db: db}, nil
}

// begin checks the database, and creates the tables.
func (db *database) begin(ctx context.Context) error {
	var encoding string
	if err := db.pool.QueryRow(ctx, `SELECT current_setting('server_encoding')`).Scan(&encoding); err != nil {
		return err
	}
	if encoding != "UTF8" {
		return fmt.Errorf("the database is encoded in %s: create one with ENCODING 'UTF8'", encoding)
	}
	return db.transact(ctx, func(tx pgx.Tx) error {
		// If two clients created a table at once, both would find it missing, and one would
		// fail to create it.
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtext($1))`, db.table); err != nil {
			return fmt.Errorf("wait for others that create the tables: %w", err)
		}
		for table, columns := range map[string]string{
			db.table:  `key TEXT COLLATE "C" PRIMARY KEY, value BYTEA NOT NULL, epoch BIGINT NOT NULL DEFAULT 0`,
			db.epochs: `prefix TEXT COLLATE "C" PRIMARY KEY, epoch BIGINT NOT NULL`,
		} {
			var exists bool // CREATE TABLE IF NOT EXISTS needs the right to create even if the table exists
			if err := tx.QueryRow(ctx, `SELECT to_regclass($1) IS NOT NULL`, table).Scan(&exists); err != nil {
				return fmt.Errorf("look for table %s: %w", table, err)
			}
			if exists {
				continue
			}
			if _, err := tx.Exec(ctx, `CREATE TABLE `+table+` (`+columns+`)`); err != nil {
				return fmt.Errorf("create table %s: %w", table, err)
			}
		}
		return nil
	})
}

// Close closes the queries whose results are still open, and waits for all other calls in
// progress. Later calls of other methods fail. Closing a view does nothing: its store
// stays open.
func (s *Store) Close() error {
	if s.fence != nil {
		return nil
	}
	s.db.mu.Lock()
	s.db.closed = true
	open := make([]*cursor, 0, len(s.db.cursors))
	for c := range s.db.cursors {
		open = append(open, c)
	}
	s.db.mu.Unlock()
	for _, c := range open {
		c.close()
	}
	s.db.pool.Close()
	return nil
}

// at returns the key as it is in the table.
func (s *Store) at(key ds.Key) (string, error) {
	k := s.base + key.String()
	switch {
	case len(k) > MaxKey:
		return "", fmt.Errorf("the key has %d bytes; PostgreSQL takes %d", len(k), MaxKey)
	case !isText(k):
		return "", fmt.Errorf("the key is not UTF-8 without zero bytes")
	}
	return k, nil
}

// isText reports whether PostgreSQL accepts s as TEXT.
func isText(s string) bool {
	for i := range len(s) {
		if s[i] == 0 {
			return false
		}
	}
	return utf8.ValidString(s)
}

// read reads one column of one row and scans it into to. If there is no such row, it
// returns ds.ErrNotFound.
func (s *Store) read(ctx context.Context, what, column string, key ds.Key, to any) error {
	k, err := s.at(key)
	if err == nil {
		err = s.db.pool.QueryRow(ctx, `SELECT `+column+` FROM `+s.db.table+` WHERE key = $1`, k).Scan(to)
	}
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return ds.ErrNotFound
	case err != nil:
		return fmt.Errorf("PostgreSQL: %s %.100q: %w", what, key, err)
	}
	return nil
}

// Get returns the value of a key, or ds.ErrNotFound if there is none.
func (s *Store) Get(ctx context.Context, key ds.Key) (value []byte, err error) {
	if err := s.read(ctx, "get", "value", key, &value); err != nil {
		return nil, err
	}
	return value, nil
}

// Has reports whether a key has a value.
func (s *Store) Has(ctx context.Context, key ds.Key) (bool, error) {
	var has bool
	err := s.read(ctx, "look for", "true", key, &has)
	if errors.Is(err, ds.ErrNotFound) {
		return false, nil
	}
	return has, err
}

// GetSize returns the number of bytes of a key's value, or ds.ErrNotFound. It does not
// read the value.
func (s *Store) GetSize(ctx context.Context, key ds.Key) (int, error) {
	size := -1
	err := s.read(ctx, "get the size of", "octet_length(value)", key, &size)
	return size, err
}

// Sync does nothing: every write is committed when it returns.
func (s *Store) Sync(context.Context, ds.Key) error { return nil }
