package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"

	"github.com/ipfs/go-datastore"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/world"
	"github.com/tombolo-net/tombolo/native/command"
	"github.com/tombolo-net/tombolo/native/control"
	"github.com/tombolo-net/tombolo/native/store"
	"github.com/tombolo-net/tombolo/native/tunnels"
)

// daemon is a node and the parts that `tombolo up` adds to it.
type daemon struct {
	node       *core.Node
	gatewayURL string
	closers    []func() error // in the order of their starts
}

// start starts the tunnels, the gateway and the control socket.
func (d *daemon) start(ctx context.Context, c *upCmd, log *slog.Logger) error {
	kept, err := tunnels.Open(ctx, d.node, c.DataDir, log)
	if err != nil {
		return err
	}
	d.closers = append(d.closers, kept.Close)
	worlds := &roomStore{path: filepath.Join(c.DataDir, "rooms.db")}
	d.closers = append(d.closers, worlds.Close)
	rooms, err := world.New(d.node)
	if err != nil {
		return err
	}
	d.closers = append(d.closers, rooms.Close)
	watched, unwatch := context.WithCancel(context.Background())
	go command.Watchdog(watched, rooms.Overdue)
	d.closers = append(d.closers, func() error { unwatch(); return nil })
	if c.Gateway != "" {
		url, closeGateway, err := serveGateway(d.node, string(c.Gateway), c.GatewayHost, log)
		if err != nil {
			return err
		}
		d.gatewayURL = url
		d.closers = append(d.closers, closeGateway)
	}
	server, err := control.Serve(control.Options{
		Node:    d.node,
		Tunnels: kept,
		Rooms:   rooms,
		Dir:     c.DataDir,

		RoomStore: worlds.Open,
		Status: func(s *control.Status) {
			s.Gateway = d.gatewayURL
			relays, unanswered := d.node.Relays()
			for _, r := range relays {
				for _, a := range r.Addrs {
					s.Relays = append(s.Relays, fmt.Sprintf("%s/p2p/%s", a, r.ID))
				}
			}
			s.Relays = append(s.Relays, unanswered...)
		},
		Logger: log,
	})
	if err != nil {
		return err
	}
	d.closers = append(d.closers, server.Close)
	return nil
}

// Close closes all parts in reverse order, the node last.
func (d *daemon) Close() error {
	var errs []error
	for i := len(d.closers) - 1; i >= 0; i-- {
		errs = append(errs, d.closers[i]())
	}
	return errors.Join(append(errs, d.node.Close())...)
}

// roomStore stores rooms. Its file is created with the first stored room.
type roomStore struct {
	path string

	mu    sync.Mutex
	store *store.Store
}

// Open opens the store unless it is open.
func (r *roomStore) Open() (datastore.Batching, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.store == nil {
		opened, err := store.Open(r.path)
		if err != nil {
			return nil, err
		}
		r.store = opened
	}
	return r.store, nil
}

func (r *roomStore) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.store == nil {
		return nil
	}
	return r.store.Close()
}
