//go:build js

// Package jsio is where Go meets the web platform: promises become calls that
// block a goroutine, JavaScript's byte streams become io, and what JavaScript
// throws becomes an error.
//
// JavaScript has one thread and Go runs on it: a function that JavaScript calls
// must return without blocking, so whatever may wait starts a goroutine and
// hands back a promise. Every js.Func made here is released here.
package jsio

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall/js"
)

var (
	global      = js.Global()
	promise     = global.Get("Promise")
	uint8Array  = global.Get("Uint8Array")
	arrayBuffer = global.Get("ArrayBuffer")

	// Ignore is a function that does nothing (Function.prototype is one): the
	// handler of promises whose failure shows elsewhere. Without a handler the
	// platform reports them as unhandled, and Node.js exits.
	Ignore = global.Get("Function").Get("prototype")
)

// liveFuncs counts the functions that NewFunc made and Release has not seen.
var liveFuncs atomic.Int64

// NewFunc is js.FuncOf, counted. Its owner calls Release.
func NewFunc(f func(this js.Value, args []js.Value) any) js.Func {
	liveFuncs.Add(1)
	return js.FuncOf(f)
}

// Release frees a function that NewFunc made; once.
func Release(f js.Func) {
	liveFuncs.Add(-1)
	f.Release()
}

// LiveFuncs is the number of functions not yet released, for tests of leaks.
func LiveFuncs() int { return int(liveFuncs.Load()) }

// Error is a value that JavaScript threw or rejected with.
type Error struct {
	Name    string // such as TypeError or AbortError; may be empty
	Message string
	Value   js.Value
}

func (e *Error) Error() string {
	if e.Name == "" || e.Name == "Error" {
		return e.Message
	}
	return e.Name + ": " + e.Message
}

// AsError makes an error of a thrown value, whatever its type.
func AsError(v js.Value) error {
	if v.Type() != js.TypeObject {
		return &Error{Message: text(v), Value: v}
	}
	e := &Error{Name: text(v.Get("name")), Message: text(v.Get("message")), Value: v}
	if e.Message == "" {
		e.Message = text(v)
	}
	return e
}

func text(v js.Value) string {
	if v.IsUndefined() {
		return ""
	}
	s, err := Try(func() js.Value { return global.Get("String").Invoke(v) })
	if err != nil {
		return "value that cannot be shown"
	}
	return s.String()
}

// Try runs f and turns a JavaScript exception in it into an error. Other
// panics go on.
func Try(f func() js.Value) (v js.Value, err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case js.Error:
			err = AsError(r.Value)
		default:
			panic(r)
		}
	}()
	return f(), nil
}

// Await blocks until p settles or ctx ends. A rejection becomes an *Error.
// When ctx ends first its error is returned, and the outcome of p is dropped.
func Await(ctx context.Context, p js.Value) (js.Value, error) {
	v, err := await(p, ctx.Done())
	if errors.Is(err, errCancelled) {
		return js.Undefined(), ctx.Err()
	}
	return v, err
}

var errCancelled = errors.New("cancelled")

func await(p js.Value, cancel <-chan struct{}) (js.Value, error) {
	type outcome struct {
		value js.Value
		err   error
	}
	settled := make(chan outcome, 1)
	var onValue, onError js.Func
	finish := func(o outcome) any {
		Release(onValue)
		Release(onError)
		settled <- o
		return nil
	}
	onValue = NewFunc(func(_ js.Value, args []js.Value) any { return finish(outcome{value: first(args)}) })
	onError = NewFunc(func(_ js.Value, args []js.Value) any { return finish(outcome{err: AsError(first(args))}) })
	p.Call("then", onValue, onError)
	select {
	case o := <-settled:
		return o.value, o.err
	case <-cancel:
		return js.Undefined(), errCancelled
	}
}

// Promise runs f in a goroutine and returns a promise of its outcome. An error
// rejects with a JavaScript Error of the same text; see Throwable.
func Promise(f func() (any, error)) js.Value {
	p, resolve, reject := newPromise()
	go func() {
		if v, err := f(); err != nil {
			reject.Invoke(Throwable(err))
		} else {
			resolve.Invoke(v)
		}
	}()
	return p
}

// newPromise makes a promise and what settles it.
func newPromise() (p, resolve, reject js.Value) {
	if !withResolvers.IsUndefined() {
		made := promise.Call("withResolvers")
		return made.Get("promise"), made.Get("resolve"), made.Get("reject")
	}
	executor := NewFunc(func(_ js.Value, args []js.Value) any {
		resolve, reject = args[0], args[1]
		return nil
	})
	defer Release(executor) // the platform calls it once, at once
	p = promise.New(executor)
	return p, resolve, reject
}

// withResolvers spares the call into Go that an executor costs. Node.js has it
// from 22.
var withResolvers = promise.Get("withResolvers")

// Throwable is err as JavaScript expects it: the value itself where err came
// from JavaScript, a TypeError for bad arguments, an AbortError where a signal
// ended the call, else an Error with err's text.
func Throwable(err error) js.Value {
	if thrown, ok := errors.AsType[*Error](err); ok && thrown.Value.Type() == js.TypeObject && err == error(thrown) {
		return thrown.Value
	}
	if _, ok := errors.AsType[*ArgumentError](err); ok {
		return global.Get("TypeError").New(err.Error())
	}
	if errors.Is(err, context.Canceled) {
		return global.Get("DOMException").New(err.Error(), "AbortError")
	}
	return global.Get("Error").New(err.Error())
}

// ArgumentError says that a value handed in from JavaScript cannot be used.
type ArgumentError struct {
	Name string // of the argument or option
	Want string // what it must be
	Got  js.Value
}

func (e *ArgumentError) Error() string {
	got := e.Got.Type().String()
	switch e.Got.Type() {
	case js.TypeString:
		got = fmt.Sprintf("%q", e.Got.String())
	case js.TypeNumber, js.TypeBoolean:
		got = text(e.Got)
	}
	return fmt.Sprintf("%s must be %s, not %s", e.Name, e.Want, got)
}

// Bytes copies a Uint8Array or ArrayBuffer into Go.
func Bytes(v js.Value) []byte {
	v, _ = asUint8Array(v)
	b := make([]byte, v.Length())
	js.CopyBytesToGo(b, v)
	return b
}

// IsBytes says whether v is something Bytes can copy.
func IsBytes(v js.Value) bool {
	return v.Type() == js.TypeObject && (v.InstanceOf(uint8Array) || v.InstanceOf(arrayBuffer))
}

// Uint8Array copies b into a fresh Uint8Array.
func Uint8Array(b []byte) js.Value {
	v := uint8Array.New(len(b))
	js.CopyBytesToJS(v, b)
	return v
}

// asUint8Array looks at an ArrayBuffer as bytes.
func asUint8Array(v js.Value) (js.Value, bool) {
	switch {
	case v.Type() != js.TypeObject:
		return v, false
	case v.InstanceOf(uint8Array):
		return v, true
	case v.InstanceOf(arrayBuffer):
		return uint8Array.New(v), true
	}
	return v, false
}

func first(args []js.Value) js.Value {
	if len(args) == 0 {
		return js.Undefined()
	}
	return args[0]
}

// WithSignal returns a context that also ends when an AbortSignal does; an
// undefined signal never does. cancel must be called.
func WithSignal(parent context.Context, signal js.Value) (ctx context.Context, cancel func()) {
	ctx, stop := context.WithCancel(parent)
	if signal.Type() != js.TypeObject {
		return ctx, stop
	}
	if signal.Get("aborted").Bool() {
		stop()
		return ctx, stop
	}
	aborted := NewFunc(func(js.Value, []js.Value) any {
		stop()
		return nil
	})
	signal.Call("addEventListener", "abort", aborted)
	return ctx, sync.OnceFunc(func() {
		signal.Call("removeEventListener", "abort", aborted)
		Release(aborted)
		stop()
	})
}
