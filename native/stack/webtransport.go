package stack

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/pnet"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	libp2pwebtransport "github.com/libp2p/go-libp2p/p2p/transport/webtransport"
	ma "github.com/multiformats/go-multiaddr"
)

// A closed stream still accepts this much from its peer before it tells the peer to stop.
const (
	lingerTime  = 5 * time.Second
	lingerBytes = 256 << 10
)

// webTransport is libp2p's WebTransport, adapted to Firefox. When Firefox (seen in 153)
// is told to stop sending on a stream, it fails both directions and drops data that it
// has received but not read. libp2p sends that in every Close, so that a reply just
// before it would be lost, for example that to a reservation. Streams of this transport
// linger instead: see lingering.
type webTransport struct{ stockWebTransport }

// stockWebTransport has the methods that the swarm looks for in libp2p's transport.
type stockWebTransport interface {
	transport.Transport
	transport.Resolver
	io.Closer
	AddCertHashes(ma.Multiaddr) (ma.Multiaddr, bool)
}

var _ stockWebTransport = (*webTransport)(nil)

func newWebTransport(key crypto.PrivKey, psk pnet.PSK, conns *quicreuse.ConnManager, gater connmgr.ConnectionGater, limits network.ResourceManager) (*webTransport, error) {
	t, err := libp2pwebtransport.New(key, psk, conns, gater, limits)
	if err != nil {
		return nil, err
	}
	stock, ok := t.(stockWebTransport)
	if !ok {
		return nil, errors.New("libp2p's WebTransport has lost a method that hosts need")
	}
	return &webTransport{stock}, nil
}

func (t *webTransport) Listen(a ma.Multiaddr) (transport.Listener, error) {
	l, err := t.stockWebTransport.Listen(a)
	if err != nil {
		return nil, err
	}
	return lingeringListener{acceptAhead(l)}, nil
}

type lingeringListener struct{ transport.Listener }

func (l lingeringListener) Accept() (transport.CapableConn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &lingeringConn{CapableConn: c}, nil
}

// lingeringConn is a session that a peer opened.
type lingeringConn struct {
	transport.CapableConn
	streams sync.WaitGroup // that linger

	mu     sync.Mutex
	closed bool
}

func (c *lingeringConn) OpenStream(ctx context.Context) (network.MuxedStream, error) {
	return c.lingering(c.CapableConn.OpenStream(ctx))
}

func (c *lingeringConn) AcceptStream() (network.MuxedStream, error) {
	return c.lingering(c.CapableConn.AcceptStream())
}

func (c *lingeringConn) lingering(s network.MuxedStream, err error) (network.MuxedStream, error) {
	if err != nil {
		return nil, err
	}
	return &lingering{MuxedStream: s, conn: c}, nil
}

// Close also waits for the lingering streams, which end with the session.
func (c *lingeringConn) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	err := c.CapableConn.Close()
	c.streams.Wait()
	return err
}

// linger runs f in a goroutine that Close waits for, unless Close was called already.
func (c *lingeringConn) linger(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.streams.Go(f)
	}
}

// lingering is a stream whose Close tells the peer to stop sending only if the peer has
// not ended its side within lingerTime or lingerBytes. By then it has read the end of
// this side.
type lingering struct {
	network.MuxedStream
	conn    *lingeringConn
	reading sync.Mutex // held during a Read

	mu     sync.Mutex
	ended  bool // the peer has ended or reset its side
	closed bool
}

func (s *lingering) Read(p []byte) (int, error) {
	if s.isClosed() { // the stream lingers, and holds the lock meanwhile
		return 0, errReadClosed
	}
	s.reading.Lock()
	defer s.reading.Unlock()
	if s.isClosed() {
		return 0, errReadClosed
	}
	n, err := s.MuxedStream.Read(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed && err != nil {
		err = errReadClosed
	}
	if _, reset := errors.AsType[*network.StreamError](err); reset || err == io.EOF {
		s.ended = true
	}
	return n, err
}

func (s *lingering) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

var errReadClosed = errors.New("read on a closed stream")

// SetReadDeadline has no effect on a closed stream, which sets its own deadline.
func (s *lingering) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	return s.MuxedStream.SetReadDeadline(t)
}

func (s *lingering) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

// Close ends the stream for writing, and makes Read fail at once.
func (s *lingering) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if s.ended {
		return s.MuxedStream.Close()
	}
	err := s.MuxedStream.CloseWrite()
	_ = s.MuxedStream.SetReadDeadline(time.Now()) // for a Read that waits
	s.conn.linger(s.linger)
	return err
}

func (s *lingering) linger() {
	s.reading.Lock()
	defer s.reading.Unlock()
	_ = s.MuxedStream.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.CopyN(io.Discard, s.MuxedStream, lingerBytes)
	_ = s.MuxedStream.CloseRead()
}
