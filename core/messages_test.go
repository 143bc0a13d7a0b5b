package core_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/dispatch"
	"github.com/tombolo-net/tombolo/core/internal/hosttest"
	"github.com/tombolo-net/tombolo/core/link"
	"github.com/tombolo-net/tombolo/core/mesh"
	"github.com/tombolo-net/tombolo/core/mesh/replay"
	"github.com/tombolo-net/tombolo/core/message"
)

// read waits for the next message of a subscription.
func read(t *testing.T, s *dispatch.Subscription) dispatch.Delivery {
	t.Helper()
	d, err := s.Next(bounded(t))
	require.NoError(t, err)
	return d
}

func subscribe(t *testing.T, n *core.Node, pattern string, opts ...dispatch.Option) *dispatch.Subscription {
	t.Helper()
	s, err := n.Subscribe(pattern, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestSubscriptionHearsWhatIsSentAndWhatIsBroadcast(t *testing.T) {
	a, b := connected(t)
	sub := subscribe(t, b, "chat")
	require.NoError(t, a.Send(bounded(t), b.ID(), "chat", []byte("for you")))
	d := read(t, sub)
	assert.Equal(t, "for you", string(d.Data))
	assert.Equal(t, a.ID(), d.From)
	assert.Equal(t, a.ID(), d.Via)
	assert.Equal(t, "chat", d.Type)
	assert.False(t, d.Broadcast)

	require.NoError(t, a.Broadcast(bounded(t), "chat", []byte("for all"), mesh.WaitForPeer()))
	d = read(t, sub)
	assert.Equal(t, "for all", string(d.Data))
	assert.Equal(t, a.ID(), d.From)
	assert.True(t, d.Broadcast)
}

func TestPrefixHearsAllTypesThatBeginSo(t *testing.T) {
	a, b := connected(t)
	rooms := subscribe(t, b, "room/*")
	for _, typ := range []string{"room/1", "rooms", "room/2"} {
		require.NoError(t, a.Send(bounded(t), b.ID(), typ, nil))
	}
	assert.Equal(t, "room/1", read(t, rooms).Type)
	assert.Equal(t, "room/2", read(t, rooms).Type)
}

func TestSubscriptionIsOnTheTopicForAsLongAsItIsOpen(t *testing.T) {
	a, b := connected(t)
	present, err := a.Presence("chat")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, present.Close()) })
	first, second := subscribe(t, b, "chat"), subscribe(t, b, "chat")
	c, err := present.Next(bounded(t))
	require.NoError(t, err)
	assert.Equal(t, mesh.Change{Peer: b.ID(), Joined: true}, c)

	require.NoError(t, first.Close())
	require.NoError(t, a.Broadcast(bounded(t), "chat", []byte("still heard"), mesh.WaitForPeer()))
	assert.Equal(t, "still heard", string(read(t, second).Data))
	require.NoError(t, second.Close())
	c, err = present.Next(bounded(t))
	require.NoError(t, err)
	assert.Equal(t, mesh.Change{Peer: b.ID(), Joined: false}, c)
}

func TestSubscriptionThatOverflowsLeavesTheTopic(t *testing.T) {
	a, b := connected(t)
	sub := subscribe(t, b, "chat", dispatch.Buffer(1), dispatch.CloseOnOverflow)
	present, err := a.Presence("chat")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, present.Close()) })
	_, err = present.Next(bounded(t))
	require.NoError(t, err)
	for range 3 {
		require.NoError(t, a.Send(bounded(t), b.ID(), "chat", nil))
	}
	c, err := present.Next(bounded(t))
	require.NoError(t, err)
	assert.False(t, c.Joined)
	<-sub.Done()
	require.ErrorIs(t, sub.Err(), dispatch.ErrSlow)
}

func TestReservedTypesReachNobody(t *testing.T) {
	a, b := connected(t)
	_, err := b.Subscribe("tombolo/route")
	require.ErrorIs(t, err, message.ErrType)
	require.ErrorIs(t, a.Send(bounded(t), b.ID(), "tombolo/route", nil), message.ErrType)
	require.ErrorIs(t, a.Broadcast(bounded(t), "tombolo/route", nil), message.ErrType)
	_, err = a.Request(bounded(t), b.ID(), "tombolo/route", nil)
	require.ErrorIs(t, err, message.ErrType)
}

// A subscriber with the policy Block holds back only the peer that sends to it.
func TestBlockedSubscriberHoldsBackItsSenderOnly(t *testing.T) {
	b := newNode(t, core.Options{}, hosttest.Options{})
	fast, slow := newNode(t, core.Options{}, hosttest.Options{}), newNode(t, core.Options{}, hosttest.Options{})
	for _, n := range []*core.Node{fast, slow} {
		require.NoError(t, n.ConnectPeer(bounded(t), hosttest.Info(b.Host())))
	}
	held := subscribe(t, b, "held", dispatch.Buffer(1), dispatch.Block)
	free := subscribe(t, b, "free")
	const count = 500
	sent := make(chan error, 1)
	go func() {
		for i := range count {
			if err := slow.Send(context.Background(), b.ID(), "held", fmt.Append(nil, i), core.At(link.High)); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	require.NoError(t, fast.Send(bounded(t), b.ID(), "free", []byte("passes")))
	assert.Equal(t, "passes", string(read(t, free).Data))
	for i := range count {
		d := read(t, held)
		require.Equal(t, fmt.Sprint(i), string(d.Data))
		require.Zero(t, d.Missed)
	}
	require.NoError(t, <-sent)
}

func TestHandlerUnderBlockCanAskItsSender(t *testing.T) {
	a, b := connected(t)
	_, err := a.Respond("q", func(_ context.Context, m *message.Message) ([]byte, error) { return m.Data, nil })
	require.NoError(t, err)
	const count = 20
	handled := make(chan error, count)
	sub, err := b.On("a", func(ctx context.Context, d dispatch.Delivery) {
		reply, err := b.Request(ctx, d.From, "q", d.Data)
		if err == nil && string(reply) != string(d.Data) {
			err = fmt.Errorf("the reply is %q, not %q", reply, d.Data)
		}
		handled <- err
	}, dispatch.Buffer(1), dispatch.Block)
	require.NoError(t, err)
	t.Cleanup(func() { _ = sub.Close() })
	for i := range count {
		require.NoError(t, a.Post(bounded(t), b.ID(), "a", fmt.Append(nil, i), nil))
	}
	for range count {
		select {
		case err := <-handled:
			require.NoError(t, err)
		case <-bounded(t).Done():
			t.Fatal("the handler waits for what is held back behind it")
		}
	}
}

func TestRequestBringsTheReplyOrTheErrorOfTheOtherSide(t *testing.T) {
	a, b := connected(t)
	_, err := b.Respond("stat", func(_ context.Context, m *message.Message) ([]byte, error) {
		if len(m.Data) == 0 {
			return nil, errors.New("stat of what?")
		}
		return append([]byte("stat of "), m.Data...), nil
	})
	require.NoError(t, err)
	reply, err := a.Request(bounded(t), b.ID(), "stat", []byte("disk"))
	require.NoError(t, err)
	assert.Equal(t, "stat of disk", string(reply))
	_, err = a.Request(bounded(t), b.ID(), "stat", nil)
	var remote *link.RemoteError
	require.ErrorAs(t, err, &remote)
	assert.Equal(t, "stat of what?", remote.Text)
	_, err = a.Request(bounded(t), b.ID(), "nothing", nil)
	require.ErrorIs(t, err, link.ErrUnanswered)
}

func TestMiBOfDataPassesEveryWayAndOneByteMoreIsRefused(t *testing.T) {
	a, b := connected(t)
	sub := subscribe(t, b, "chat")
	_, err := b.Respond("echo", func(_ context.Context, m *message.Message) ([]byte, error) { return m.Data, nil })
	require.NoError(t, err)
	_, err = b.Respond("one more", func(_ context.Context, m *message.Message) ([]byte, error) { return append(m.Data, 1), nil })
	require.NoError(t, err)
	most := slices.Repeat([]byte("mebibyte"), message.MaxData/8)
	more := append(slices.Clone(most), 1)

	require.NoError(t, a.Send(bounded(t), b.ID(), "chat", most))
	assert.True(t, slices.Equal(most, read(t, sub).Data))
	require.NoError(t, a.Broadcast(bounded(t), "chat", most, mesh.WaitForPeer()))
	assert.True(t, slices.Equal(most, read(t, sub).Data))
	reply, err := a.Request(bounded(t), b.ID(), "echo", most)
	require.NoError(t, err)
	assert.True(t, slices.Equal(most, reply))

	before := a.Stats()
	_, errRequest := a.Request(bounded(t), b.ID(), "echo", more)
	report, err := a.SendAll(bounded(t), []peer.ID{b.ID()}, "chat", more)
	require.NoError(t, err)
	for how, err := range map[string]error{
		"Send":      a.Send(bounded(t), b.ID(), "chat", more),
		"Post":      a.Post(bounded(t), b.ID(), "chat", more, nil),
		"SendAll":   report.Err(),
		"Request":   errRequest,
		"Broadcast": a.Broadcast(bounded(t), "chat", more),
	} {
		assert.ErrorIs(t, err, message.ErrTooLarge, how)
		assert.ErrorContains(t, err, "has 1048577 bytes of data; the limit is 1048576", how)
	}
	assert.Equal(t, before.Links.Sent, a.Stats().Links.Sent)
	assert.Equal(t, before.Mesh.Published, a.Stats().Mesh.Published)
	_, err = a.Request(bounded(t), b.ID(), "one more", most)
	var failed *link.RemoteError
	require.ErrorAs(t, err, &failed)
	assert.Contains(t, failed.Text, "the reply is too large")
}

func TestReportSaysWhoWasReachedAndWhyOthersWereNot(t *testing.T) {
	a, b := connected(t)
	sub := subscribe(t, b, "note")
	stranger := hosttest.New(t, hosttest.Options{Listen: "none"}).ID()
	report, err := a.SendAll(bounded(t), []peer.ID{b.ID(), stranger}, "note", []byte("hello"))
	require.NoError(t, err)
	assert.Equal(t, []peer.ID{b.ID()}, report.Reached)
	require.Len(t, report.Failed, 1)
	assert.Equal(t, stranger, report.Failed[0].Peer)
	require.ErrorIs(t, report.Failed[0].Err, link.ErrUnreachable)
	assert.Equal(t, "hello", string(read(t, sub).Data))

	report, err = a.SendTo(bounded(t), link.Every, "note", []byte("to all"))
	require.NoError(t, err)
	assert.Equal(t, []peer.ID{b.ID()}, report.Reached)
	report, err = a.SendTo(bounded(t), link.Where(func(peer.ID) bool { return false }), "note", nil)
	require.NoError(t, err)
	assert.Empty(t, report.Reached)
	assert.Empty(t, report.Failed)
}

// A node's broadcasts reach a node that it has never met through a relay that they share,
// and the relay keeps them for a node that joins later.
func TestRelayCarriesBroadcastsAndKeepsThem(t *testing.T) {
	limits := replay.Limits{Count: 100}
	r := newNode(t, core.Options{RelayTopics: 8, KeepHistories: &limits}, hosttest.Options{})
	hosttest.Relay(t, r.Host(), relay.DefaultResources())
	node := func() *core.Node {
		n := newNode(t, core.Options{}, hosttest.Options{Listen: "none"})
		require.NoError(t, n.ConnectPeer(bounded(t), hosttest.Info(r.Host())))
		return n
	}
	a, b := node(), node()
	heard := subscribe(t, b, "news")
	subscribe(t, a, "news")
	const count = 10
	for i := range count {
		require.NoError(t, a.Broadcast(bounded(t), "news", fmt.Append(nil, i), mesh.WaitForPeer()))
	}
	var all []string // broadcasts made while the subscription still spreads may arrive after later ones
	for range count {
		all = append(all, string(read(t, heard).Data))
	}
	slices.Sort(all)
	assert.Equal(t, []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}, all)

	late := node()
	require.NoError(t, late.KeepHistory("news", limits))
	sub := subscribe(t, late, "news")
	_, err := late.Recover(bounded(t), "news")
	require.NoError(t, err)
	for i := range count {
		d := read(t, sub)
		assert.Equal(t, fmt.Sprint(i), string(d.Data))
		assert.True(t, d.Replayed)
		assert.Equal(t, a.ID(), d.From)
	}
}

func TestNodesOfDifferentNetworksShareNoTopics(t *testing.T) {
	a := newNode(t, core.Options{Network: "one"}, hosttest.Options{})
	b := newNode(t, core.Options{Network: "two"}, hosttest.Options{})
	require.NoError(t, a.ConnectPeer(bounded(t), hosttest.Info(b.Host())))
	subscribe(t, b, "chat")
	require.ErrorIs(t, a.Broadcast(bounded(t), "chat", nil), mesh.ErrNoPeers)
	_, err := core.New(bounded(t), hosttest.Unmanaged(t, hosttest.Options{}), core.Options{Network: "a/b"})
	require.ErrorContains(t, err, `"a/b"`)
}

func TestClosedNodeSaysSo(t *testing.T) {
	a, b := connected(t)
	sub := subscribe(t, a, "chat")
	require.NoError(t, a.Close())
	_, err := sub.Next(bounded(t))
	require.ErrorIs(t, err, dispatch.ErrClosed)
	_, err = a.Subscribe("chat")
	require.ErrorIs(t, err, dispatch.ErrClosed)
	require.ErrorIs(t, a.Send(bounded(t), b.ID(), "chat", nil), link.ErrClosed)
	require.ErrorIs(t, a.Broadcast(bounded(t), "chat", nil), mesh.ErrClosed)
	_, err = a.Request(bounded(t), b.ID(), "chat", nil)
	require.ErrorIs(t, err, link.ErrClosed)
	_ = a.Stats()
}

func TestMetricsHaveNoLabelOfARemotesChoosing(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	a := newNode(t, core.Options{Registerer: registry}, hosttest.Options{})
	b := newNode(t, core.Options{}, hosttest.Options{})
	require.NoError(t, b.ConnectPeer(bounded(t), hosttest.Info(a.Host())))
	sub := subscribe(t, a, "chat")
	const typ = "of a remote's choosing"
	require.NoError(t, b.Send(bounded(t), a.ID(), typ, nil))
	require.NoError(t, b.Send(bounded(t), a.ID(), "chat", nil))
	read(t, sub)
	require.Eventually(t, func() bool { return a.Stats().Links.Received == 2 }, 30*time.Second, time.Millisecond, "a link counts after it has delivered")

	allowed := map[string]bool{"reason": true, "priority": true, "direction": true, "outcome": true, "of": true}
	values := make(map[string]float64)
	families, err := registry.Gather()
	require.NoError(t, err)
	for _, f := range families {
		for _, m := range f.Metric {
			name := f.GetName()
			for _, l := range m.Label {
				if l.GetName() == "node" {
					assert.Equal(t, a.ID().String(), l.GetValue())
					continue
				}
				assert.True(t, allowed[l.GetName()], "%s has the label %s", name, l.GetName())
				assert.NotEqual(t, typ, l.GetValue())
				assert.NotEqual(t, b.ID().String(), l.GetValue())
				name += " " + l.GetValue()
			}
			values[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	assert.EqualValues(t, 2, values["tombolo_published_total"])
	assert.EqualValues(t, 1, values["tombolo_delivered_total"])
	assert.EqualValues(t, 1, values["tombolo_unclaimed_total"])
	assert.EqualValues(t, 2, values["tombolo_link_messages_total received"])
	assert.Positive(t, values["tombolo_link_bytes_total received"])
	assert.EqualValues(t, 1, values["tombolo_peers"])

	require.NoError(t, a.Close())
	families, err = registry.Gather()
	require.NoError(t, err)
	assert.Empty(t, families, "the metrics end with the node")
}

func TestNodesShareARegisterer(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	a := newNode(t, core.Options{Registerer: registry}, hosttest.Options{})
	b := newNode(t, core.Options{Registerer: registry}, hosttest.Options{})
	require.NoError(t, a.ConnectPeer(bounded(t), hosttest.Info(b.Host())))
	subscribe(t, a, "chat")
	subscriptions := func() map[string]float64 {
		families, err := registry.Gather()
		require.NoError(t, err)
		of := make(map[string]float64)
		for _, f := range families {
			if f.GetName() == "tombolo_subscriptions" {
				for _, m := range f.Metric {
					of[m.Label[0].GetValue()] = m.GetGauge().GetValue()
				}
			}
		}
		return of
	}
	assert.Equal(t, map[string]float64{a.ID().String(): 1, b.ID().String(): 0}, subscriptions())
	require.NoError(t, a.Close())
	assert.Equal(t, map[string]float64{b.ID().String(): 0}, subscriptions(), "the metrics of a closed node are removed")
}

func TestHandlerThatPanicsOrIsLateIsCountedAndGoesOn(t *testing.T) {
	b := newNode(t, core.Options{HandlerLimit: time.Millisecond}, hosttest.Options{})
	a := newNode(t, core.Options{}, hosttest.Options{})
	require.NoError(t, a.ConnectPeer(bounded(t), hosttest.Info(b.Host())))
	done := make(chan string, 3)
	sub, err := b.On("work", func(ctx context.Context, d dispatch.Delivery) {
		switch string(d.Data) {
		case "panic":
			panic("on purpose")
		case "slow":
			require.Eventually(t, func() bool { return len(b.Stats().Dispatch.Handlers.Overdue) == 1 }, limit, time.Millisecond)
		}
		done <- string(d.Data)
	})
	require.NoError(t, err)
	for _, s := range []string{"panic", "slow", "last"} {
		require.NoError(t, a.Send(bounded(t), b.ID(), "work", []byte(s)))
	}
	assert.Equal(t, "slow", <-done)
	assert.Equal(t, "last", <-done)
	require.NoError(t, sub.Close())
	h := b.Stats().Dispatch.Handlers
	assert.EqualValues(t, 1, h.Panics)
	assert.GreaterOrEqual(t, h.Late, uint64(1))
}
