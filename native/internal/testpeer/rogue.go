package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/url"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/libp2p/go-libp2p/p2p/security/noise/pb"
	"github.com/multiformats/go-multihash"
	"github.com/quic-go/webtransport-go"
)

// newRogue starts a WebTransport server that is right in everything but the certificate hashes of its early data.
func newRogue(q url.Values) (backend, error) {
	s, err := newServer()
	if err != nil {
		return nil, err
	}
	other, err := certHash([]byte(rand.Text()))
	if err != nil {
		return nil, err
	}
	switch kind := q.Get("kind"); kind {
	case "missing-certhash":
		err = s.listenWebTransport(s.rogueSession(func(multihash.Multihash) [][]byte { return [][]byte{other} }))
	case "second-certhash":
		err = s.listenWebTransport(s.rogueSession(func(own multihash.Multihash) [][]byte { return [][]byte{own} }), other)
	case "no-certhash":
		err = s.listenWebTransport(s.rogueSession(func(multihash.Multihash) [][]byte { return nil }))
	default:
		err = fmt.Errorf("kind=%q: want missing-certhash, second-certhash or no-certhash", kind)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// rogueSession speaks Noise on the first stream, claiming the hashes that claim makes of the true one, then accepts streams.
func (s *server) rogueSession(claim func(own multihash.Multihash) [][]byte) func(context.Context, *webtransport.Session, multihash.Multihash) {
	return func(ctx context.Context, sess *webtransport.Session, own multihash.Multihash) {
		c, err := s.secure(ctx, sess, claim(own))
		if err != nil {
			return
		}
		s.secured.Add(1)
		var handshake sync.WaitGroup
		defer handshake.Wait()
		handshake.Go(func() { io.Copy(io.Discard, c) }) // until the dialer closes the stream, or the session ends
		s.muteSession(ctx, sess, own)
	}
}

func (s *server) secure(ctx context.Context, sess *webtransport.Session, hashes [][]byte) (net.Conn, error) {
	str, err := sess.AcceptStream(ctx)
	if err != nil {
		return nil, err
	}
	t, err := noise.New(noise.ID, s.key, nil)
	if err != nil {
		return nil, err
	}
	early := earlyData{NoiseExtensions: &pb.NoiseExtensions{WebtransportCerthashes: hashes}}
	st, err := t.WithSessionOptions(noise.EarlyData(nil, early))
	if err != nil {
		return nil, err
	}
	return st.SecureInbound(ctx, sessionConn{str, sess}, "")
}

// earlyData is sent in the second message of the handshake.
type earlyData struct{ *pb.NoiseExtensions }

var _ noise.EarlyDataHandler = earlyData{}

func (e earlyData) Send(context.Context, net.Conn, peer.ID) *pb.NoiseExtensions {
	return e.NoiseExtensions
}

func (earlyData) Received(context.Context, net.Conn, *pb.NoiseExtensions) error { return nil }

// sessionConn is a stream with the addresses of its session, as Noise wants it.
type sessionConn struct {
	*webtransport.Stream
	sess *webtransport.Session
}

var _ net.Conn = sessionConn{}

func (c sessionConn) LocalAddr() net.Addr  { return c.sess.LocalAddr() }
func (c sessionConn) RemoteAddr() net.Addr { return c.sess.RemoteAddr() }
