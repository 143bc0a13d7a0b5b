package core_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/core/dispatch"
	"github.com/tombolo-net/tombolo/core/internal/hosttest"
	"github.com/tombolo-net/tombolo/core/mesh"
	"github.com/tombolo-net/tombolo/core/mesh/replay"
	"github.com/tombolo-net/tombolo/core/message"
)

// programFunctions are the kinds of functions that a program hands to a node. Each entry
// makes the node call f, once or more often.
var programFunctions = map[string]func(t *testing.T, n, friend *core.Node, f func()){
	"a handler of messages": func(t *testing.T, n, friend *core.Node, f func()) {
		_, err := n.On("chat", func(context.Context, dispatch.Delivery) { f() })
		require.NoError(t, err)
		require.NoError(t, friend.Send(bounded(t), n.ID(), "chat", nil))
	},
	"a key of LatestPerKey": func(t *testing.T, n, friend *core.Node, f func()) {
		_, err := n.SubscribeDirect("chat", dispatch.LatestPerKey(func(*message.Message) string { f(); return "" }))
		require.NoError(t, err)
		require.NoError(t, friend.Send(bounded(t), n.ID(), "chat", nil))
	},
	"an OnEnd": func(t *testing.T, n, friend *core.Node, f func()) {
		sub, err := n.SubscribeDirect("chat", dispatch.OnEnd(f), dispatch.Buffer(1), dispatch.CloseOnOverflow)
		require.NoError(t, err)
		for range 2 {
			require.NoError(t, friend.Send(bounded(t), n.ID(), "chat", nil))
		}
		<-sub.Done()
	},
	"a responder": func(t *testing.T, n, friend *core.Node, f func()) {
		_, err := n.Respond("chat", func(context.Context, *message.Message) ([]byte, error) { f(); return nil, nil })
		require.NoError(t, err)
		go friend.Request(bounded(t), n.ID(), "chat", nil)
	},
	"a validator": func(t *testing.T, n, friend *core.Node, f func()) {
		_, err := n.Validate("chat", func(context.Context, *message.Message) mesh.Verdict { f(); return mesh.Accept })
		require.NoError(t, err)
		subscribe(t, n, "chat")
		require.NoError(t, friend.Broadcast(bounded(t), "chat", nil, mesh.WaitForPeer()))
	},
	"the done of a Post": func(t *testing.T, n, friend *core.Node, f func()) {
		require.NoError(t, n.Post(bounded(t), friend.ID(), "chat", nil, func(error) { f() }))
	},
	"a bridge.Func": func(t *testing.T, n, friend *core.Node, f func()) {
		_, err := n.Listen(bounded(t), "/x/func", bridge.Func(func(context.Context, net.Conn) { f() }))
		require.NoError(t, err)
		if c, err := friend.Dial(bounded(t), n.ID(), "/x/func"); err == nil { // otherwise the stream was reset already
			_, _ = c.Write([]byte{1}) // agrees on the protocol
			t.Cleanup(func() { _ = c.Close() })
		}
	},
	"a handler of streams": func(t *testing.T, n, friend *core.Node, f func()) {
		_, err := n.Handle("/x/handle", func(s network.Stream) { defer s.Close(); f() })
		require.NoError(t, err)
		s, err := friend.Open(bounded(t), n.ID(), "/x/handle")
		require.NoError(t, err)
		_, _ = s.Write([]byte{1}) // agrees on the protocol
		t.Cleanup(func() { _ = s.Reset() })
	},
}

// forProgramFunctions runs a test for each kind of function, in parallel.
func forProgramFunctions(t *testing.T, test func(t *testing.T, n, friend *core.Node, call func(f func()), log *hosttest.Log)) {
	for name, begin := range programFunctions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := new(hosttest.Log)
			n := newNode(t, core.Options{Logger: slog.New(slog.NewTextHandler(log, nil))}, hosttest.Options{})
			friend := newNode(t, core.Options{}, hosttest.Options{})
			require.NoError(t, friend.ConnectPeer(bounded(t), peer.AddrInfo{ID: n.ID(), Addrs: n.Host().Addrs()}))
			test(t, n, friend, func(f func()) { begin(t, n, friend, f) }, log)
		})
	}
}

// closes closes a node and fails the test if that takes too long.
func closes(t *testing.T, n *core.Node) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- n.Close() }()
	select {
	case err := <-done:
		assert.NoError(t, err)
	case <-bounded(t).Done():
		t.Fatal("Close does not return")
	}
}

func TestAFunctionOfTheProgramMayCloseTheNode(t *testing.T) {
	forProgramFunctions(t, func(t *testing.T, n, _ *core.Node, call func(func()), _ *hosttest.Log) {
		closed := make(chan error, 8)
		call(func() { closed <- n.Close() })
		select {
		case err := <-closed:
			assert.NoError(t, err)
		case <-bounded(t).Done():
			t.Fatal("Close does not return to the function that called it")
		}
		closes(t, n)
	})
}

func TestAPanicInAFunctionOfTheProgramEndsThatCallAlone(t *testing.T) {
	forProgramFunctions(t, func(t *testing.T, n, friend *core.Node, call func(func()), log *hosttest.Log) {
		call(func() { panic("out of sand") })
		require.Eventually(t, func() bool { return bytes.Contains([]byte(log.String()), []byte("out of sand")) }, 20*time.Second, 10*time.Millisecond)
		_, err := friend.Echo(bounded(t), n.ID(), []byte("still there"))
		require.NoError(t, err)
		closes(t, n)
	})
}

func TestCloseDoesNotWaitForeverForAFunctionOfTheProgram(t *testing.T) {
	forProgramFunctions(t, func(t *testing.T, n, _ *core.Node, call func(func()), _ *hosttest.Log) {
		begun, end := make(chan struct{}, 8), make(chan struct{})
		t.Cleanup(func() { close(end) })
		call(func() { begun <- struct{}{}; <-end })
		select {
		case <-begun:
		case <-bounded(t).Done():
			t.Fatal("the function was not called")
		}
		closes(t, n)
	})
}

// Close waits three seconds for all functions together. One after the other, these would
// take a minute and a half.
func TestCloseWaitsForAllFunctionsOfTheProgramTogether(t *testing.T) {
	t.Parallel()
	n, friend := connected(t)
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	kinds := maps.Clone(programFunctions)
	delete(kinds, "a key of LatestPerKey") // it would block the reader that delivers the others' messages
	for i := range 25 {
		kinds[fmt.Sprint("handler ", i)] = kinds["a handler of messages"]
	}
	for name, begin := range kinds {
		begun := make(chan struct{})
		begin(t, n, friend, sync.OnceFunc(func() { close(begun); <-end }))
		select {
		case <-begun:
		case <-bounded(t).Done():
			t.Fatal(name, "was not called")
		}
	}
	closes(t, n)
}

// Close itself calls the function given to OnEnd.
func TestWhatOnEndWasGivenIsLikeTheOthersAtClose(t *testing.T) {
	t.Parallel()
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	for name, f := range map[string]func(*core.Node){
		"it closes the node": func(n *core.Node) { _ = n.Close() },
		"it panics":          func(*core.Node) { panic("out of sand") },
		"it never returns":   func(*core.Node) { <-end },
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, core.Options{}, hosttest.Options{})
			called := make(chan struct{})
			_, err := n.SubscribeDirect("chat", dispatch.OnEnd(func() { close(called); f(n) }))
			require.NoError(t, err)
			closes(t, n)
			select {
			case <-called:
			case <-bounded(t).Done():
				t.Fatal("it was not called")
			}
		})
	}
}

func TestEveryCallAfterCloseIsErrClosed(t *testing.T) {
	n, friend := connected(t)
	events := n.Events()
	require.NoError(t, n.Close())
	ctx, p := bounded(t), friend.ID()
	first := func(_ any, err error) error { return err }
	for range events.All(ctx) {
		// Read the earlier events first: that of the connection may still be queued.
	}
	for name, err := range map[string]error{
		"AddRelays":       n.AddRelays([]peer.AddrInfo{{ID: p}}),
		"AddRelayURLs":    n.AddRelayURLs([]string{"https://relay.example"}),
		"Broadcast":       n.Broadcast(ctx, "chat", nil),
		"Connect":         first(n.Connect(ctx, p.String())),
		"ConnectPeer":     n.ConnectPeer(ctx, peer.AddrInfo{ID: p}),
		"Deduplicate":     n.Deduplicate("chat", dispatch.Window{}),
		"Dial":            first(n.Dial(ctx, p, "/x/a")),
		"Disconnect":      n.Disconnect(p),
		"Echo":            first(n.Echo(ctx, p, nil)),
		"Events.Next":     first(events.Next(ctx)),
		"Forward":         first(n.Forward(ctx, "/x/a", nil, p)),
		"Handle":          first(n.Handle("/x/a", func(network.Stream) {})),
		"KeepHistory":     n.KeepHistory("chat", replay.Limits{}),
		"Listen":          first(n.Listen(ctx, "/x/a", bridge.Func(func(context.Context, net.Conn) {}))),
		"On":              first(n.On("chat", func(context.Context, dispatch.Delivery) {})),
		"On, a prefix":    first(n.On("chat/*", func(context.Context, dispatch.Delivery) {})),
		"Open":            first(n.Open(ctx, p, "/x/a")),
		"Ping":            first(n.Ping(ctx, p)),
		"Post":            n.Post(ctx, p, "chat", nil, nil),
		"Presence":        first(n.Presence("chat")),
		"Recover":         first(n.Recover(ctx, "chat")),
		"Request":         first(n.Request(ctx, p, "chat", nil)),
		"Respond":         first(n.Respond("chat", func(context.Context, *message.Message) ([]byte, error) { return nil, nil })),
		"Send":            n.Send(ctx, p, "chat", nil),
		"SendAll":         first(n.SendAll(ctx, []peer.ID{p}, "chat", nil)),
		"SendTo":          first(n.SendTo(ctx, func(ids []peer.ID) []peer.ID { return ids }, "chat", nil)),
		"Services":        first(n.Services(ctx, p)),
		"ServicesOf":      n.ServicesOf(ctx, []peer.ID{p})[0].Err,
		"Subscribe":       first(n.Subscribe("chat")),
		"SubscribeDirect": first(n.SubscribeDirect("chat")),
		"Validate":        first(n.Validate("chat", func(context.Context, *message.Message) mesh.Verdict { return mesh.Accept })),
	} {
		assert.ErrorIs(t, err, core.ErrClosed, name)
	}
}

func TestWhatIsNilIsAnErrorThatSaysSo(t *testing.T) {
	n, friend := connected(t)
	ctx, p := bounded(t), friend.ID()
	first := func(_ any, err error) error { return err }
	for name, err := range map[string]error{
		"Broadcast, an option": n.Broadcast(ctx, "chat", nil, nil),
		"Forward, an acceptor": first(n.Forward(ctx, "/x/a", nil, p)),
		"Forward, an option":   first(n.Forward(ctx, "/x/a", nil, p, nil)),
		"Handle, a handler":    first(n.Handle("/x/a", nil)),
		"Listen, a target":     first(n.Listen(ctx, "/x/a", nil)),
		"Listen, a function":   first(n.Listen(ctx, "/x/a", bridge.Func(nil))),
		"Listen, an option":    first(n.Listen(ctx, "/x/a", bridge.Func(func(context.Context, net.Conn) {}), nil)),
		"On, a handler":        first(n.On("chat", nil)),
		"On, an option":        first(n.On("chat", func(context.Context, dispatch.Delivery) {}, nil)),
		"Post, an option":      n.Post(ctx, p, "chat", nil, nil, nil),
		"Respond, a responder": first(n.Respond("chat", nil)),
		"Send, an option":      n.Send(ctx, p, "chat", nil, nil),
		"SendTo, a filter":     first(n.SendTo(ctx, nil, "chat", nil)),
		"Subscribe, an option": first(n.Subscribe("chat", nil)),
		"Validate, a function": first(n.Validate("chat", nil)),
	} {
		assert.ErrorContains(t, err, "nil", name)
	}
}

func TestTheDataOfABroadcastMayBeUsedAgain(t *testing.T) {
	n, _ := connected(t)
	sub := subscribe(t, n, "chat")
	data := []byte("as it was")
	_ = n.Broadcast(bounded(t), "chat", data) // fails if no other peer is subscribed
	copy(data, "changed..")
	assert.Equal(t, "as it was", string(read(t, sub).Data))
}
