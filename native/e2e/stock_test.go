package e2e

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// newStock makes a plain go-libp2p host, which knows nothing of this program. It stands for
// Kubo, whose streams are as plain.
func newStock(t *testing.T) host.Host {
	t.Helper()
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"), libp2p.DisableMetrics())
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, h.Close()) })
	return h
}

func TestAStockPeerIsForwardedToInRawBytes(t *testing.T) {
	t.Parallel()
	h := newStock(t)
	got := make(chan []byte, 1)
	h.SetStreamHandler("/x/echo", func(s network.Stream) {
		defer s.Close()
		_, _ = io.Copy(s, s)
	})
	h.SetStreamHandler("/x/sink", func(s network.Stream) {
		defer s.Close()
		b, _ := io.ReadAll(s)
		got <- b
		_, _ = s.Write([]byte("thanks"))
	})
	here := up(t, anywhere)
	here.do("connect", h.Addrs()[0].String()+"/p2p/"+h.ID().String())

	c := dial(t, here.forward("/x/echo", h.ID()), 'x')
	data := content(7, much)
	go func() {
		_, _ = c.Write(data)
		_ = c.CloseWrite()
	}()
	back, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, append([]byte{'x'}, data...), back)

	c = dial(t, here.forward("/x/sink", h.ID()), 'x')
	require.NoError(t, c.CloseWrite())
	assert.Equal(t, "x", string(<-got), "nothing came before it, and nothing after")
	back, err = io.ReadAll(c)
	require.NoError(t, err)
	assert.Equal(t, "thanks", string(back), "after the end of the other side")

	none := here.forward("/x/none", h.ID())
	if c, err := net.Dial("tcp4", none); err == nil {
		require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
		breaks(t, c)
		c.Close()
	}
	eventually(t, func() bool { return here.list().Forwards[2].Reason == "no such protocol" }, "the reason of /x/none")
}

func TestAStockPeerOpensStreamsInRawBytes(t *testing.T) {
	t.Parallel()
	s := newService(t)
	sink, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer sink.Close()
	there := up(t, anywhere)
	there.listen("/x/service", s.addr)
	there.listen("/x/sink", sink.Addr().String())
	there.listen("/x/named", sink.Addr().String(), "--report-peer-id")
	there.listen("/x/closed", s.addr, "--allow", there.id)
	for _, part := range []string{"/tcp/", "/quic-v1/p2p"} {
		t.Run(part, func(t *testing.T) {
			h := newStock(t)
			info, err := peer.AddrInfoFromString(there.addr(part))
			require.NoError(t, err)
			ctx := testContext(t)
			require.NoError(t, h.Connect(ctx, *info))
			open := func(proto string) network.Stream {
				t.Helper()
				stream, err := h.NewStream(ctx, info.ID, protocol.ID(proto))
				require.NoError(t, err)
				require.NoError(t, stream.SetDeadline(time.Now().Add(patience)))
				return stream
			}
			half := open("/x/service")
			_, err = half.Write([]byte{askHalf})
			require.NoError(t, err)
			halfCloses(t, half)

			for proto, want := range map[string]string{"/x/sink": "raw", "/x/named": h.ID().String() + "\nraw"} {
				stream := open(proto)
				_, err = stream.Write([]byte("raw"))
				require.NoError(t, err)
				require.NoError(t, stream.CloseWrite())
				target, err := sink.Accept()
				require.NoError(t, err)
				require.NoError(t, target.SetDeadline(time.Now().Add(patience)))
				got, err := io.ReadAll(target)
				require.NoError(t, err)
				assert.Equal(t, want, string(got))
				_, err = target.Write([]byte("reply"))
				require.NoError(t, err)
				require.NoError(t, target.Close())
				got, err = io.ReadAll(stream)
				require.NoError(t, err)
				assert.Equal(t, "reply", string(got), "nothing came before it, and nothing after")
				require.NoError(t, stream.Close())
			}
			closed := open("/x/closed")
			_, err = io.ReadAll(closed)
			assert.ErrorIs(t, err, network.ErrReset)
		})
	}
}
