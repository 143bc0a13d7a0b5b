package stack

import (
	"context"
	"net"
	"sync"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/sec"
	tptu "github.com/libp2p/go-libp2p/p2p/net/upgrader"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"

	"github.com/tombolo-net/tombolo/native/socket"
)

// secured is a security protocol of libp2p with batched system calls. On the wire it is
// the same.
type secured struct{ sec.SecureTransport }

func newTLS(id protocol.ID, key crypto.PrivKey, muxers []tptu.StreamMuxer) (sec.SecureTransport, error) {
	t, err := libp2ptls.New(id, key, muxers)
	if err != nil {
		return nil, err
	}
	return secured{t}, nil
}

func newNoise(id protocol.ID, key crypto.PrivKey, muxers []tptu.StreamMuxer) (sec.SecureTransport, error) {
	t, err := noise.New(id, key, muxers)
	if err != nil {
		return nil, err
	}
	return secured{t}, nil
}

func (s secured) SecureInbound(ctx context.Context, insecure net.Conn, p peer.ID) (sec.SecureConn, error) {
	return batched(insecure, func(c net.Conn) (sec.SecureConn, error) { return s.SecureTransport.SecureInbound(ctx, c, p) })
}

func (s secured) SecureOutbound(ctx context.Context, insecure net.Conn, p peer.ID) (sec.SecureConn, error) {
	return batched(insecure, func(c net.Conn) (sec.SecureConn, error) { return s.SecureTransport.SecureOutbound(ctx, c, p) })
}

func batched(insecure net.Conn, handshake func(net.Conn) (sec.SecureConn, error)) (sec.SecureConn, error) {
	c := &batchConn{Conn: socket.Wrap(insecure)}
	s, err := handshake(c)
	if err != nil {
		return nil, err
	}
	return &secureConn{SecureConn: s, batch: c}, nil
}

// secureConn makes each Write of a secure connection one Write of the connection below.
type secureConn struct {
	sec.SecureConn
	batch *batchConn
	mu    sync.Mutex // held during a Write or Close
}

// Write returns when all of p was written to the connection below. As with TLS itself, no
// Write succeeds after an error, including a passed deadline.
func (c *secureConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(p) <= smallWrite {
		return c.SecureConn.Write(p)
	}
	c.batch.cork()
	n, err := c.SecureConn.Write(p)
	if ferr := c.batch.uncork(); err == nil && ferr != nil {
		return 0, ferr
	}
	return n, err
}

// Close closes the connection below at once if a Write is in progress, as TLS does
// itself: the peer may have stopped reading. Otherwise it sends a close notification
// first.
func (c *secureConn) Close() error {
	if c.mu.TryLock() {
		defer c.mu.Unlock()
		return c.SecureConn.Close()
	}
	err := c.batch.Conn.Close()
	_ = c.SecureConn.Close() // its error can only be that the connection is closed
	return err
}
