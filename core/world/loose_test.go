//go:build !js

package world_test

import (
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/libp2p/go-libp2p"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/world"
	"github.com/tombolo-net/tombolo/core/world/demo"
	"github.com/tombolo-net/tombolo/core/world/seat"
)

func newQUICNode(t testing.TB) node {
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/udp/0/quic-v1"), libp2p.Transport(libp2pquic.NewTransport), libp2p.DisableRelay())
	require.NoError(t, err)
	n, err := core.New(bounded(t), h, core.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, n.Close()) })
	return node{n}
}

// line is a lossy proxy to a UDP port.
type line struct {
	lost   atomic.Uint32 // of 256 packets
	passed atomic.Int64
	addr   string
}

// newLine starts a line to a QUIC address.
func newLine(t testing.TB, to string) *line {
	parts := strings.Split(to, "/")
	port, err := strconv.Atoi(parts[4])
	require.NoError(t, err)
	near, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	far, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	require.NoError(t, err)
	parts[4] = strconv.Itoa(near.LocalAddr().(*net.UDPAddr).Port)
	l := &line{addr: strings.Join(parts, "/")}
	var from atomic.Pointer[net.UDPAddr]
	var running sync.WaitGroup
	t.Cleanup(func() { _ = near.Close(); _ = far.Close(); running.Wait() })
	carry := func(read func([]byte) (int, error), write func([]byte)) {
		random := rand.New(rand.NewPCG(1, 1))
		for buf := make([]byte, 2048); ; {
			n, err := read(buf)
			if err != nil {
				return
			}
			l.passed.Add(1)
			if random.Uint32N(256) >= l.lost.Load() {
				write(buf[:n])
			}
		}
	}
	running.Go(func() {
		carry(func(b []byte) (int, error) {
			n, at, err := near.ReadFromUDP(b)
			from.Store(at)
			return n, err
		}, func(b []byte) { _, _ = far.Write(b) })
	})
	running.Go(func() {
		carry(far.Read, func(b []byte) { _, _ = near.WriteToUDP(b, from.Load()) })
	})
	return l
}

// logged is a harbour that records the inputs of each player.
type logged struct {
	*demo.Harbour
	mu     sync.Mutex
	inputs map[*world.Player][]int8
}

func (g *logged) Input(p *world.Player, data []byte) {
	g.mu.Lock()
	g.inputs[p] = append(g.inputs[p], int8(data[0]))
	g.mu.Unlock()
	g.Harbour.Input(p, data)
}

func TestWhatIsLostOfDatagramsIsMadeGood(t *testing.T) {
	t.Parallel()
	at, game := newQUICNode(t), &logged{Harbour: &demo.Harbour{Size: 64, Buoys: 30}, inputs: make(map[*world.Player][]int8)}
	rooms, err := world.New(at)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, rooms.Close()) })
	room, err := rooms.Host(game, world.Options{Name: "harbour", Version: demo.Version, Hz: 50, Inputs: 100})
	require.NoError(t, err)

	way := newLine(t, at.Addrs()[0].String())
	far := newQUICNode(t)
	_, err = far.Connect(bounded(t), way.addr)
	require.NoError(t, err)
	way.lost.Store(50)
	a := sit(t, far, at, seat.Options{})

	const inputs = 100
	fresh := 0 // the number of updates that came in datagrams
	newest := uint32(0)
	for i := range inputs {
		seq := a.steer(t, int8(i), 0)
		require.EqualValues(t, i+1, seq)
		a.until(t, "the world moves", func(tick *seat.Tick) bool {
			require.GreaterOrEqual(t, tick.Number, newest)
			newest = tick.Number
			for _, u := range tick.Updates {
				if u.Whole && !u.New {
					fresh++
				}
			}
			return len(tick.Updates) > 0
		})
	}
	assert.Greater(t, fresh, inputs, "datagrams are used")

	a.steer(t, 0, 0)
	a.until(t, "the last input is taken", func(tick *seat.Tick) bool { return tick.Applied == inputs+1 })
	var taken []int8
	for i := range inputs {
		taken = append(taken, int8(i))
	}
	game.mu.Lock()
	for _, all := range game.inputs {
		assert.Equal(t, append(taken, 0), all, "each input once, in order")
	}
	game.mu.Unlock()

	truth := make(map[uint32]demo.Thing)
	halted := make(chan struct{})
	room.Do(func() {
		game.Halt()
		for e := range world.Entity(31) {
			truth[uint32(e)], err = demo.Decode(game.Whole(e, nil))
			assert.NoError(t, err)
		}
		close(halted)
	})
	<-halted
	a.until(t, "everything is where it has come to rest", func(*seat.Tick) bool {
		for e, want := range truth {
			if got, known := a.view.Get(e); !known || got != want {
				return false
			}
		}
		return true
	})
}
