package stack

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/sec"
	tptu "github.com/libp2p/go-libp2p/p2p/net/upgrader"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/nettest"

	"github.com/tombolo-net/tombolo/core/muxer"
)

// securities are the security protocols whose system calls are batched.
var securities = map[protocol.ID]func(protocol.ID, crypto.PrivKey, []tptu.StreamMuxer) (sec.SecureTransport, error){
	libp2ptls.ID: newTLS,
	noise.ID:     newNoise,
}

func eachSecurity(t *testing.T, test func(t *testing.T, id protocol.ID)) {
	for id := range securities {
		t.Run(string(id), func(t *testing.T) { test(t, id) })
	}
}

// countedConn counts its writes, and fails them while broken is set.
type countedConn struct {
	net.Conn
	writes atomic.Int64
	broken atomic.Bool
}

var errBroken = errors.New("the cable was cut")

func (c *countedConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	if c.broken.Load() {
		return 0, errBroken
	}
	return c.Conn.Write(p)
}

func tcpPair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	client, err = net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	server, err = l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// securePair returns the two ends of a secure connection over c and s.
func securePair(t *testing.T, id protocol.ID, c, s net.Conn) (client, server sec.SecureConn) {
	t.Helper()
	muxers := []tptu.StreamMuxer{{ID: muxer.ID, Muxer: muxer.Muxer{}}}
	ckey, skey := newKey(t), newKey(t)
	ctransport, err := securities[id](id, ckey, muxers)
	require.NoError(t, err)
	stransport, err := securities[id](id, skey, muxers)
	require.NoError(t, err)
	serverID, err := peer.IDFromPrivateKey(skey)
	require.NoError(t, err)
	accepted := make(chan error, 1)
	go func() {
		var err error
		server, err = stransport.SecureInbound(testContext(t), s, "")
		accepted <- err
	}()
	client, err = ctransport.SecureOutbound(testContext(t), c, serverID)
	require.NoError(t, err)
	require.NoError(t, <-accepted)
	limit := time.Now().Add(20 * time.Second)
	require.NoError(t, client.SetDeadline(limit))
	require.NoError(t, server.SetDeadline(limit))
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

func TestABatchedConnIsANetConn(t *testing.T) {
	nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, nil, nil, err
		}
		defer l.Close()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return nil, nil, nil, err
		}
		s, err := l.Accept()
		return &batchConn{Conn: c}, &batchConn{Conn: s}, func() { c.Close(); s.Close() }, err
	})
}

func TestAFrameIsOneWrite(t *testing.T) {
	eachSecurity(t, func(t *testing.T, id protocol.ID) {
		c, s := tcpPair(t)
		counted := &countedConn{Conn: c}
		client, server := securePair(t, id, counted, s)
		assert.EqualValues(t, muxer.ID, client.ConnState().StreamMultiplexer, "early negotiation goes on")
		before := counted.writes.Load()
		const frames = 20
		sent := make([]byte, muxer.MaxFrame)
		_, _ = rand.Read(sent)
		go func() {
			for range frames {
				client.Write(sent)
			}
		}()
		got := make([]byte, len(sent))
		for range frames {
			_, err := io.ReadFull(server, got)
			require.NoError(t, err)
			require.True(t, bytes.Equal(sent, got))
		}
		assert.EqualValues(t, frames, counted.writes.Load()-before)
	})
}

func TestManyWritersLoseNothing(t *testing.T) {
	const writers, writes = 8, 40
	eachSecurity(t, func(t *testing.T, id protocol.ID) {
		c, s := tcpPair(t)
		client, server := securePair(t, id, c, s)
		var all sync.WaitGroup
		for w := range writers {
			all.Go(func() {
				for i := range writes {
					size := 1 + (w*7919+i*104729)%200_000 // one byte to more than a batch
					p := make([]byte, 4+size+sha256.Size)
					binary.BigEndian.PutUint32(p, uint32(size))
					_, _ = rand.Read(p[4 : 4+size])
					sum := sha256.Sum256(p[4 : 4+size])
					copy(p[4+size:], sum[:])
					n, err := client.Write(p)
					assert.NoError(t, err)
					assert.Equal(t, len(p), n)
				}
			})
		}
		for range writers * writes {
			var head [4]byte
			_, err := io.ReadFull(server, head[:])
			require.NoError(t, err)
			p := make([]byte, binary.BigEndian.Uint32(head[:])+sha256.Size)
			_, err = io.ReadFull(server, p)
			require.NoError(t, err)
			sum := sha256.Sum256(p[:len(p)-sha256.Size])
			require.True(t, bytes.Equal(sum[:], p[len(p)-sha256.Size:]))
		}
		all.Wait()
	})
}

func TestABatchThatFailsIsAnErrorOfItsWrite(t *testing.T) {
	eachSecurity(t, func(t *testing.T, id protocol.ID) {
		c, s := tcpPair(t)
		counted := &countedConn{Conn: c}
		client, _ := securePair(t, id, counted, s)
		counted.broken.Store(true)
		n, err := client.Write(make([]byte, muxer.MaxFrame))
		require.ErrorIs(t, err, errBroken)
		assert.Zero(t, n)
		counted.broken.Store(false)
		for _, size := range []int{1, muxer.MaxFrame} { // the peer would take this for forged data
			_, err = client.Write(make([]byte, size))
			require.ErrorIs(t, err, errBroken)
		}
	})
}

func TestAPeerThatDiesInMidWriteIsAnError(t *testing.T) {
	eachSecurity(t, func(t *testing.T, id protocol.ID) {
		c, s := tcpPair(t)
		client, _ := securePair(t, id, c, s)
		time.AfterFunc(50*time.Millisecond, func() { s.Close() })
		var err error
		for err == nil { // the peer reads nothing: Write blocks before it fails
			_, err = client.Write(make([]byte, muxer.MaxFrame))
		}
		assert.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	})
}

func TestADeadlineEndsABatch(t *testing.T) {
	eachSecurity(t, func(t *testing.T, id protocol.ID) {
		c, s := tcpPair(t)
		client, _ := securePair(t, id, c, s)
		require.NoError(t, client.SetWriteDeadline(time.Now().Add(100*time.Millisecond)))
		var err error
		for err == nil {
			_, err = client.Write(make([]byte, muxer.MaxFrame))
		}
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	})
}

func TestWhatWasWrittenBeforeCloseArrives(t *testing.T) {
	eachSecurity(t, func(t *testing.T, id protocol.ID) {
		c, s := tcpPair(t)
		client, server := securePair(t, id, c, s)
		sent := make([]byte, 3*muxer.MaxFrame+1)
		_, _ = rand.Read(sent)
		_, err := client.Write(sent)
		require.NoError(t, err)
		require.NoError(t, client.Close())
		got, err := io.ReadAll(server)
		require.NoError(t, err)
		assert.True(t, bytes.Equal(sent, got))
	})
}

func TestCloseEndsAWriteThatStandsStill(t *testing.T) {
	eachSecurity(t, func(t *testing.T, id protocol.ID) {
		c, s := tcpPair(t)
		client, _ := securePair(t, id, c, s)
		var written atomic.Int64
		ended := make(chan error, 1)
		go func() {
			for {
				n, err := client.Write(make([]byte, muxer.MaxFrame))
				if err != nil {
					ended <- err
					return
				}
				written.Add(int64(n))
			}
		}()
		for before := int64(-1); before != written.Load() || before == 0; time.Sleep(100 * time.Millisecond) {
			before = written.Load()
		}
		assert.NoError(t, client.Close())
		require.ErrorIs(t, <-ended, net.ErrClosed)
	})
}

func TestAnIdleConnHoldsNoBatch(t *testing.T) {
	c, s := tcpPair(t)
	client, server := securePair(t, libp2ptls.ID, c, s)
	got := make([]byte, muxer.MaxFrame)
	for range 32 {
		_, err := client.Write(got)
		require.NoError(t, err)
		_, err = io.ReadFull(server, got)
		require.NoError(t, err)
	}
	assert.True(t, client.(*secureConn).batch.out == nil)
	assert.True(t, server.(*secureConn).batch.in == nil)
}

func TestStockHostsTalkToUsOverTCP(t *testing.T) {
	stockSecurity := map[protocol.ID]libp2p.Option{
		libp2ptls.ID: libp2p.Security(libp2ptls.ID, libp2ptls.New),
		noise.ID:     libp2p.Security(noise.ID, noise.New),
	}
	eachSecurity(t, func(t *testing.T, id protocol.ID) {
		for _, weDial := range []bool{false, true} {
			stock, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), stockSecurity[id], libp2p.DisableMetrics())
			require.NoError(t, err)
			defer stock.Close()
			from, to := stock, newHost(t, Options{Listen: ListenOn(loopback, 0, -1)[:1]})
			if weDial {
				from, to = to, from
			}
			to.SetStreamHandler("/echo", echo)
			ctx := testContext(t)
			require.NoError(t, from.Connect(ctx, peer.AddrInfo{ID: to.ID(), Addrs: to.Addrs()}))
			throughEcho(ctx, t, from, to.ID(), id)
		}
	})
}

func throughEcho(ctx context.Context, t *testing.T, from host.Host, to peer.ID, security protocol.ID) {
	t.Helper()
	s, err := from.NewStream(ctx, to, "/echo")
	require.NoError(t, err)
	assert.Equal(t, security, s.Conn().ConnState().Security)
	assert.True(t, s.Conn().ConnState().UsedEarlyMuxerNegotiation)
	sent := make([]byte, 8<<20+3)
	_, _ = rand.Read(sent)
	writing := make(chan error, 1)
	go func(s network.Stream) {
		_, err := s.Write(sent)
		writing <- errors.Join(err, s.CloseWrite())
	}(s)
	got, err := io.ReadAll(s)
	require.NoError(t, err)
	require.NoError(t, <-writing)
	assert.True(t, bytes.Equal(sent, got))
}
