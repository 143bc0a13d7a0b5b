//go:build js

package jsapi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall/js"

	"github.com/tombolo-net/tombolo/core/dispatch"
	"github.com/tombolo-net/tombolo/core/mesh"
	"github.com/tombolo-net/tombolo/core/message"
	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

// subscription is a dispatch.Subscription that JavaScript reads in batches.
type subscription struct {
	*dispatch.Subscription
	node   *node
	object js.Value
}

var subscriptions *class[*subscription]

func init() {
	subscriptions = newClass(&class[*subscription]{
		name:   "a subscription",
		parent: "Object",
		methods: map[string]func(*subscription, []js.Value) (any, error){
			"next":    (*subscription).next,
			"dropped": func(s *subscription, _ []js.Value) (any, error) { return float64(s.Dropped()), nil },
			"close": func(s *subscription, _ []js.Value) (any, error) {
				defer s.forget()
				return nil, s.Close()
			},
		},
		ended: func(object js.Value, method string) (any, error) {
			if method == "dropped" {
				return object.Get("lost"), nil
			}
			return nil, nil
		},
	})
}

// next resolves to a batch of messages; to null when the subscription was
// closed.
func (s *subscription) next([]js.Value) (any, error) {
	data, err := nextBatch(context.Background(), s.Subscription)
	switch {
	case errors.Is(err, dispatch.ErrClosed):
		s.forget()
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("subscription to %q: %w", s.Pattern(), err)
	}
	return jsio.Uint8Array(data), nil
}

// forget leaves what was lost with the object.
func (s *subscription) forget() {
	s.object.Set("lost", float64(s.Dropped()))
	subscriptions.open.Drop(s.object)
}

// policies are those of dispatch under their names for JavaScript.
var policies = map[string]dispatch.Option{
	"drop-newest":       dispatch.DropNewest,
	"drop-oldest":       dispatch.DropOldest,
	"block":             dispatch.Block,
	"close-on-overflow": dispatch.CloseOnOverflow,
	"latest-per-sender": dispatch.LatestPerKey(func(m *message.Message) string { return string(m.From) + m.Type }),
}

var policyNames = []string{"drop-newest", "drop-oldest", "latest-per-sender", "block", "close-on-overflow"}

func (n *node) jsSubscribe(args []js.Value) (any, error) {
	pattern, err := stringArgument(argument(args, 0), "type", "a string")
	if err != nil {
		return nil, err
	}
	raw := argument(args, 1)
	if err := checkOptions(raw, "buffer", "broadcasts", "policy"); err != nil {
		return nil, err
	}
	var opts []dispatch.Option
	subscribe := n.Subscribe
	if raw.Type() == js.TypeObject {
		if buffer, ok, err := wholeNumber(raw, "buffer"); err != nil {
			return nil, err
		} else if ok {
			opts = append(opts, dispatch.Buffer(int(buffer)))
		}
		if v := raw.Get("policy"); !v.IsUndefined() {
			policy, ok := dispatch.Option(nil), false
			if v.Type() == js.TypeString {
				policy, ok = policies[v.String()]
			}
			if !ok {
				return nil, &jsio.ArgumentError{Name: "option policy", Want: "one of " + strings.Join(policyNames, ", "), Got: v}
			}
			opts = append(opts, policy)
		}
		if v := raw.Get("broadcasts"); v.Type() == js.TypeBoolean && !v.Bool() {
			subscribe = n.SubscribeDirect
		}
	}
	s, err := subscribe(pattern, opts...)
	if err != nil {
		return nil, err
	}
	object := newObject(map[string]any{"type": pattern})
	return subscriptions.object(object, &subscription{s, n, object}), nil
}

// presence is a mesh.Presence, which JavaScript reads in batches too.
type presence struct {
	*mesh.Presence
	node   *node
	object js.Value
}

var presences *class[*presence]

func init() {
	presences = newClass(&class[*presence]{
		name:   "a presence",
		parent: "Object",
		methods: map[string]func(*presence, []js.Value) (any, error){
			"next": (*presence).next,
			"now":  func(p *presence, _ []js.Value) (any, error) { return peerStrings(p.Now()), nil },
			"close": func(p *presence, _ []js.Value) (any, error) {
				presences.open.Drop(p.object)
				return nil, p.Close()
			},
		},
		ended: func(_ js.Value, method string) (any, error) {
			if method == "now" {
				return []any{}, nil
			}
			return nil, nil
		},
	})
}

// next resolves to changes; to null when the presence was closed.
func (p *presence) next([]js.Value) (any, error) {
	change, err := p.Next(context.Background())
	switch {
	case errors.Is(err, mesh.ErrClosed):
		presences.open.Drop(p.object)
		return nil, nil
	case err != nil:
		return nil, err
	}
	return []any{map[string]any{"peer": change.Peer.String(), "joined": change.Joined}}, nil
}

func (n *node) jsPresence(args []js.Value) (any, error) {
	typ, err := stringArgument(argument(args, 0), "type", "a string")
	if err != nil {
		return nil, err
	}
	p, err := n.Presence(typ)
	if err != nil {
		return nil, err
	}
	object := newObject(map[string]any{"type": typ})
	return presences.object(object, &presence{p, n, object}), nil
}

// checkOptions says what is wrong with an object of options: one that is not
// known is a mistake in writing more often than not.
func checkOptions(raw js.Value, known ...string) error {
	if raw.IsUndefined() {
		return nil
	}
	if raw.Type() != js.TypeObject {
		return &jsio.ArgumentError{Name: "options", Want: "an object", Got: raw}
	}
	keys := js.Global().Get("Object").Call("keys", raw)
	for i := range keys.Length() {
		if name := keys.Index(i).String(); !slices.Contains(known, name) {
			return fmt.Errorf("unknown option %q: there are %s", name, strings.Join(known, ", "))
		}
	}
	return nil
}

// wholeNumber is an option that is one, of at least 1.
func wholeNumber(raw js.Value, name string) (n int64, ok bool, err error) {
	v := raw.Get(name)
	if v.IsUndefined() {
		return 0, false, nil
	}
	if !isCount(v) || v.Float() < 1 {
		return 0, false, &jsio.ArgumentError{Name: "option " + name, Want: "a whole number of at least 1", Got: v}
	}
	return int64(v.Float()), true, nil
}
