package webrtc_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	libp2pwebrtc "github.com/libp2p/go-libp2p/p2p/transport/webrtc"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	core "github.com/tombolo-net/tombolo/core/webrtc"
	"github.com/tombolo-net/tombolo/native/webrtc"
)

// server makes a stock go-libp2p host with WebRTC-direct only.
func server(t *testing.T) host.Host {
	t.Helper()
	return newHost(t, libp2p.NoTransports, libp2p.Transport(libp2pwebrtc.New), libp2p.ListenAddrStrings("/ip4/127.0.0.1/udp/0/webrtc-direct"))
}

// dialler makes the transport alone, without a host.
func dialler(t *testing.T, o core.DiallerOptions) *core.Dialler {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	require.NoError(t, err)
	d, err := core.NewDialler(key, webrtc.New(webrtc.Options{Loopback: true}), o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func TestDiallerReachesAStockHostByTheHashOfItsCertificate(t *testing.T) {
	far := server(t)
	near := newHost(t, libp2p.NoTransports, libp2p.NoListenAddrs, libp2p.Transport(func(key crypto.PrivKey) (*core.Dialler, error) {
		return core.NewDialler(key, webrtc.New(webrtc.Options{Loopback: true}), core.DiallerOptions{})
	}))
	echo := func(s network.Stream) {
		_, _ = io.Copy(s, s)
		_ = s.Close()
	}
	far.SetStreamHandler("/echo", echo)
	near.SetStreamHandler("/echo", echo)
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	require.NoError(t, near.Connect(ctx, *host.InfoFromHost(far)))
	c := near.Network().ConnsToPeer(far.ID())[0]
	assert.Equal(t, "webrtc-direct", c.ConnState().Transport)
	assert.True(t, far.ID().MatchesPublicKey(c.RemotePublicKey()))
	assert.Equal(t, far.Addrs()[0].String(), c.RemoteMultiaddr().String())
	assert.Len(t, far.Network().ConnsToPeer(near.ID()), 1)

	sent := make([]byte, 100<<10)
	rand.Read(sent)
	var all sync.WaitGroup
	for i := range 20 {
		from, to := near, far
		if i%2 == 1 {
			from, to = far, near
		}
		all.Go(func() {
			s, err := from.NewStream(ctx, to.ID(), "/echo")
			if !assert.NoError(t, err) {
				return
			}
			go func() {
				_, _ = s.Write(sent)
				_ = s.CloseWrite()
			}()
			got, err := io.ReadAll(s)
			assert.NoError(t, err)
			assert.True(t, bytes.Equal(sent, got))
		})
	}
	all.Wait()
	require.NoError(t, far.Network().ClosePeer(near.ID()))
	require.Eventually(t, func() bool { return len(near.Network().ConnsToPeer(far.ID())) == 0 }, waitLimit, time.Millisecond)
}

func TestDiallerRefusesAnotherCertificateAndAnotherPeer(t *testing.T) {
	far, other := server(t), server(t)
	d := dialler(t, core.DiallerOptions{})
	at, certHash := far.Addrs()[0][:3], other.Addrs()[0][3:]
	_, err := d.Dial(t.Context(), at.Encapsulate(certHash), far.ID())
	require.ErrorIs(t, err, core.ErrCertificate)
	_, err = d.Dial(t.Context(), far.Addrs()[0], other.ID())
	require.ErrorAs(t, err, new(sec.ErrPeerIDMismatch))
	require.ErrorContains(t, err, far.ID().String())

	c, err := d.Dial(t.Context(), far.Addrs()[0], far.ID())
	require.NoError(t, err)
	require.NoError(t, c.Close())
}

func TestDiallerSaysThatNothingAnswers(t *testing.T) {
	silent, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	_, port, err := net.SplitHostPort(silent.LocalAddr().String())
	require.NoError(t, err)
	certHash := server(t).Addrs()[0][3:]
	d := dialler(t, core.DiallerOptions{Timeout: 200 * time.Millisecond})
	_, err = d.Dial(t.Context(), ma.StringCast("/ip4/127.0.0.1/udp/"+port+"/webrtc-direct").Encapsulate(certHash), peer.ID("someone"))
	require.ErrorIs(t, err, core.ErrUnanswered)
}
