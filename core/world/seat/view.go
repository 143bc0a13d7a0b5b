package seat

import (
	"fmt"
	"iter"
	"maps"
)

// View keeps the entities that a player sees, decoded as T. It must be used by one
// goroutine.
type View[T any] struct {
	decode func(whole []byte) (T, error)
	apply  func(T, []byte) (T, error)
	things map[uint32]T
}

// NewView makes a view. decode decodes a whole record, and apply applies a record of
// changes to a T.
func NewView[T any](decode func(whole []byte) (T, error), apply func(T, []byte) (T, error)) *View[T] {
	return &View[T]{decode: decode, apply: apply, things: make(map[uint32]T)}
}

// Take applies a tick. An error names the entity whose record cannot be decoded.
func (v *View[T]) Take(t *Tick) error {
	if t.Reset {
		clear(v.things)
	}
	for _, e := range t.Left {
		delete(v.things, e)
	}
	for _, u := range t.Updates {
		var thing T
		var err error
		if u.Whole {
			thing, err = v.decode(u.Data)
		} else {
			thing, err = v.apply(v.things[u.Entity], u.Data)
		}
		if err != nil {
			return fmt.Errorf("entity %d: %w", u.Entity, err)
		}
		v.things[u.Entity] = thing
	}
	return nil
}

// Len returns the number of entities in sight.
func (v *View[T]) Len() int { return len(v.things) }

// Get returns an entity; ok is false if it is not in sight.
func (v *View[T]) Get(entity uint32) (T, bool) {
	t, ok := v.things[entity]
	return t, ok
}

// All yields the entities in sight, in no particular order.
func (v *View[T]) All() iter.Seq2[uint32, T] { return maps.All(v.things) }
