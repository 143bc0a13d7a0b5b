//go:build js

// Package jsapi is what JavaScript sees of a node: one global, tombolo, whose
// createNode makes objects that carry the calls of core.Node as promises, its
// streams as WHATWG streams and its events as DOM events.
//
//	tombolo.createNode({relays, identity, histories, network, transports, log}, asked)
//
// asked is a function that may know what the page of a relay has answered already; see
// [askedBefore].
//
// What fails rejects with an Error that has a code, and where that is "stream" a
// reason: see errors.go. Who sets tombolo.makeError, a function of a code, a text
// and a reason, has them made by it.
//
// A call on a node that is closed rejects instead of failing in Go.
package jsapi

import (
	"context"
	"errors"
	"sync"
	"syscall/js"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/world"
	"github.com/tombolo-net/tombolo/core/world/seat"
	"github.com/tombolo-net/tombolo/wasm"
	"github.com/tombolo-net/tombolo/wasm/datastore"
	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

// Global is the name of the one global that Expose sets.
const Global = "tombolo"

// api is that global.
var api js.Value

// Expose sets the global. It is called once, by the program.
func Expose() {
	api = js.Global().Get("Object").New()
	api.Set("version", core.Version())
	api.Set("createNode", jsio.NewFunc(func(_ js.Value, args []js.Value) any {
		return jsio.Promise(func() (any, error) {
			v, err := createNode(argument(args, 0), argument(args, 1))
			return v, withCode(err)
		})
	}))
	js.Global().Set(Global, api)
}

// node is a core.Node with the object that JavaScript holds.
type node struct {
	*core.Node
	object js.Value
	events sync.WaitGroup // the goroutines that dispatch events

	roomsMu sync.Mutex
	held    *world.Rooms
	kept    *datastore.Datastore  // of rooms
	first   map[string]*seat.Seat // by room: the seats of number 0
}

var nodes *class[*node]

func init() {
	nodes = newClass(&class[*node]{
		name:    "a node",
		parent:  "EventTarget",
		methods: methods,
		ended: func(_ js.Value, method string) (any, error) {
			if method == "close" {
				return nil, nil
			}
			return nil, core.ErrClosed
		},
	})
}

func createNode(raw, asked js.Value) (any, error) {
	opts, keep, err := parseOptions(raw)
	if err != nil {
		return nil, &coded{codeOption, err}
	}
	opts.Ask = askedBefore(asked)
	inner, err := start(context.Background(), &opts, keep)
	if err != nil {
		for _, p := range opts.Parts {
			err = errors.Join(err, p.Close())
		}
		return nil, err
	}
	n := &node{Node: inner, object: js.Global().Get("Reflect").Call("construct", js.Global().Get("EventTarget"), []any{})}
	n.object.Set("id", inner.ID().String())
	n.object.Set("network", inner.Network())
	if keep.identity {
		n.object.Set("lock", opts.Parts[0].Name)
	}
	nodes.object(n.object, n)
	n.dispatchEvents()
	n.dispatchLog(opts.Logger)
	return n.object, nil
}

// start opens what is kept, as parts of the node, and makes the node.
func start(ctx context.Context, opts *wasm.Options, keep kept) (*core.Node, error) {
	if keep.identity {
		key, held, err := wasm.PersistentIdentity(ctx)
		if err != nil {
			return nil, &coded{codeOption, optionError("identity", err)}
		}
		opts.Identity, opts.Parts = key, append(opts.Parts, held)
	}
	if keep.histories {
		id, err := peer.IDFromPrivateKey(opts.Identity)
		if err != nil {
			return nil, err
		}
		histories, err := datastore.Open(ctx, "tombolo histories of "+id.String())
		if err != nil {
			return nil, &coded{codeOption, optionError("histories", err)}
		}
		opts.Store, opts.Parts = histories, append(opts.Parts, core.Part{Name: "histories", Close: histories.Close})
	}
	return wasm.New(ctx, *opts)
}

func (n *node) close() error {
	nodes.open.Drop(n.object)
	n.closeRooms()
	err := n.Node.Close()
	n.events.Wait()
	n.forget()
	return err
}

// forget drops what the page got from the node and did not close, which would
// keep the node. A subscription with messages in it is dropped when they are read.
func (n *node) forget() {
	registrations.open.DropAll(func(r *registration) bool { return r.node == n })
	listeners.open.DropAll(func(l *listener) bool { return l.node == n })
	heldRooms.open.DropAll(func(r *room) bool { return r.node == n })
	standbys.open.DropAll(func(s *standby) bool { return s.node == n })
	sittings.open.DropAll(func(s *sitting) bool { return s.node == n })
	lobbies.open.DropAll(func(l *lobby) bool { return l.node == n })
	presences.open.DropAll(func(p *presence) bool { return p.node == n })
	subscriptions.open.DropAll(func(s *subscription) bool {
		if s.node != n || s.Stats().Depth > 0 {
			return false
		}
		s.leave()
		return true
	})
}
