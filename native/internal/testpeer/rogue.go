package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"math"
	"net"
	"net/url"
	"strings"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/libp2p/go-libp2p/p2p/security/noise/pb"
	"github.com/multiformats/go-multihash"
	"github.com/quic-go/webtransport-go"
)

// newRogue starts a WebTransport server that is correct except for one thing: the certificate hashes of its early data, or how it
// handles the first stream or the session.
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
	case "garbage":
		err = s.listenWebTransport(s.garbageSession)
	case "reset":
		err = s.listenWebTransport(s.resetSession)
	case "close":
		err = s.listenWebTransport(s.closeSession)
	case "flood":
		err = s.listenWebTransport(s.floodSession)
	default:
		err = fmt.Errorf("kind=%q: want missing-certhash, second-certhash, no-certhash, garbage, reset, close or flood", kind)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// rogueSession speaks Noise on the first stream, with the hashes that claim returns for the true one, then accepts streams.
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

// garbageSession answers the Noise handshake with bytes that are not a handshake.
func (s *server) garbageSession(ctx context.Context, sess *webtransport.Session, own multihash.Multihash) {
	if str, err := sess.AcceptStream(ctx); err == nil {
		str.Write([]byte(rand.Text() + rand.Text() + rand.Text()))
	}
	s.muteSession(ctx, sess, own)
}

func (s *server) resetSession(ctx context.Context, sess *webtransport.Session, own multihash.Multihash) {
	if str, err := sess.AcceptStream(ctx); err == nil {
		str.CancelRead(math.MaxUint32)
		str.CancelWrite(math.MaxUint32)
	}
	s.muteSession(ctx, sess, own)
}

// closeSession closes the session after the handshake, with the largest valid code and the longest valid reason.
func (s *server) closeSession(ctx context.Context, sess *webtransport.Session, own multihash.Multihash) {
	if _, err := s.secure(ctx, sess, [][]byte{own}); err == nil {
		sess.CloseWithError(math.MaxUint32, strings.Repeat("x", 1024))
	}
}

// floodSession opens streams of both kinds after the handshake and sends datagrams, as many as it may.
func (s *server) floodSession(ctx context.Context, sess *webtransport.Session, own multihash.Multihash) {
	if _, err := s.secure(ctx, sess, [][]byte{own}); err != nil {
		return
	}
	var streams sync.WaitGroup
	defer streams.Wait()
	streams.Go(func() {
		for str, err := sess.OpenUniStreamSync(ctx); err == nil; str, err = sess.OpenUniStreamSync(ctx) {
			streams.Go(func() { str.Write(make([]byte, 1<<20)) })
		}
	})
	streams.Go(func() {
		for sess.SendDatagram(make([]byte, 1000)) == nil {
		}
	})
	for str, err := sess.OpenStreamSync(ctx); err == nil; str, err = sess.OpenStreamSync(ctx) {
		streams.Go(func() { str.Write(make([]byte, 1<<20)) })
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

// sessionConn is a stream with the addresses of its session, as Noise requires.
type sessionConn struct {
	*webtransport.Stream
	sess *webtransport.Session
}

var _ net.Conn = sessionConn{}

func (c sessionConn) LocalAddr() net.Addr  { return c.sess.LocalAddr() }
func (c sessionConn) RemoteAddr() net.Addr { return c.sess.RemoteAddr() }
