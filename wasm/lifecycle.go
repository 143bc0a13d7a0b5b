//go:build js

package wasm

import (
	"context"
	"syscall/js"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

// wakeOnline calls wake when the platform says that the network is back.
func wakeOnline(wake func()) core.Part {
	var online js.Func
	global := js.Global()
	if global.Get("addEventListener").IsUndefined() { // Node.js
		return core.Part{Name: "network watch"}
	}
	return core.Part{
		Name: "network watch",
		Start: func(context.Context) error {
			online = jsio.NewFunc(func(js.Value, []js.Value) any {
				wake()
				return nil
			})
			global.Call("addEventListener", "online", online)
			return nil
		},
		Close: func() error {
			global.Call("removeEventListener", "online", online)
			jsio.Release(online)
			return nil
		},
	}
}
