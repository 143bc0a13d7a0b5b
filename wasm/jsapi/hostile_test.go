//go:build js

package jsapi

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"syscall/js"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

// eval runs JavaScript and returns its value.
func eval(code string) js.Value { return js.Global().Get("Function").New("return " + code).Invoke() }

// hostile lists values that a page should not pass, but can.
var hostile = []string{
	`null`, `true`, `0`, `-1`, `0.5`, `NaN`, `Infinity`, `2 ** 53`, `1e308`, `1n`, `-(2n ** 64n)`, `Symbol('s')`, `Symbol.iterator`,
	`''`, `'nobody'`, `'x'.repeat(1e6)`, `'\ud800'`, `'/'`, `[]`, `[,]`, `[1n]`, `[[[]]]`, `['a', Symbol()]`, `new Array(2 ** 32 - 1)`,
	`new Proxy([], {get: () => 2 ** 40})`, `new Proxy({}, new Proxy({}, {get() { throw new Error('trap') }}))`,
	`(() => { const r = Proxy.revocable([], {}); r.revoke(); return r.proxy })()`, `Object.create(null)`, `new Date(NaN)`, `globalThis`,
	`() => {}`, `() => { throw 1n }`, `Object.defineProperty(() => {}, 'name', {get() { throw 1 }})`,
	`({get signal() { throw new Error('getter') }, get relays() { throw 1n }})`, `({toString() { throw 1 }, valueOf() { throw 1 }})`,
	`({then(a, b) { a(1); a(2); b(3) }})`, `({get then() { throw null }})`, `({then() {}})`, `Promise.resolve(1n)`,
	`({aborted: false})`, `({aborted: false, addEventListener() { throw 1n }})`, `({n: 0, get aborted() { return this.n++ ? 1n : false }, addEventListener() {}})`,
	`Object.create(Uint8Array.prototype)`, `new Uint8Array(new SharedArrayBuffer(8))`, `new DataView(new ArrayBuffer(8))`, `new Float64Array(3)`,
	`(() => { const a = new Uint8Array(8); structuredClone(a, {transfer: [a.buffer]}); return a })()`,
	`(() => { const b = new ArrayBuffer(8, {maxByteLength: 8}); const a = new Uint8Array(b, 4, 4); b.resize(2); return a })()`,
	`Object.defineProperty(new Uint8Array(3), 'length', {get() { throw 1n }})`, `new ArrayBuffer(3e6)`, `new ReadableStream()`, `new MessageChannel().port1`,
}

var exposed = sync.OnceFunc(Expose)

// outcome waits for the promise of a call: the call must return a promise, and the promise
// must settle.
func outcome(t *testing.T, about string, call func() js.Value) (js.Value, error) {
	t.Helper()
	p, err := jsio.Try(call)
	require.NoError(t, err, "%s: a call promises, it does not throw", about)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	v, err := jsio.Await(ctx, p)
	require.NoError(t, ctx.Err(), about)
	return v, err
}

func TestHostileOptionsOfANodeAreErrorsThatNameThem(t *testing.T) {
	exposed()
	for _, name := range optionNames {
		for _, code := range hostile {
			about := name + ": " + code
			options := js.Global().Get("Object").New()
			options.Set(name, eval(code))
			if code == `[]` || (name == "network" || name == "token") && strings.HasPrefix(code, "'") {
				continue // these are right
			}
			_, err := outcome(t, about, func() js.Value { return api.Call("createNode", options) })
			require.ErrorContains(t, err, "option "+name, about)
		}
		getter := eval(`({get ` + name + `() { throw new Error('getter') }})`)
		_, err := outcome(t, name, func() js.Value { return api.Call("createNode", getter) })
		require.EqualError(t, err, "option "+name+" cannot be read: getter")
	}
	for _, code := range []string{`({network: ''})`, `({network: 'x'.repeat(1e6)})`} {
		_, err := outcome(t, code, func() js.Value { return api.Call("createNode", eval(code)) })
		require.ErrorContains(t, err, "option network must be a name")
	}
	for _, code := range hostile {
		v, err := outcome(t, code, func() js.Value { return api.Call("createNode", eval(code)) })
		if err == nil { // an object without any of our options
			_, err = outcome(t, code, func() js.Value { return v.Call("close") })
			require.NoError(t, err, code)
		}
	}
}

// calls maps the methods of a node to correct arguments.
var calls = map[string]string{
	"addRelays":   `[[]]`,
	"connect":     `[ID, {signal: undefined}]`,
	"disconnect":  `[ID]`,
	"ping":        `[ID, {signal: undefined}]`,
	"echo":        `[ID, new Uint8Array(3), {signal: undefined}]`,
	"open":        `[ID, '/x/a', {signal: undefined, allowCustomProtocol: false}]`,
	"listen":      `['/x/' + Math.random(), () => {}, {allow: [], deny: [], announce: 'a', maxStreams: 1, maxStreamsPerPeer: 1, rate: 1, allowCustomProtocol: true}]`,
	"services":    `[ID, {signal: undefined}]`,
	"streams":     `[{ended: true}]`,
	"closeStream": `[1]`,
	"subscribe":   `['a', {buffer: 1, policy: 'block', broadcasts: true}]`,
	"broadcast":   `['a', new Uint8Array(3), {signal: AbortSignal.timeout(1), wait: false}]`,
	"validate":    `['v' + Math.random(), () => 'accept']`,
	"presence":    `['a']`,
	"keepHistory": `['h' + Math.random(), {age: 1000, bytes: 1, count: 1}]`,
	"recover":     `['a', {signal: AbortSignal.timeout(1)}]`,
	"send":        `[ID, 'a', new Uint8Array(3), {signal: AbortSignal.timeout(1), priority: 'low'}]`,
	"sendAll":     `[[ID], 'a', new Uint8Array(3), {signal: AbortSignal.timeout(1), priority: 'low'}]`,
	"sendTo":      `[{random: 1}, 'a', new Uint8Array(3), {signal: AbortSignal.timeout(1), priority: 'low'}]`,
	"request":     `[ID, 'a', new Uint8Array(3), {signal: AbortSignal.timeout(1)}]`,
	"rooms":       `[{wait: 1, name: 'a', version: 'a', free: 1, players: 1, open: true, tags: {a: 'b'}, signal: undefined}]`,
	"watchRooms":  `[{name: 'a', version: 'a', free: 1, players: 1, open: true, tags: {a: 'b'}}]`,
	"respond":     `['r' + Math.random(), () => new Uint8Array()]`,
}

func newNode(t *testing.T, options string) js.Value {
	t.Helper()
	exposed()
	n, err := outcome(t, "createNode", func() js.Value { return api.Call("createNode", eval(options)) })
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := outcome(t, "close", func() js.Value { return n.Call("close") })
		require.NoError(t, err)
	})
	return n
}

func TestHostileArgumentsOfAnyCallSettleIt(t *testing.T) {
	n := newNode(t, `{log: 'off'}`)
	const somebody = "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X"
	for method, right := range calls {
		t.Run(method, func(t *testing.T) {
			arguments := js.Global().Get("Function").New("ID", "return "+right)
			count := arguments.Invoke(somebody).Length()
			for _, code := range hostile {
				for i := range count {
					args := arguments.Invoke(somebody)
					inside := args.Index(i)
					args.SetIndex(i, eval(code))
					settles(t, n, method, args, fmt.Sprint("argument ", i, " ", code))
					if inside.Type() != js.TypeObject || inside.InstanceOf(js.Global().Get("Uint8Array")) {
						continue
					}
					names := js.Global().Get("Object").Call("keys", inside)
					for k := range names.Length() {
						args := arguments.Invoke(somebody)
						args.Index(i).Set(names.Index(k).String(), eval(code))
						settles(t, n, method, args, names.Index(k).String()+" "+code)
					}
				}
			}
		})
	}
}

// settles calls a method and closes the object that it opened, if any.
func settles(t *testing.T, n js.Value, method string, args js.Value, about string) {
	t.Helper()
	v, err := outcome(t, about, func() js.Value { return js.Global().Get("Reflect").Call("apply", n.Get(method), n, args) })
	if err != nil || jsio.TypeOf(v) != js.TypeObject || jsio.TypeOf(v.Get("close")) != js.TypeFunction {
		return
	}
	_, err = outcome(t, about, func() js.Value { return v.Call("close") })
	require.NoError(t, err, about)
}

func TestMethodsOfANodeCalledOnSomethingElseAreErrors(t *testing.T) {
	n := newNode(t, `{log: 'off'}`)
	for name := range methods {
		for _, code := range hostile {
			_, err := outcome(t, name, func() js.Value { return js.Global().Get("Reflect").Call("apply", n.Get(name), eval(code), []any{}) })
			require.EqualError(t, err, name+" was not called on a node", code)
		}
	}
	for _, code := range hostile {
		for name, f := range map[string]js.Func{"reset": streamMethods().reset, "readEnded": streamMethods().readEnded, "failed": streamMethods().failed} {
			_, err := jsio.Try(func() js.Value { return js.Global().Get("Reflect").Call("apply", f, eval(code), []any{1}) })
			require.NoError(t, err, name)
		}
	}
}

func TestNodeWhosePartsThePageReplacedLivesOn(t *testing.T) {
	n := newNode(t, `{log: 'debug'}`)
	js.Global().Get("Function").New("n", `
		n.dispatchEvent = () => { throw new Error('mine') }
		Object.freeze(n)
	`).Invoke(n)
	s, err := outcome(t, "subscribe", func() js.Value { return n.Call("subscribe", "a") })
	require.NoError(t, err)
	js.Global().Get("Object").Call("defineProperty", s, "lost", eval(`({get() { throw 1 }, set() { throw 1 }})`))
	for _, method := range []string{"dropped", "close", "dropped"} {
		_, err = outcome(t, method, func() js.Value { return s.Call(method) })
		require.NoError(t, err)
	}
	v, _, known := nodes.open.Find(n)
	require.True(t, known)
	v.dispatch("error", map[string]any{"message": "nobody listens"})
}

func TestConsoleThatThrowsIsAnErrorOfTheHandler(t *testing.T) {
	console := js.Global().Get("console")
	warn := console.Get("warn")
	defer console.Set("warn", warn)
	for _, code := range []string{`undefined`, `() => { throw 1n }`, `5n`} {
		console.Set("warn", eval(code))
		slog.New(NewConsoleHandler(slog.LevelWarn)).Warn("heard by nobody")
	}
}

func TestStreamErrorOfThePageThatThrowsIsReplaced(t *testing.T) {
	exposed()
	defer api.Delete(makeError)
	for _, code := range []string{`() => { throw 1n }`, `5n`, `undefined`, `Symbol()`} {
		api.Set(makeError, eval(code))
		v := throwable(&bridge.Error{Reason: bridge.NotAllowed})
		assert.Equal(t, string(bridge.NotAllowed), v.Get("reason").String(), code)
	}
}

func TestFunctionsOfThePageMayDoAnything(t *testing.T) {
	for _, code := range hostile {
		for _, f := range []string{`() => v`, `() => { throw v }`, `async () => v`, `async () => { throw v }`, `() => ({then: v})`, `() => ({then(a) { a(v) }})`} {
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond) // some never settle
			_, err := callFunction(ctx, js.Global().Get("Function").New("v", "return "+f).Invoke(eval(code)))
			if err != nil {
				_ = err.Error()
				_ = jsio.Throwable(err)
			}
			cancel()
		}
	}
}
