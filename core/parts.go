package core

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/libp2p/go-libp2p/core/network"
)

// Part is something that a node starts and closes with itself. Either function may be
// nil. Close is called once, and only if Start succeeded or is nil; it waits for the
// goroutines of the part.
type Part struct {
	Name  string // a noun: errors read "<name>: ..."
	Start func(context.Context) error
	Close func() error
}

// task is a part that runs each function in its own goroutine. When the part closes,
// it ends their ctx and waits for them to return.
func task(name string, runs ...func(ctx context.Context)) Part {
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	return Part{
		Name: name,
		Start: func(context.Context) error {
			for _, run := range runs {
				running.Go(func() { run(ctx) })
			}
			return nil
		},
		Close: func() error {
			stop()
			running.Wait()
			return nil
		},
	}
}

// onConnected is a part that calls f for each new connection. f must not block,
// because the host makes no other connection meanwhile.
func (n *Node) onConnected(name string, f func(network.Conn)) Part {
	notify := &network.NotifyBundle{ConnectedF: func(_ network.Network, c network.Conn) { f(c) }}
	return Part{
		Name: name,
		Start: func(context.Context) error {
			n.host.Network().Notify(notify)
			return nil
		},
		Close: func() error {
			n.host.Network().StopNotify(notify)
			return nil
		},
	}
}

// parts are the started parts, in order.
type parts []Part

// start starts all parts in order. If one fails, it closes the started ones, and also the
// later ones without Start, because they were running already.
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

// close closes all parts in reverse order, even if some fail.
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
