//go:build js

package jsio

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"syscall/js"
)

// The functions of this file read values that a page, a peer or a server chose. Package
// syscall/js cannot do that safely. Its methods panic if the type is not the one they
// expect, and Type itself panics on a BigInt. If a getter or a proxy throws, the
// exception passes through Get, Set, Length, Index and InstanceOf into the Go runtime,
// which cannot recover. Call and Invoke do catch exceptions, so this file reads values by
// calling functions of JavaScript. It looks them up once, before a page can replace them.
var (
	reflectGet   = global.Get("Reflect").Get("get")
	reflectApply = global.Get("Reflect").Get("apply")
	isArray      = global.Get("Array").Get("isArray")
	slice        = global.Get("String").Get("prototype").Get("slice")

	// tagOf names the class of a typed array. Unlike instanceof it runs no code of the page,
	// cannot be forged, and recognises arrays of other frames.
	tagOf          = getter(typedArray, global.Get("Symbol").Get("toStringTag"))
	lengthOf       = getter(typedArray, js.ValueOf("length"))
	set            = typedArray.Get("prototype").Get("set")
	typedArray     = global.Get("Object").Call("getPrototypeOf", uint8Array)
	tagUint8Array  = js.ValueOf("Uint8Array")
	bufferLengthOf = getter(arrayBuffer, js.ValueOf("byteLength")) // throws if it is not an ArrayBuffer
)

func getter(class, name js.Value) js.Value {
	return global.Get("Object").Call("getOwnPropertyDescriptor", class.Get("prototype"), name).Get("get")
}

// TypeOther is the type of a BigInt, for which js.Type has no name.
const TypeOther js.Type = -1

// TypeOf returns v.Type(), or TypeOther where that would panic.
func TypeOf(v js.Value) (t js.Type) {
	defer func() {
		if recover() != nil { // there is no other way to find out
			t = TypeOther
		}
	}()
	return v.Type()
}

// Get reads a property. It fails if v has none, being null for example, or if
// the getter throws.
func Get(v js.Value, name string) (js.Value, error) {
	return Try(func() js.Value { return reflectGet.Invoke(v, name) })
}

// Call calls a method. It fails if there is no such method or if it throws.
func Call(v js.Value, name string, args ...any) (js.Value, error) {
	f, err := Get(v, name)
	if err != nil {
		return js.Undefined(), err
	}
	if TypeOf(f) != js.TypeFunction {
		return js.Undefined(), fmt.Errorf("it has no method %s", name)
	}
	return Try(func() js.Value { return reflectApply.Invoke(f, v, args) })
}

// maxText bounds a string that is copied into Go, in UTF-16 units.
const maxText = 64 << 10

// Text returns the string v. ok is false if v is something else or has more than 65,536
// UTF-16 units.
func Text(v js.Value) (s string, ok bool) {
	if TypeOf(v) != js.TypeString {
		return "", false
	}
	if slice.Call("call", v, maxText, maxText+1).String() != "" { // it has no Length
		return "", false
	}
	return v.String(), true
}

// Count returns the whole number v. ok is false if v is something else or is not between
// least and most. Both must be within 2^53-1, up to which JavaScript counts exactly.
func Count(v js.Value, least, most int64) (n int64, ok bool) {
	if TypeOf(v) != js.TypeNumber {
		return 0, false
	}
	f := v.Float()
	if !(f >= float64(least) && f <= float64(most)) { // NaN is not
		return 0, false
	}
	if n = int64(f); float64(n) != f {
		return 0, false
	}
	return n, true
}

// MaxCount is the largest bound that Count accepts.
const MaxCount = 1<<53 - 1

// maxItems bounds an array that is copied into Go.
const maxItems = 64 << 10

// ErrNotArray is returned by Items for a value that is not an array.
var ErrNotArray = errors.New("it is not an array")

// Items returns the elements of the array v, at most 65,536.
func Items(v js.Value) ([]js.Value, error) {
	is, err := Try(func() js.Value { return isArray.Invoke(v) })
	if err != nil { // a revoked proxy
		return nil, err
	}
	if !is.Bool() {
		return nil, ErrNotArray
	}
	length, err := Get(v, "length")
	if err != nil {
		return nil, err
	}
	n, ok := Count(length, 0, maxItems)
	if !ok {
		return nil, fmt.Errorf("it has more than %d items", maxItems)
	}
	items := make([]js.Value, n)
	for i := range items {
		if items[i], err = Get(v, strconv.Itoa(i)); err != nil {
			return nil, fmt.Errorf("item %d: %w", i, err)
		}
	}
	return items, nil
}

// ErrNotBytes is returned by Bytes for a value that is neither a Uint8Array nor an
// ArrayBuffer.
var ErrNotBytes = errors.New("it is not a Uint8Array or an ArrayBuffer")

// ErrTooLarge is returned by Bytes for more bytes than the limit.
var ErrTooLarge = errors.New("too large")

// Bytes copies a Uint8Array or an ArrayBuffer of at most limit bytes into Go.
func Bytes(v js.Value, limit int) ([]byte, error) {
	c, err := copyOf(v, limit)
	if err != nil {
		return nil, err
	}
	defer c.free()
	b := make([]byte, c.size)
	js.CopyBytesToGo(b, c.js)
	return b, nil
}

// chunk is bytes in a Uint8Array that nothing else refers to.
type chunk struct {
	js   js.Value // the data is its first size bytes
	size int
}

// copyOf copies a Uint8Array or an ArrayBuffer of at most limit bytes. Go works on
// the copy because a page can detach or resize its own array while Go waits, and
// can override its length. A detached array is an error. The chunk must be freed.
func copyOf(v js.Value, limit int) (chunk, error) {
	if TypeOf(v) != js.TypeObject {
		return chunk{}, ErrNotBytes
	}
	if tag, err := apply(tagOf, v); err != nil || !tag.Equal(tagUint8Array) {
		if _, err := apply(bufferLengthOf, v); err != nil {
			return chunk{}, ErrNotBytes
		}
		if v, err = Try(func() js.Value { return uint8Array.New(v) }); err != nil {
			return chunk{}, err
		}
	}
	length, err := apply(lengthOf, v)
	if err != nil {
		return chunk{}, err
	}
	c := chunk{size: length.Int()}
	if c.size > limit {
		return chunk{}, fmt.Errorf("%w: it has %d bytes, and at most %d are taken", ErrTooLarge, c.size, limit)
	}
	if c.size > maxChunk {
		c.js, err = Try(func() js.Value { return uint8Array.New(v) })
		return c, err
	}
	c.js = takeBuffer() // filling existing memory is many times cheaper
	if _, err = apply(set, c.js, v); err != nil {
		c.free()
	}
	return c, err
}

func (c chunk) free() {
	if c.size <= maxChunk {
		putBuffer(c.js)
	}
}

// apply calls a function of the platform with the given this.
func apply(f, this js.Value, args ...any) (js.Value, error) {
	return Try(func() js.Value { return f.Call("call", append([]any{this}, args...)...) })
}

// Outcome waits for v if v has a method then, and returns any other v unchanged. Unlike a
// promise of the platform, an object of a page may settle twice or never, and its then
// may throw. When ctx ends, v holds no function of Go.
func Outcome(ctx context.Context, v js.Value) (js.Value, error) {
	if t := TypeOf(v); t != js.TypeObject && t != js.TypeFunction {
		return v, nil
	}
	then, err := Get(v, "then")
	if err != nil {
		return js.Undefined(), err
	}
	if TypeOf(then) != js.TypeFunction {
		return v, nil
	}
	p, resolve, reject := newPromise()
	p.Call("then", Ignore, Ignore)
	if _, err := Try(func() js.Value { return reflectApply.Invoke(then, v, []any{resolve, reject}) }); err != nil {
		reject.Invoke(thrown(err)) // has no effect if it has settled before
	}
	return Await(ctx, p)
}
