//go:build js

// Package jsapi is what JavaScript sees of a node: one global, tombolo, whose
// createNode makes objects that carry the calls of core.Node as promises, its
// streams as WHATWG streams and its events as DOM events.
//
//	tombolo.createNode({relays, identity, network, transports, log})
//
// Every method is shared by all nodes, as on a prototype: a node costs no
// js.Func, and a call on a closed node rejects instead of failing in Go.
package jsapi

import (
	"context"
	"errors"
	"sync"
	"syscall/js"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/wasm"
	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

// Global is the name of the one global that Expose sets.
const Global = "tombolo"

// Expose sets the global. It is called once, by the program.
func Expose() {
	api := js.Global().Get("Object").New()
	api.Set("version", core.Version())
	api.Set("createNode", jsio.NewFunc(func(_ js.Value, args []js.Value) any {
		return jsio.Promise(func() (any, error) { return createNode(argument(args, 0)) })
	}))
	js.Global().Set(Global, api)
}

// node is a core.Node with the object that JavaScript holds.
type node struct {
	*core.Node
	object js.Value
	events sync.WaitGroup // the goroutine that dispatches events
}

var nodes jsio.Handles[*node]

func createNode(raw js.Value) (any, error) {
	opts, persistent, err := parseOptions(raw)
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	if persistent {
		key, held, err := wasm.PersistentIdentity(ctx)
		if err != nil {
			return nil, optionError("identity", err)
		}
		opts.Identity, opts.Parts = key, []core.Part{held}
	}
	inner, err := wasm.New(ctx, opts)
	if err != nil {
		for _, p := range opts.Parts {
			err = errors.Join(err, p.Close())
		}
		return nil, err
	}
	n := &node{Node: inner, object: js.Global().Get("Reflect").Call("construct", js.Global().Get("EventTarget"), []any{})}
	js.Global().Get("Object").Call("setPrototypeOf", n.object, prototype())
	n.object.Set("id", inner.ID().String())
	n.object.Set("network", inner.Network())
	nodes.Add(n.object, n)
	n.dispatchEvents()
	return n.object, nil
}

func (n *node) close() error {
	nodes.Drop(n.object)
	err := n.Node.Close()
	n.events.Wait()
	return err
}

// prototype is shared by all nodes: EventTarget's with the methods below.
var prototype = sync.OnceValue(func() js.Value {
	object := js.Global().Get("Object")
	proto := object.Call("create", js.Global().Get("EventTarget").Get("prototype"))
	for name, call := range methods {
		proto.Set(name, jsio.NewFunc(func(this js.Value, args []js.Value) any {
			return jsio.Promise(func() (any, error) {
				n, err := nodeOf(this)
				if err != nil {
					return nil, err
				}
				return call(n, args)
			})
		}))
	}
	return proto
})

func nodeOf(this js.Value) (*node, error) {
	n, known, ok := nodes.Find(this)
	switch {
	case !known:
		return nil, errors.New("the method was not called on a node")
	case !ok:
		return nil, core.ErrClosed
	}
	return n, nil
}

func argument(args []js.Value, i int) js.Value {
	if i < len(args) {
		return args[i]
	}
	return js.Undefined()
}
