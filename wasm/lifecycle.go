//go:build js

package wasm

import (
	"context"
	"sync"
	"syscall/js"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

// A platformEvent is one that the platform tells of the page or the network, and
// what a node does then.
type platformEvent struct {
	target js.Value
	name   string
	rest   bool // else it wakes
	// awake: only where the node is not at rest. In a worker it may rest for a page
	// that is away, of which the network tells nothing.
	awake bool
	// restored: only where the page comes out of the back/forward cache.
	restored bool
}

// platformEvents are those that there are here: in a worker those of the network
// alone, and in Node.js none. When the page is hidden nothing is done, for it goes
// on; and nothing at offline, for a connection that outlives a short gap is better
// than a new one, and one that does not is noticed.
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

// followPlatform has a node rest when its page is left or frozen, and wake when the
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
						// It runs before the listener returns, as far as it
						// waits for nothing: the page may not run again.
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

// restored says whether a pageshow is of a page that was kept. A page's own script
// may dispatch one, too.
func restored(args []js.Value) bool {
	persisted, err := jsio.Get(jsio.First(args), "persisted")
	return err == nil && persisted.Equal(js.ValueOf(true))
}
