//go:build js

// Command crash stands in for tombolo.wasm where a test needs a program that
// ends: a node of its ends the program in the way that ping's argument says.
// The real program has no way to be made to.
package main

import (
	"syscall/js"
	"time"
)

func main() {
	js.Global().Set("tombolo", map[string]any{
		"version":    "crash",
		"createNode": js.FuncOf(createNode),
	})
	select {}
}

func createNode(js.Value, []js.Value) any {
	node := js.Global().Get("EventTarget").New()
	node.Set("id", "nobody")
	node.Set("ping", js.FuncOf(ping))
	node.Set("peers", js.FuncOf(func(js.Value, []js.Value) any { return never() }))
	return js.Global().Get("Promise").Call("resolve", node)
}

func ping(_ js.Value, args []js.Value) any {
	switch args[0].String() {
	case "panic":
		panic("out of sand")
	case "panic later":
		go panic("out of sand")
	case "panic in time":
		time.AfterFunc(time.Second/4, func() { panic("out of sand") })
	case "memory":
		hoard()
	}
	return never()
}

// never is a promise that does not settle.
func never() js.Value {
	return js.Global().Get("Promise").New(js.FuncOf(func(js.Value, []js.Value) any { return nil }))
}

func hoard() {
	var all [][]byte
	for {
		all = append(all, make([]byte, 256<<20))
	}
}
