//go:build js

package wasm

import (
	"context"
	"syscall/js"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/reservation"
	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

// wakeOnline has lost relays tried at once when the platform says that the
// network is back, instead of after their back-off.
func wakeOnline(keeper *reservation.Keeper) core.Part {
	var online js.Func
	global := js.Global()
	if global.Get("addEventListener").IsUndefined() { // Node.js
		return core.Part{Name: "network watch"}
	}
	return core.Part{
		Name: "network watch",
		Start: func(context.Context) error {
			online = jsio.NewFunc(func(js.Value, []js.Value) any {
				keeper.Wake()
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
