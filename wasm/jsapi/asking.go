//go:build js

package jsapi

import (
	"context"
	"syscall/js"

	"github.com/tombolo-net/tombolo/core/reservation"
	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

// askedBefore returns a function that fetches the pages of relays. Some were fetched
// before the program was loaded: asked is a function that takes a URL and promises the
// answer, or undefined if there is none. In that case, the page is fetched now. If asked
// is not a function, askedBefore returns nil.
func askedBefore(asked js.Value) reservation.Get {
	if asked.Type() != js.TypeFunction {
		return nil
	}
	return func(ctx context.Context, url string, most int) ([]byte, error) {
		if promise, err := jsio.Try(func() js.Value { return js.Global().Get("Promise").Call("resolve", asked.Invoke(url)) }); err == nil {
			if answer, err := jsio.Await(ctx, promise); err == nil {
				if b, err := jsio.Bytes(answer, most); err == nil {
					return b, nil
				}
			}
		}
		return jsio.Fetch(ctx, url, most)
	}
}
