package world_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/world"
	"github.com/tombolo-net/tombolo/core/world/demo"
	"github.com/tombolo-net/tombolo/core/world/seat"
	"github.com/tombolo-net/tombolo/core/world/wire"
)

// crowd is many seats of a few peers. Each seat counts its ticks and checks that it can
// read them.
type crowd struct {
	seats []*seat.Seat
	ticks []atomic.Int64
}

// onceTheHostKeepsUp calls join again while the host refuses players because it is too
// busy, which happens on a machine that has much else to do.
func onceTheHostKeepsUp(t testing.TB, join func() error) {
	t.Helper()
	for until := time.Now().Add(limit); ; time.Sleep(50 * time.Millisecond) {
		err := join()
		if out, ok := errors.AsType[*seat.Out](err); ok && out.Code == wire.Busy && time.Now().Before(until) {
			continue
		}
		require.NoError(t, err)
		return
	}
}

func gather(t testing.TB, at node, peers, each int) *crowd {
	c := &crowd{ticks: make([]atomic.Int64, peers*each)}
	for i := range peers {
		n := newNode(t)
		n.connect(t, at)
		var v *seat.Visit
		onceTheHostKeepsUp(t, func() (err error) {
			v, err = seat.Connect(bounded(t), n, "harbour", seat.Options{Host: at.ID(), Version: demo.Version})
			return err
		})
		t.Cleanup(func() { _ = v.Close() })
		for j := range each {
			view, ticks := seat.NewView(demo.Decode, demo.Thing.Apply), &c.ticks[i*each+j]
			onceTheHostKeepsUp(t, func() error {
				s, err := v.Sit(bounded(t), uint32(j), seat.Options{Each: func(tick *seat.Tick) {
					assert.NoError(t, view.Take(tick))
					ticks.Add(1)
				}})
				if err == nil {
					c.seats = append(c.seats, s)
				}
				return err
			})
		}
	}
	return c
}

// steer makes all boats sail.
func (c *crowd) steer(t testing.TB) {
	for i, s := range c.seats {
		_, err := s.Input(demo.AppendInput(nil, int8(i%7-3), int8(i%5-2)))
		require.NoError(t, err)
	}
}

// goOn waits until every seat has received the given number of further ticks.
func (c *crowd) goOn(t testing.TB, ticks int64) {
	t.Helper()
	from := make([]int64, len(c.ticks))
	for i := range c.ticks {
		from[i] = c.ticks[i].Load()
	}
	require.Eventually(t, func() bool {
		for i := range c.ticks {
			if c.ticks[i].Load() < from[i]+ticks {
				return false
			}
		}
		return true
	}, limit, 20*time.Millisecond)
	for _, s := range c.seats {
		require.NoError(t, s.Err())
	}
}

func TestOneThatFloodsReadsNothingOrLiesCostsTheOthersNothing(t *testing.T) {
	t.Parallel()
	at, room := hold(t, &demo.Harbour{Size: 64, Buoys: 50}, harbour(world.Options{
		Players: 300,
		Visible: 64,
		Hz:      5, // low enough for a busy machine
	}))
	others := gather(t, at, 8, 25)
	others.steer(t)

	raw := func(name string) (s interface {
		Write([]byte) (int, error)
		Read([]byte) (int, error)
	}) {
		n := newNode(t)
		n.connect(t, at)
		st, err := n.Open(bounded(t), at.ID(), wire.Protocol)
		require.NoError(t, err, name)
		t.Cleanup(func() { _ = st.Reset() })
		_, err = st.Write(wire.AppendJoin(wire.AppendHello(nil, wire.Hello{Room: "harbour", Version: demo.Version}), wire.Join{}))
		require.NoError(t, err, name)
		return st
	}
	ended := make(chan struct{})
	stop := make(chan struct{})
	flooder := raw("flooder")
	var sent atomic.Int64
	go func() {
		defer close(ended)
		for i := uint32(1); ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := flooder.Write(wire.AppendInput(nil, wire.Input{Seq: i, Data: []byte{1, 1}})); err != nil {
				return
			}
			sent.Add(1)
		}
	}()
	raw("reads nothing")
	liars := map[string][]byte{
		"another's seat":  wire.AppendInput(nil, wire.Input{Seat: 7, Data: []byte{9, 9}}),
		"what is no kind": {1, 99},
		"a large input":   wire.AppendInput(nil, wire.Input{Data: make([]byte, 5000)}),
		"cut off":         {2, byte(wire.KindInput), 0x80},
		"for the players": wire.AppendWelcome(nil, wire.Welcome{Hz: 20}),
	}
	for name, lie := range liars {
		s := raw(name)
		for range 20 {
			if _, err := s.Write(lie); err != nil {
				break
			}
		}
	}
	others.goOn(t, 20)
	stats := room.Stats()
	require.GreaterOrEqual(t, stats.Players, 200)
	require.Less(t, sent.Load(), int64(1<<20), "the flooder is slowed down, because the room stops reading")
	close(stop)
	_ = flooder.(interface{ Reset() error }).Reset()
	<-ended
	require.Eventually(t, func() bool { // only the peers that broke the protocol are out
		players := room.Stats().Players
		return players >= 200 && players <= 200+3
	}, limit, 20*time.Millisecond)
}
