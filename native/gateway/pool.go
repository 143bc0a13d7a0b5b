package gateway

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/core/supervise"
)

// Idle streams are kept for the next request, which then need not wait for a negotiation.
const (
	idleStreams     = 256 // of all peers
	idlePerService  = 8
	idleStream      = 90 * time.Second
	streamBuffer    = 32 << 10 // bytes each way
	continueTimeout = time.Second
	maxAnswerHeader = 1 << 20 // bytes
)

// pool uses streams to peers as connections of an http.Transport. A stream is reused only
// for the same peer and protocol.
type pool struct {
	*http.Transport
	ctx     context.Context // ends when the gateway is closed
	node    *core.Node
	streams supervise.Calls // and the opening of them
}

func newPool(ctx context.Context, node *core.Node) *pool {
	p := &pool{ctx: ctx, node: node}
	p.Transport = &http.Transport{
		DialContext:            p.dial,
		DisableCompression:     true,
		MaxIdleConns:           idleStreams,
		MaxIdleConnsPerHost:    idlePerService,
		IdleConnTimeout:        idleStream,
		ExpectContinueTimeout:  continueTimeout,
		MaxResponseHeaderBytes: maxAnswerHeader,
		ReadBufferSize:         streamBuffer,
		WriteBufferSize:        streamBuffer,
		Protocols:              new(http.Protocols),
	}
	p.Transport.Protocols.SetHTTP1(true)
	return p
}

// close waits for the streams; those in use were broken off before.
func (p *pool) close() {
	p.CloseIdleConnections()
	p.streams.End()
	p.streams.Wait()
}

// hostOf returns the transport's name of a service: a legal host name that encodes peer
// and protocol.
func hostOf(id peer.ID, proto protocol.ID) string {
	return hex.EncodeToString([]byte(proto)) + "." + hex.EncodeToString([]byte(id))
}

func parseHost(addr string) (id peer.ID, proto protocol.ID, err error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return "", "", err
	}
	first, second, _ := strings.Cut(host, ".")
	name, err := hex.DecodeString(first)
	if err != nil {
		return "", "", err
	}
	bytes, err := hex.DecodeString(second)
	if err != nil {
		return "", "", err
	}
	return peer.ID(bytes), protocol.ID(name), nil
}

// dial opens a stream. The transport may continue to do so after the request that needed
// it has ended.
func (p *pool) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	id, proto, err := parseHost(addr)
	if err != nil {
		return nil, fmt.Errorf("%q is not a service: %w", addr, err)
	}
	if !p.streams.Begin() {
		return nil, net.ErrClosed
	}
	ctx, cancel := context.WithTimeout(ctx, bridge.DefaultOpenTimeout)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	c, err := p.node.Dial(ctx, id, proto)
	if err != nil {
		p.streams.Leave()
		return nil, err
	}
	s := &stream{Conn: c}
	s.end = sync.OnceFunc(p.streams.Leave)
	if p.ctx.Err() != nil {
		_ = s.Close()
		return nil, p.ctx.Err()
	}
	return s, nil
}

// stream is a connection of the transport, which knows only Close.
type stream struct {
	*bridge.Conn
	end       func()
	exchanges atomic.Int32 // under way
	last      atomic.Pointer[exchange]
	atEOF     atomic.Bool
	failure   atomic.Pointer[error] // the first
	drains    atomic.Bool
	closed    atomic.Bool // by the transport, so the peer is not the cause
}

// begin counts an exchange that uses the stream.
func (s *stream) begin(x *exchange) {
	s.exchanges.Add(1)
	s.last.Store(x)
}

// Read bounds how long the peer may be silent after our side has ended, as a splice does.
func (s *stream) Read(b []byte) (int, error) {
	if s.drains.Load() {
		_ = s.SetReadDeadline(time.Now().Add(bridge.DefaultDrain))
	}
	n, err := s.Conn.Read(b)
	if err == io.EOF {
		s.atEOF.Store(true)
	}
	return n, s.note(err)
}

func (s *stream) Write(b []byte) (int, error) {
	n, err := s.Conn.Write(b)
	return n, s.note(err)
}

// note keeps the first failure that the transport did not cause itself.
func (s *stream) note(err error) error {
	switch {
	case err == nil:
	case s.closed.Load() && errors.Is(err, bridge.ClosedByHand):
		return net.ErrClosed
	default:
		s.failure.CompareAndSwap(nil, &err)
	}
	return err
}

// why returns how the stream failed, or otherwise the given error.
func (s *stream) why(otherwise error) error {
	if err := s.failure.Load(); err != nil {
		return *err
	}
	return otherwise
}

// CloseWrite ends our side of an upgraded connection.
func (s *stream) CloseWrite() error {
	s.drains.Store(true)
	_ = s.SetReadDeadline(time.Now().Add(bridge.DefaultDrain))
	return s.Conn.CloseWrite()
}

// Close closes the stream. In the middle of an exchange it resets it, so that the peer
// stops sending data that nobody reads.
func (s *stream) Close() error {
	defer s.end()
	s.closed.Store(true)
	if x := s.last.Load(); x != nil {
		defer x.stopBody()
	}
	if s.exchanges.Load() > 0 && !s.atEOF.Load() {
		return s.Conn.Reset()
	}
	return s.Conn.Close()
}
