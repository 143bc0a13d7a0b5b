//go:build js

package jsio

import (
	"context"
	"errors"
	"io"
	"strings"
	"syscall/js"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// odd holds values on which package syscall/js panics, or that throw when they are read.
var odd = map[string]string{
	"BigInt":            `1n`,
	"Symbol":            `Symbol('s')`,
	"null":              `null`,
	"undefined":         `undefined`,
	"NaN":               `NaN`,
	"object":            `({})`,
	"bare object":       `Object.create(null)`,
	"function":          `() => {}`,
	"throwing proxy":    `new Proxy({}, new Proxy({}, {get() { throw new Error('trap') }}))`,
	"revoked proxy":     `(() => { const r = Proxy.revocable([], {}); r.revoke(); return r.proxy })()`,
	"BigInts inside":    `({name: 1n, message: 1n, then: 1n, length: 1n, aborted: 1n})`,
	"throwing getters":  `({get name() { throw 1n }, get message() { throw null }, get then() { throw undefined }, toString() { throw {} }})`,
	"fake Uint8Array":   `Object.create(Uint8Array.prototype)`,
	"fake ArrayBuffer":  `Object.create(ArrayBuffer.prototype)`,
	"detached array":    `(() => { const a = new Uint8Array(8); structuredClone(a, {transfer: [a.buffer]}); return a })()`,
	"detached buffer":   `(() => { const b = new ArrayBuffer(8); structuredClone(b, {transfer: [b]}); return b })()`,
	"shrunk array":      `(() => { const b = new ArrayBuffer(8, {maxByteLength: 8}); const a = new Uint8Array(b, 4, 4); b.resize(2); return a })()`,
	"DataView":          `new DataView(new ArrayBuffer(8))`,
	"Float64Array":      `new Float64Array(8)`,
	"Uint8ClampedArray": `new Uint8ClampedArray(8)`,
	"SharedArrayBuffer": `typeof SharedArrayBuffer === 'undefined' ? null : new SharedArrayBuffer(8)`,
	"Blob":              `new Blob(['x'])`,
}

func eachOdd(t *testing.T, f func(t *testing.T, v js.Value)) {
	for name, code := range odd {
		t.Run(name, func(t *testing.T) { f(t, eval(code)) })
	}
}

func TestOddValuesAreErrorsWhereverTheyAreRead(t *testing.T) {
	before := LiveFuncs()
	eachOdd(t, func(t *testing.T, v js.Value) {
		_, err := Get(v, "missing")
		_, errCall := Call(v, "missing")
		require.Error(t, errCall)
		if err != nil {
			require.NotPanics(t, func() { _ = err.Error() })
		}
		_, ok := Text(v)
		require.False(t, ok)
		_, ok = Count(v, 0, MaxCount)
		require.False(t, ok)
		_, err = Items(v)
		require.Error(t, err)
		_, err = Bytes(v, 1<<20)
		require.Error(t, err)
		if !v.IsNull() && !v.IsUndefined() {
			_, _, err = WithSignal(context.Background(), v)
			require.Error(t, err)
		}
		_ = AsError(v).Error()
		_ = Throwable(AsError(v))
		_ = (&ArgumentError{Name: "x", Want: "y", Got: v}).Error()
		var h Handles[int]
		_, known, _ := h.Find(v)
		require.False(t, known)
		h.Add(js.Global().Get("Object").New(), 1)
		_, known, _ = h.Find(v)
		require.False(t, known)
	})
	require.Equal(t, before, LiveFuncs())
}

func TestBytesAreWhatTheArrayHoldsAndNotWhatItSays(t *testing.T) {
	for name, code := range map[string]string{
		"plain":        `new Uint8Array([1, 2, 3])`,
		"buffer":       `new Uint8Array([1, 2, 3]).buffer`,
		"part":         `new Uint8Array([0, 1, 2, 3, 0]).subarray(1, 4)`,
		"subclass":     `new (class extends Uint8Array { get length() { return 2 ** 40 } subarray() { throw 1 } })([1, 2, 3])`,
		"own length":   `Object.defineProperty(new Uint8Array([1, 2, 3]), 'length', {get() { throw 1n }})`,
		"other parent": `Object.setPrototypeOf(new Uint8Array([1, 2, 3]), null)`,
		"shared":       `typeof SharedArrayBuffer === 'undefined' ? new Uint8Array([1, 2, 3]) : (() => { const a = new Uint8Array(new SharedArrayBuffer(3)); a.set([1, 2, 3]); return a })()`,
		"resizable":    `(() => { const b = new ArrayBuffer(8, {maxByteLength: 8}); const a = new Uint8Array(b); a.set([1, 2, 3]); b.resize(3); return a })()`,
	} {
		got, err := Bytes(eval(code), 3)
		require.NoError(t, err, name)
		require.Equal(t, []byte{1, 2, 3}, got, name)
		_, err = Bytes(eval(code), 2)
		require.ErrorIs(t, err, ErrTooLarge, name)
	}
	large, err := Bytes(eval(`new Uint8Array(1e6).fill(7)`), 1e6)
	require.NoError(t, err)
	require.Equal(t, strings.Repeat("\x07", 1e6), string(large))
}

func TestNumbersAreWholeAndWithinBounds(t *testing.T) {
	for code, want := range map[string]bool{
		"0": true, "-0": true, "5": true, "9": true, "10": false, "-1": false, "0.5": false, "NaN": false, "Infinity": false,
		"-Infinity": false, "2**53": false, "1e308": false, "'5'": false, "5n": false, "new Number(5)": false, "true": false,
	} {
		_, ok := Count(eval(code), 0, 9)
		assert.Equal(t, want, ok, code)
	}
	n, ok := Count(eval("Number.MAX_SAFE_INTEGER"), 0, MaxCount)
	require.True(t, ok)
	require.EqualValues(t, MaxCount, n)
	_, ok = Count(eval("2**53"), 0, MaxCount)
	require.False(t, ok)
}

func TestHugeArraysAndStringsAreNotTaken(t *testing.T) {
	for _, code := range []string{
		`new Array(2 ** 32 - 1)`, `new Proxy([], {get: () => 2 ** 40})`, `new Proxy([], {get: () => -1})`, `new Proxy([], {get: () => 1n})`,
		`Object.defineProperty([1], 0, {get() { throw new Error('no') }})`,
	} {
		_, err := Items(eval(code))
		require.Error(t, err, code)
	}
	_, ok := Text(eval(`'x'.repeat(65537)`))
	require.False(t, ok)
	s, ok := Text(eval(`'x'.repeat(65536)`))
	require.True(t, ok)
	require.Len(t, s, 65536)
	long := (&ArgumentError{Name: "x", Want: "y", Got: eval(`'x'.repeat(2 ** 24)`)}).Error()
	require.Less(t, len(long), 1000)
	require.Less(t, len(AsError(eval(`new Error('x'.repeat(2 ** 24))`)).Error()), 10000)
}

func TestOutcomeOfWhatNeedNotBeAPromise(t *testing.T) {
	before := LiveFuncs()
	for code, want := range map[string]string{
		`7`: "7", `1n`: "1", `Promise.resolve(7)`: "7", `({then: 7, toString: () => 'o'})`: "o",
		`({then(yes, no) { yes(1); yes(2); no(3); throw 4 }})`:                                  "1",
		`Object.assign(() => {}, {then(yes) { setTimeout(yes, 1, 5); setTimeout(yes, 2, 6) }})`: "5",
		`({then(yes) { yes({then(yes) { yes(8) }}) }})`:                                         "8",
	} {
		v, err := Outcome(context.Background(), eval(code))
		require.NoError(t, err, code)
		require.Equal(t, want, text(v), code)
	}
	for code, want := range map[string]string{
		`Promise.reject(new TypeError('no'))`: "TypeError: no", `Promise.reject(1n)`: "1", `Promise.reject(null)`: "null", `Promise.reject()`: "",
		`({then(_, no) { no('a'); no('b') }})`: "a", `({then() { throw new Error('x') }})`: "x", `({get then() { throw 1n }})`: "1",
	} {
		_, err := Outcome(context.Background(), eval(code))
		require.EqualError(t, err, want, code)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	_, err := Outcome(ctx, eval(`({then() {}})`))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Eventually(t, func() bool { return LiveFuncs() == before }, 10*time.Second, time.Millisecond, "a promise that never settles holds functions")
}

func TestSignalThatIsNoneOfThePlatform(t *testing.T) {
	before := LiveFuncs()
	for _, code := range []string{
		`({aborted: false})`, `({aborted: 'no', addEventListener() {}})`, `({aborted: false, addEventListener() { throw 1n }})`,
		`({get aborted() { throw 1 }, addEventListener() {}})`, `5`, `1n`,
	} {
		_, _, err := WithSignal(context.Background(), eval(code))
		require.Error(t, err, code)
	}
	// This signal answers differently the second time, aborts at once and twice, and cannot be
	// unsubscribed from.
	ctx, cancel, err := WithSignal(context.Background(), eval(`({n: 0, get aborted() { return this.n++ ? 1n : false },
		addEventListener(_, f) { f(); f() }, removeEventListener() { throw 1n }})`))
	require.NoError(t, err)
	<-ctx.Done()
	cancel()
	require.Equal(t, before, LiveFuncs())
}

func TestStreamThatBringsSomethingElseFails(t *testing.T) {
	eachOdd(t, func(t *testing.T, v js.Value) {
		make := js.Global().Get("Function").New("v", "return new ReadableStream({start(c) { c.enqueue(v) }})")
		_, err := io.ReadAll(NewReader(make.Invoke(v), nil))
		require.ErrorContains(t, err, "cannot be read")
	})
	eachOdd(t, func(t *testing.T, v js.Value) {
		make := js.Global().Get("Function").New("v", "return new ReadableStream({start(c) { c.error(v) }})")
		_, err := io.ReadAll(NewReader(make.Invoke(v), nil))
		require.Error(t, err)
	})
}

func TestChunkOfAnotherSortResetsAndThePromiseSaysWhy(t *testing.T) {
	eachOdd(t, func(t *testing.T, v js.Value) {
		p := newPipe()
		_, err := Await(context.Background(), NewWritable(p).Call("getWriter").Call("write", v))
		require.ErrorContains(t, err, "TypeError: chunk ")
		require.Equal(t, []string{"reset"}, p.ended)
	})
}

// The pipe takes the chunk in parts.
func TestChunkIsThatOfTheWriteWhateverBecomesOfItsBuffer(t *testing.T) {
	p := newPipe()
	chunk := eval(`new Uint8Array(200000).fill(7)`)
	writer := NewWritable(p).Call("getWriter")
	written := writer.Call("write", chunk)
	first := make([]byte, 1)
	_, err := p.Read(first)
	require.NoError(t, err)
	js.Global().Call("structuredClone", chunk, map[string]any{"transfer": []any{chunk.Get("buffer")}})
	rest := make([]byte, 199999)
	_, err = io.ReadFull(p.PipeReader, rest)
	require.NoError(t, err)
	require.Equal(t, strings.Repeat("\x07", 200000), string(first)+string(rest))
	_, err = Await(context.Background(), written)
	require.NoError(t, err)
}

func TestWriterThatThrowsAnythingFails(t *testing.T) {
	eachOdd(t, func(t *testing.T, v js.Value) {
		make := js.Global().Get("Function").New("v", "return new WritableStream({write() { throw v }})")
		w := NewWriter(make.Invoke(v), nil)
		require.Eventually(t, func() bool {
			_, err := w.Write([]byte("x"))
			return err != nil && !errors.Is(err, ErrWriteClosed)
		}, 10*time.Second, time.Millisecond)
	})
}
