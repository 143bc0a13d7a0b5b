//go:build js

package jsapi

import (
	"context"
	"errors"
	"fmt"
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
				return lost.Call("get", object), nil
			}
			return nil, nil
		},
	})
}

// next resolves to a batch of messages, or to null once the subscription is closed.
func (s *subscription) next([]js.Value) (any, error) {
	var data js.Value
	err := nextBatch(context.Background(), s.Subscription, func(b []byte) { data = jsio.Uint8Array(b) })
	switch {
	case errors.Is(err, dispatch.ErrClosed):
		s.forget()
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("subscription to %q: %w", s.Pattern(), err)
	}
	return data, nil
}

// lost maps the objects of closed subscriptions to the number of messages they dropped.
var lost = js.Global().Get("WeakMap").New()

func (s *subscription) leave() { lost.Call("set", s.object, float64(s.Dropped())) }

func (s *subscription) forget() {
	s.leave()
	subscriptions.open.Drop(s.object)
}

// policies maps the policies' names in JavaScript to options of package dispatch.
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
	o, err := readOptions(argument(args, 1), "buffer", "broadcasts", "policy")
	if err != nil {
		return nil, err
	}
	var opts []dispatch.Option
	if buffer, err := o.count("buffer", 1, jsio.MaxCount); err != nil {
		return nil, err
	} else if buffer > 0 {
		opts = append(opts, dispatch.Buffer(int(buffer)))
	}
	if o.given("policy") {
		name, _ := jsio.Text(o["policy"])
		policy, ok := policies[name]
		if !ok {
			return nil, o.bad("policy", "one of "+strings.Join(policyNames, ", "))
		}
		opts = append(opts, policy)
	}
	subscribe := n.Subscribe
	if broadcasts, err := o.flag("broadcasts", true); err != nil {
		return nil, err
	} else if !broadcasts {
		subscribe = n.SubscribeDirect
	}
	s, err := subscribe(pattern, opts...)
	if err != nil {
		return nil, err
	}
	object := newObject(map[string]any{"type": pattern})
	return subscriptions.object(object, &subscription{s, n, object}), nil
}

// presence is a mesh.Presence that JavaScript reads in batches, too.
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

// next resolves to a list with one change, or to null once the presence is closed.
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
