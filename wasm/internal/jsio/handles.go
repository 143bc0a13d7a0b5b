//go:build js

package jsio

import (
	"sync"
	"syscall/js"
)

// Handles maps JavaScript objects to the Go values that they stand for, so that one
// js.Func, called with the object as this, can serve all objects of a kind. An object
// needs no js.Func of its own, and once its value is dropped, a call on it finds nothing.
type Handles[T any] struct {
	mu      sync.Mutex
	last    int
	open    map[int]T
	numbers js.Value // a WeakMap from objects to keys of open: nothing of the page runs when it is asked
}

// Add makes obj stand for value.
func (h *Handles[T]) Add(obj js.Value, value T) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open == nil {
		h.open = make(map[int]T)
		h.numbers = global.Get("WeakMap").New()
	}
	h.last++
	h.open[h.last] = value
	h.numbers.Call("set", obj, h.last)
}

// Find returns the value that obj stands for. known reports whether obj ever stood for
// one of this kind; ok, whether it still does.
func (h *Handles[T]) Find(obj js.Value) (value T, known, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := h.number(obj)
	value, ok = h.open[key]
	return value, key != 0, ok
}

// Drop removes the value that obj stands for and returns it; ok reports whether there was
// one.
func (h *Handles[T]) Drop(obj js.Value) (value T, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := h.number(obj)
	value, ok = h.open[key]
	delete(h.open, key)
	return value, ok
}

// DropAll removes all values for which f returns true. f may not call h.
func (h *Handles[T]) DropAll(f func(T) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for key, value := range h.open {
		if f(value) {
			delete(h.open, key)
		}
	}
}

// number returns the key of obj, or 0 if it never stood for anything. The mutex is held.
func (h *Handles[T]) number(obj js.Value) int {
	if h.open == nil {
		return 0
	}
	if key := h.numbers.Call("get", obj); !key.IsUndefined() {
		return key.Int()
	}
	return 0
}
