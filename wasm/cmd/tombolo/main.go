//go:build js

// Command tombolo, built for js, is tombolo.wasm: it sets the global tombolo (see package
// jsapi) and runs until the page ends.
package main

import (
	"log/slog"

	"github.com/libp2p/go-libp2p/gologshim"

	"github.com/tombolo-net/tombolo/wasm/jsapi"
)

func main() {
	gologshim.SetDefaultHandler(jsapi.NewConsoleHandler(slog.LevelError))
	jsapi.Expose()
	select {}
}
