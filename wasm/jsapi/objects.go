//go:build js

package jsapi

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"syscall/js"
	"time"
	"unicode"

	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

// class is a kind of object that represents a Go value in JavaScript. Its methods return
// promises. They are on a prototype that all objects of the class share, so an object
// costs no js.Func.
type class[T any] struct {
	name    string // an indefinite noun, for errors
	parent  string // the global class that this one extends
	methods map[string]func(T, []js.Value) (any, error)
	// ended returns the result of a method of an object that has been closed.
	ended func(object js.Value, method string) (any, error)

	open      jsio.Handles[T]
	prototype func() js.Value
}

func newClass[T any](c *class[T]) *class[T] {
	c.prototype = sync.OnceValue(c.makePrototype)
	return c
}

func (c *class[T]) makePrototype() js.Value {
	proto := js.Global().Get("Object").Call("create", js.Global().Get(c.parent).Get("prototype"))
	for name, call := range c.methods {
		proto.Set(name, jsio.NewFunc(func(this js.Value, args []js.Value) any {
			return jsio.Promise(func() (any, error) {
				value, known, ok := c.open.Find(this)
				switch {
				case !known:
					return nil, withCode(&coded{codeArgument, fmt.Errorf("%s was not called on %s", name, c.name)})
				case !ok:
					v, err := c.ended(this, name)
					return v, withCode(err)
				}
				v, err := call(value, args)
				return v, withCode(err)
			})
		}))
	}
	return proto
}

// object makes obj an object of the class that represents value.
func (c *class[T]) object(obj js.Value, value T) js.Value {
	js.Global().Get("Object").Call("setPrototypeOf", obj, c.prototype())
	c.open.Add(obj, value)
	return obj
}

// nothing is the ended function of a class whose methods then do nothing.
func nothing(js.Value, string) (any, error) { return nil, nil }

func newObject(properties map[string]any) js.Value { return js.ValueOf(properties) }

// registration is a registered handler. Closing the registration removes the handler;
// closing it again is not an error.
type registration struct {
	node   *node
	object js.Value
	remove func()
}

var registrations *class[*registration]

func init() {
	registrations = newClass(&class[*registration]{
		name:   "a registration",
		parent: "Object",
		methods: map[string]func(*registration, []js.Value) (any, error){
			"close": func(r *registration, _ []js.Value) (any, error) {
				if _, ok := registrations.open.Drop(r.object); ok {
					r.remove()
				}
				return nil, nil
			},
		},
		ended: nothing,
	})
}

func (n *node) register(properties map[string]any, remove func()) js.Value {
	r := &registration{node: n, object: newObject(properties), remove: remove}
	return registrations.object(r.object, r)
}

// plain converts a Go value for JavaScript. Structs become objects whose properties have
// their JSON names, or else their names in camel case; embedded fields are flattened.
// Durations become milliseconds, and times milliseconds since 1970.
func plain(v reflect.Value) any {
	switch v := v.Interface().(type) {
	case time.Duration:
		return milliseconds(v)
	case time.Time:
		return float64(v.UnixMilli())
	}
	switch v.Kind() {
	case reflect.Struct:
		o := make(map[string]any)
		addFields(o, v)
		return o
	case reflect.Array, reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = plain(v.Index(i))
		}
		return list
	case reflect.Map:
		o := make(map[string]any, v.Len())
		for key, value := range v.Seq2() {
			o[fmt.Sprint(key.Interface())] = plain(value)
		}
		return o
	case reflect.Int, reflect.Int64:
		return float64(v.Int())
	case reflect.Uint64, reflect.Uint32:
		return float64(v.Uint())
	case reflect.Bool:
		return v.Bool()
	}
	return fmt.Sprint(v.Interface())
}

func addFields(o map[string]any, v reflect.Value) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Anonymous {
			addFields(o, v.Field(i))
			continue
		}
		name, option, _ := strings.Cut(f.Tag.Get("json"), ",")
		if option != "" && v.Field(i).IsZero() { // omitempty or omitzero
			continue
		}
		if name == "" {
			name = camelCase(f.Name)
		}
		o[name] = plain(v.Field(i))
	}
}

// camelCase turns "QueueFull" into "queueFull" and "ID" into "id".
func camelCase(name string) string {
	if strings.ToUpper(name) == name {
		return strings.ToLower(name)
	}
	r := []rune(name)
	r[0] = unicode.ToLower(r[0])
	return string(r)
}
