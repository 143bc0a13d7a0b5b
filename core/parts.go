package core

import (
	"context"
	"errors"
	"fmt"
)

// Part is something a node starts and closes with itself. Either function may
// be nil. Close is called once, and only when Start succeeded; it waits for
// what the part runs.
type Part struct {
	Name  string // a noun: errors read "<name>: ..."
	Start func(context.Context) error
	Close func() error
}

// parts are those that have started, in order.
type parts []Part

// start starts all in order. When one fails, it closes the started ones, and
// any later part that came without Start: that one was running already.
func (ps *parts) start(ctx context.Context, all []Part) error {
	for i, p := range all {
		err := ctx.Err()
		if err == nil && p.Start != nil {
			err = p.Start(ctx)
		}
		if err != nil {
			for _, later := range all[i:] {
				if later.Start == nil {
					*ps = append(*ps, later)
				}
			}
			return errors.Join(fmt.Errorf("%s: %w", p.Name, err), ps.close())
		}
		*ps = append(*ps, p)
	}
	return nil
}

// close closes all in reverse order, whatever fails on the way.
func (ps *parts) close() error {
	var errs []error
	for i := len(*ps) - 1; i >= 0; i-- {
		p := (*ps)[i]
		if p.Close == nil {
			continue
		}
		if err := p.Close(); err != nil {
			errs = append(errs, fmt.Errorf("close %s: %w", p.Name, err))
		}
	}
	*ps = nil
	return errors.Join(errs...)
}
