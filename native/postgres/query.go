package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	"github.com/jackc/pgx/v5"
)

// errClosed is returned by a query after Close.
var errClosed = errors.New("the store is closed")

// Query returns results of one snapshot of the database. It reads the rows as the results
// are read; only an order by value, or by a function, holds them in memory. The server
// applies the prefix, an order by key, and, if there are no filters, offset and limit.
// Until the results are read to their end or closed, they use a connection, and ctx
// bounds them.
func (s *Store) Query(ctx context.Context, q query.Query) (query.Results, error) {
	p := s.plan(q)
	ctx, cancel := context.WithCancel(ctx)
	c := &cursor{db: s.db, base: len(s.base), plan: p, cancel: cancel}
	rows, err := s.db.pool.Query(ctx, p.sql, p.args...)
	if err != nil {
		cancel()
		return nil, failed(q, err)
	}
	c.rows = rows
	if !s.db.keep(c) {
		c.close()
		return nil, failed(q, errClosed)
	}
	results := query.ResultsFromIterator(q, query.Iterator{Next: c.next, Close: c.close})
	results = query.NaiveQueryApply(p.rest, results)
	if q.KeysOnly && p.values {
		results = withoutValues(results)
	}
	return query.ResultsReplaceQuery(results, q), nil
}

func failed(q query.Query, err error) error { return fmt.Errorf("PostgreSQL: %s: %w", q, err) }

// plan is the part of a query that the server executes.
type plan struct {
	query  query.Query
	sql    string
	args   []any
	values bool        // values are read
	sizes  bool        // sizes are read, without values
	rest   query.Query // the part to apply here
}

func (s *Store) plan(q query.Query) plan {
	p := plan{query: q, rest: query.Query{Filters: q.Filters, Orders: q.Orders, Offset: q.Offset, Limit: q.Limit}}
	order := ""
	if len(q.Orders) > 0 {
		switch q.Orders[0].(type) { // keys are unique: further orders do not matter
		case query.OrderByKey, *query.OrderByKey:
			order, p.rest.Orders = " ORDER BY key", nil
		case query.OrderByKeyDescending, *query.OrderByKeyDescending:
			order, p.rest.Orders = " ORDER BY key DESC", nil
		}
	}
	p.values = !q.KeysOnly || len(p.rest.Orders) > 0 || len(q.Filters) > 0 // filters and orders may look at the value
	p.sizes = q.ReturnsSizes && !p.values

	var sql strings.Builder
	sql.WriteString("SELECT key")
	switch {
	case p.values:
		sql.WriteString(", value")
	case p.sizes:
		sql.WriteString(", octet_length(value)")
	}
	sql.WriteString(" FROM " + s.db.table)
	if under := s.base + strings.TrimSuffix(ds.NewKey(q.Prefix).String(), "/"); under != "" {
		sql.WriteString(" WHERE key >= $1 AND key < $2")
		p.args = []any{under + "/", under + "0"} // "0" is the byte after "/"
	}
	if len(p.rest.Orders) == 0 && len(q.Filters) == 0 && (q.Offset > 0 || q.Limit > 0) {
		if order == "" {
			order = " ORDER BY key" // so that consecutive pages do not overlap
		}
		p.rest.Offset, p.rest.Limit = 0, 0
		if q.Offset > 0 {
			order += " OFFSET " + strconv.Itoa(q.Offset)
		}
		if q.Limit > 0 {
			order += " LIMIT " + strconv.Itoa(q.Limit)
		}
	}
	sql.WriteString(order)
	p.sql = sql.String()
	return p
}

// cursor reads the rows of a query.
type cursor struct {
	db     *database
	base   int // length of the prefix of each key
	plan   plan
	cancel context.CancelFunc

	mu   sync.Mutex
	rows pgx.Rows
	done bool
}

// keep registers a cursor to be closed by Store.Close. It returns false if that was
// called already.
func (db *database) keep(c *cursor) bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	if !db.closed {
		db.cursors[c] = struct{}{}
	}
	return !db.closed
}

func (c *cursor) next() (query.Result, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done {
		return query.Result{}, false
	}
	if !c.rows.Next() {
		c.end()
		if err := c.rows.Err(); err != nil {
			return query.Result{Error: failed(c.plan.query, err)}, true
		}
		return query.Result{}, false
	}
	e := query.Entry{Size: -1}
	to := []any{&e.Key}
	switch {
	case c.plan.values:
		to = append(to, &e.Value)
	case c.plan.sizes:
		to = append(to, &e.Size)
	}
	if err := c.rows.Scan(to...); err != nil {
		c.end()
		return query.Result{Error: failed(c.plan.query, err)}, true
	}
	if c.plan.values {
		e.Size = len(e.Value)
	}
	e.Key = e.Key[c.base:]
	return query.Result{Entry: e}, true
}

// close may be called at any time, and more than once.
func (c *cursor) close() error {
	c.cancel() // otherwise the remaining rows are read; and next, which has the lock, may wait for one
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end()
	return nil
}

// end releases the connection.
func (c *cursor) end() {
	if c.done {
		return
	}
	c.done = true
	c.cancel()
	c.rows.Close()
	c.db.mu.Lock()
	defer c.db.mu.Unlock()
	delete(c.db.cursors, c)
}

// withoutValues drops the values that were read only for filters and orders.
func withoutValues(r query.Results) query.Results {
	return query.ResultsFromIterator(r.Query(), query.Iterator{
		Next: func() (query.Result, bool) {
			e, ok := r.NextSync()
			e.Value = nil
			return e, ok
		},
		Close: r.Close,
	})
}
