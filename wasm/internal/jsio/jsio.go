//go:build js

// Package jsio connects Go and the web platform: promises become calls that block a
// goroutine, JavaScript's byte streams become io, and JavaScript exceptions become
// errors.
//
// JavaScript has one thread and Go runs on it: a function that JavaScript calls must
// return without blocking, so anything that may wait starts a goroutine and returns a
// promise. Every js.Func made here is released here.
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

	// Ignore is a function that does nothing (Function.prototype is one). It handles
	// promises whose failure is reported elsewhere. Without a handler the platform reports
	// them as unhandled, and Node.js exits.
	Ignore = global.Get("Function").Get("prototype")
)

// liveFuncs counts the functions that NewFunc made and Release has not seen.
var liveFuncs atomic.Int64

// NewFunc calls js.FuncOf and counts the function. Its owner calls Release.
func NewFunc(f func(this js.Value, args []js.Value) any) js.Func {
	liveFuncs.Add(1)
	return js.FuncOf(f)
}

// Release frees a function that NewFunc made. It must be called once.
func Release(f js.Func) {
	liveFuncs.Add(-1)
	f.Release()
}

// LiveFuncs returns the number of functions not yet released, for leak tests.
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

// AsError returns an error for a thrown value, whatever its type.
func AsError(v js.Value) error {
	e := &Error{Value: v}
	if TypeOf(v) == js.TypeObject {
		e.Name, e.Message = textOf(v, "name"), textOf(v, "message")
	}
	if e.Message == "" {
		e.Message = text(v)
	}
	return e
}

func textOf(v js.Value, property string) string {
	p, err := Get(v, property)
	if err != nil {
		return ""
	}
	return text(p)
}

// maxShown bounds the text of a value in an error, in UTF-16 units.
const maxShown = 4 << 10

func text(v js.Value) string {
	if v.IsUndefined() {
		return ""
	}
	s, err := Try(func() js.Value { return slice.Call("call", global.Get("String").Invoke(v), 0, maxShown) })
	if err != nil {
		return "value that cannot be shown"
	}
	return s.String()
}

// Try runs f and turns a JavaScript exception in it into an error. Other panics are not
// caught.
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

// Await blocks until p settles or ctx ends. A rejection becomes an *Error. If ctx ends
// first, Await returns its error, and the outcome of p is dropped. p then keeps nothing
// of Go alive, even if it never settles.
func Await(ctx context.Context, p js.Value) (js.Value, error) {
	if ctx.Done() == nil {
		return await(p, nil)
	}
	outcome, resolve, reject := newPromise()
	outcome.Call("then", Ignore, Ignore)
	p.Call("then", resolve, reject)
	v, err := await(outcome, ctx.Done())
	if errors.Is(err, errCancelled) {
		reject.Invoke() // it calls the functions of Go, which are then released
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
	onValue = NewFunc(func(_ js.Value, args []js.Value) any { return finish(outcome{value: First(args)}) })
	onError = NewFunc(func(_ js.Value, args []js.Value) any { return finish(outcome{err: AsError(First(args))}) })
	p.Call("then", onValue, onError)
	select {
	case o := <-settled:
		return o.value, o.err
	case <-cancel:
		return js.Undefined(), errCancelled
	}
}

// Promise runs f in a goroutine and returns a promise of its outcome. An error rejects it
// with a JavaScript Error of the same text; see Throwable.
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

// newPromise returns a promise and the functions that settle it.
func newPromise() (p, resolve, reject js.Value) {
	if hasWithResolvers() {
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

// hasWithResolvers reports whether the platform has Promise.withResolvers, which saves
// the call into Go that an executor costs. Node.js has it from 22. The check is made when
// the program runs, and not when it is built: see package link.
var hasWithResolvers = sync.OnceValue(func() bool { return !promise.Get("withResolvers").IsUndefined() })

// Throwable returns err as JavaScript expects it: the thrown value itself if err came
// from JavaScript, a TypeError for bad arguments, an AbortError if a signal ended the
// call, otherwise an Error with err's text.
func Throwable(err error) js.Value {
	if thrown, ok := errors.AsType[*Error](err); ok && TypeOf(thrown.Value) == js.TypeObject && err == error(thrown) {
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

// ArgumentError is returned for a value from JavaScript that cannot be used.
type ArgumentError struct {
	Name string // of the argument or option
	Want string // what it must be
	Got  js.Value
	Err  error // why it cannot be read, if that failed; or nil
}

func (e *ArgumentError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s cannot be read: %v", e.Name, e.Err)
	}
	return fmt.Sprintf("%s must be %s, not %s", e.Name, e.Want, kindOf(e.Got))
}

func (e *ArgumentError) Unwrap() error { return e.Err }

// kindOf returns v as text if that is short, or its type.
func kindOf(v js.Value) string {
	switch t := TypeOf(v); t {
	case js.TypeString:
		if s := text(v); len(s) <= maxQuoted {
			return fmt.Sprintf("%q", s)
		}
		return "a string of that length"
	case js.TypeNumber, js.TypeBoolean:
		return text(v)
	case TypeOther:
		return "bigint"
	default:
		return t.String()
	}
}

// maxQuoted bounds a string that an error quotes, in bytes.
const maxQuoted = 256

// Uint8Array copies b into a new Uint8Array.
func Uint8Array(b []byte) js.Value {
	v := uint8Array.New(len(b))
	js.CopyBytesToJS(v, b)
	return v
}

// First returns the first argument of a function, or undefined.
func First(args []js.Value) js.Value {
	if len(args) == 0 {
		return js.Undefined()
	}
	return args[0]
}

// ErrNotSignal is returned by WithSignal for a value that is not an AbortSignal.
var ErrNotSignal = errors.New("it is not an AbortSignal")

// WithSignal returns a context that also ends when an AbortSignal aborts; null or
// undefined never does. cancel must be called unless there is an error. A signal is
// recognised by its methods, because one of another frame is not an instance of this
// frame's AbortSignal.
func WithSignal(parent context.Context, signal js.Value) (ctx context.Context, cancel func(), err error) {
	ctx, stop := context.WithCancel(parent)
	if signal.IsUndefined() || signal.IsNull() {
		return ctx, stop, nil
	}
	is, err := abortedOf(signal)
	if err != nil || is {
		stop()
		return ctx, stop, err
	}
	aborted := NewFunc(func(js.Value, []js.Value) any {
		stop()
		return nil
	})
	if _, err := Call(signal, "addEventListener", "abort", aborted); err != nil {
		Release(aborted)
		stop()
		return nil, nil, err
	}
	return ctx, sync.OnceFunc(func() {
		_, _ = Call(signal, "removeEventListener", "abort", aborted)
		Release(aborted)
		stop()
	}), nil
}

func abortedOf(signal js.Value) (bool, error) {
	if TypeOf(signal) != js.TypeObject {
		return false, ErrNotSignal
	}
	listen, err := Get(signal, "addEventListener")
	if err != nil {
		return false, err
	}
	aborted, err := Get(signal, "aborted")
	if err != nil {
		return false, err
	}
	if TypeOf(listen) != js.TypeFunction || TypeOf(aborted) != js.TypeBoolean {
		return false, ErrNotSignal
	}
	return aborted.Bool(), nil
}
