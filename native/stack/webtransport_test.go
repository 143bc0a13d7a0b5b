package stack

import (
	"io"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// overWebTransport opens a stream from a stock host to a handler of this package's host,
// over WebTransport.
func overWebTransport(t *testing.T, handler network.StreamHandler) (s network.Stream, here, stock host.Host) {
	t.Helper()
	here = newHost(t, Options{Listen: ListenOn(loopback, -1, 0)})
	here.SetStreamHandler("/test", handler)
	stock, err := libp2p.New(libp2p.NoListenAddrs, libp2p.DisableMetrics())
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, stock.Close()) })
	var addrs []ma.Multiaddr
	for _, a := range here.Addrs() {
		if strings.Contains(a.String(), "/webtransport/") {
			addrs = append(addrs, a)
		}
	}
	require.NoError(t, stock.Connect(testContext(t), peer.AddrInfo{ID: here.ID(), Addrs: addrs}))
	s, err = stock.NewStream(testContext(t), here.ID(), "/test")
	require.NoError(t, err)
	return s, here, stock
}

// When Firefox gets a STOP_SENDING, it drops the reply.
func TestAStreamThatIsClosedStopsNobodyWhoMayNotHaveReadTheReply(t *testing.T) {
	s, _, _ := overWebTransport(t, func(s network.Stream) {
		_, _ = io.ReadFull(s, make([]byte, 1))
		_, _ = s.Write([]byte("the reply"))
		_ = s.Close()
	})
	_, err := s.Write([]byte("?"))
	require.NoError(t, err)
	reply, err := io.ReadAll(s) // a STOP_SENDING would arrive before the end
	require.NoError(t, err)
	require.Equal(t, "the reply", string(reply))
	_, err = s.Write([]byte("more"))
	require.NoError(t, err)
	require.NoError(t, s.Close())
}

func TestAPeerThatSendsOnIntoAClosedStreamIsStopped(t *testing.T) {
	s, _, _ := overWebTransport(t, func(s network.Stream) { _ = s.Close() })
	n, err := io.CopyN(s, zeros{}, 64<<20)
	require.Error(t, err)
	require.Less(t, n, int64(16<<20))
	require.NoError(t, s.Reset())
}

func TestAClosedStreamIsReadByNobodyHere(t *testing.T) {
	waits := make(chan struct{})
	read := make(chan error, 2)
	s, _, _ := overWebTransport(t, func(s network.Stream) {
		_, _ = io.ReadFull(s, make([]byte, 1))
		go func() {
			close(waits)
			_, err := s.Read(make([]byte, 1))
			read <- err
		}()
		<-waits
		_ = s.Close()
		_, err := s.Read(make([]byte, 1))
		read <- err
	})
	_, err := s.Write([]byte("?"))
	require.NoError(t, err)
	require.Error(t, <-read)
	require.Error(t, <-read)
	require.NoError(t, s.Close())
}

func TestASessionThatIsClosedWaitsForNoStreamThatLingers(t *testing.T) {
	closed := make(chan struct{})
	s, here, stock := overWebTransport(t, func(s network.Stream) {
		_ = s.Close()
		close(closed)
	})
	_, err := s.Write([]byte("?"))
	require.NoError(t, err)
	<-closed
	require.NoError(t, here.Network().ClosePeer(stock.ID()))
	_, err = io.Copy(io.Discard, s)
	_ = err // the end of the stream or of the session, whichever comes first
	_ = s.Reset()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }
