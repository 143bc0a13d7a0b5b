package relay_test

import (
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/native"
	"github.com/tombolo-net/tombolo/native/stack"
	"github.com/tombolo-net/tombolo/relay"
)

// BenchmarkCircuit pushes bytes from one native peer to another through the relay. Both are
// connected to it over the named transport. All three share the machine.
func BenchmarkCircuit(b *testing.B) {
	for name, match := range map[string]func(string) bool{
		"tcp":          func(a string) bool { return strings.Contains(a, "/tcp/") && !strings.Contains(a, "/ws") },
		"ws":           func(a string) bool { return strings.Contains(a, "/ws") },
		"quic":         func(a string) bool { return strings.HasSuffix(a, "/quic-v1") },
		"webtransport": func(a string) bool { return strings.Contains(a, "/webtransport") },
	} {
		for limit, rate := range map[string]int64{"metered": 8 << 30, "unmetered": -1} {
			b.Run(name+"/"+limit, func(b *testing.B) { benchmarkCircuit(b, match, rate) })
		}
	}
}

func benchmarkCircuit(b *testing.B, match func(string) bool, rate int64) {
	const size = 64 << 20
	ctx := b.Context()
	r, err := relay.New(ctx, relay.Options{
		Listen: stack.ListenOn(netip.MustParseAddr("127.0.0.1"), 0, 0),
		Limits: relay.Limits{PeerRate: rate},
	})
	require.NoError(b, err)
	defer r.Close()
	info := peer.AddrInfo{ID: r.Node().ID()}
	for _, a := range r.Node().Host().Addrs() {
		if match(a.String()) {
			info.Addrs = append(info.Addrs, a)
		}
	}
	newNode := func() *core.Node {
		n, err := native.New(ctx, native.Options{Listen: []ma.Multiaddr{}, NoMDNS: true, Relays: []peer.AddrInfo{info}})
		require.NoError(b, err)
		news := n.Events()
		defer news.Close()
		for len(n.Reservations()) == 0 {
			_, err := news.Next(ctx)
			require.NoError(b, err)
		}
		return n
	}
	from, to := newNode(), newNode()
	defer from.Close()
	defer to.Close()
	_, err = to.Handle("/sink", func(s network.Stream) {
		_, _ = io.Copy(io.Discard, s)
		s.Close()
	})
	require.NoError(b, err)
	chunk := make([]byte, 64<<10)
	b.SetBytes(size)
	for b.Loop() {
		s, err := from.Open(ctx, to.ID(), "/sink")
		require.NoError(b, err)
		for range size / len(chunk) {
			_, err := s.Write(chunk)
			require.NoError(b, err)
		}
		require.NoError(b, s.CloseWrite())
		_, err = io.ReadAll(s)
		require.NoError(b, err)
	}
}
