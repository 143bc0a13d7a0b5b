// Command waiting gives JavaScript a function, and blocks: a program from which a
// snapshot can be taken, unless an argument of the build has it do what forbids that.
package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"syscall/js"
	"time"

	"github.com/tombolo-net/tombolo/wasm/internal/link/testdata/waiting/seeded"
)

// does is set by the linker.
var does string

var (
	begun  = time.Now()
	before = make(map[int]bool) // has a seed of the build
	object = js.Global().Get("Object")
	length = object.Call("getOwnPropertyDescriptor", js.Global().Get("ArrayBuffer").Get("prototype"), "byteLength").Get("get")
)

func main() {
	for i := range 100 {
		before[i] = true
	}
	switch does {
	case "ends":
		return
	case "sleeps":
		time.Sleep(time.Second)
	case "looks":
		before[len(js.Global().Get("Math").Get("PI").String())] = true
	case "asks":
		before[0] = js.Global().Get("Deno").IsUndefined()
	case "writes":
		fmt.Fprintln(os.Stdout, "hello")
	}
	api := object.New()
	api.Set("kind", "waiting")
	api.Set("look", js.FuncOf(look))
	js.Global().Set("waiting", api)
	select {}
}

// look is what is random and what is not.
func look(js.Value, []js.Value) any {
	var key [16]byte
	if _, err := rand.Read(key[:]); err != nil {
		panic(err)
	}
	after := make(map[int]bool)
	for i := range 100 {
		after[i] = true
	}
	order := ""
	for i := range after {
		order += fmt.Sprint(i, " ")
	}
	return map[string]any{
		"key": hex.EncodeToString(key[:]), "random": fmt.Sprint(mathrand.Uint64()), "order": order,
		"kept": len(before), "seeded": seeded.Again, "later": time.Since(begun) > 24*time.Hour, "getter": length.Get("name"),
	}
}
