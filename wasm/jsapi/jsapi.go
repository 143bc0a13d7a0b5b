//go:build js

// Package jsapi is the JavaScript interface of a node. It sets one global, tombolo, whose
// createNode makes node objects. Their methods correspond to those of core.Node and return
// promises; streams are WHATWG streams, and events are DOM events.
//
//	tombolo.createNode({relays, identity, histories, network, transports, log}, asked)
//
// asked is an optional function that returns answers of relays' pages that were fetched
// earlier; see [askedBefore].
//
// A call that fails rejects with an Error that has a code and, if the code is "stream" or
// "seat", a reason: see errors.go. If tombolo.makeError is set, it makes these errors: it
// is called with the code, the text and the reason.
//
// Calls on a closed node reject.
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

// Global is the name of the global that Expose sets.
const Global = "tombolo"

// api is the value of the global.
var api js.Value

// Expose sets the global. The program calls it once.
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
	kept    *datastore.Datastore  // stores rooms
	first   map[string]*seat.Seat // by room: the seats with number 0
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

// start opens the persistent stores that keep asks for, as parts of the node, and makes
// the node.
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

// forget drops the objects that the page got from the node and did not close; they would
// keep the node in memory. A subscription with unread messages is dropped when they have
// been read.
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
