//go:build js

package wasm

import (
	"context"
	"sync"
	"syscall/js"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

// A platformEvent is an event of the page or the network, and what a node does when it
// fires.
type platformEvent struct {
	target js.Value
	name   string
	rest   bool // if false, the node wakes
	// awake: ignored while the node is suspended. In a worker it may be suspended because
	// its page is frozen, about which network events say nothing.
	awake bool
	// restored: ignored unless the page comes out of the back/forward cache.
	restored bool
}

// platformEvents returns the events that exist here: in a worker those of the network
// only, and in Node.js none. A hidden page continues to run, so that is ignored. So is
// offline: a connection that survives a short outage is better than a new one, and one
// that does not is noticed.
func platformEvents() []platformEvent {
	global := js.Global()
	if global.Get("addEventListener").IsUndefined() {
		return nil
	}
	events := []platformEvent{{target: global, name: "online", awake: true}}
	if document := global.Get("document"); document.Type() == js.TypeObject {
		events = append(events,
			platformEvent{target: global, name: "pagehide", rest: true},
			platformEvent{target: global, name: "pageshow", restored: true},
			platformEvent{target: document, name: "freeze", rest: true},
			platformEvent{target: document, name: "resume"},
		)
	}
	return events
}

// followPlatform suspends a node when its page is left or frozen, and wakes it when the
// page or the network is back. It calls neither before the node has started.
func followPlatform(node func() *core.Node) core.Part {
	events := platformEvents()
	listeners := make([]js.Func, len(events))
	var resting sync.WaitGroup
	return core.Part{
		Name: "lifecycle",
		Start: func(context.Context) error {
			for i, e := range events {
				listeners[i] = jsio.NewFunc(func(_ js.Value, args []js.Value) any {
					n := node()
					switch {
					case n == nil, e.awake && n.Resting(), e.restored && !restored(args):
					case e.rest:
						// Rest runs before the listener returns, up to its first wait: the page may not run
						// again.
						resting.Go(n.Rest)
					default:
						n.Wake()
					}
					return nil
				})
				e.target.Call("addEventListener", e.name, listeners[i])
			}
			return nil
		},
		Close: func() error {
			for i, e := range events {
				e.target.Call("removeEventListener", e.name, listeners[i])
				jsio.Release(listeners[i])
			}
			resting.Wait()
			return nil
		},
	}
}

// restored reports whether a pageshow event is of a page from the back/forward cache. A
// page's own script may dispatch one, too.
func restored(args []js.Value) bool {
	persisted, err := jsio.Get(jsio.First(args), "persisted")
	return err == nil && persisted.Equal(js.ValueOf(true))
}
