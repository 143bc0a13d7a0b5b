//go:build js

// Package conformance is a test suite for Tombolo's browser transports, which runs them
// against a native peer of stock go-libp2p. Both transports pass all of it.
//
// It is modelled on go-libp2p's p2p/transport/testsuite, which requires a transport that
// can listen.
package conformance

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/transport"
	ma "github.com/multiformats/go-multiaddr"
	msmux "github.com/multiformats/go-multistream"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/wasm/internal/farside"
)

// waitLimit bounds every wait for something that must happen.
const waitLimit = 45 * time.Second

// Subject is a transport under test.
type Subject struct {
	Listen string   // the kind of listener that the peer needs, as testpeer names it
	Part   string   // a part that its addresses contain
	Name   string   // its name in ConnState
	Mutes  []string // the kinds of silent servers, as testpeer names them

	// RefusesWrites reports that the peer's CloseRead makes our Write fail. (yamux cannot
	// signal it.)
	RefusesWrites bool

	// OneWriter reports that a stream may have only one writer and one reader at a time. (If
	// several writers of a yamux stream wait for its window, an update wakes only one, and
	// two may overdraw the window together.)
	OneWriter bool

	// Except names the tests that are left out, each with the reason.
	Except map[string]string

	// New makes a transport for the peer that key belongs to, with the given handshake
	// limit.
	New func(t testing.TB, key crypto.PrivKey, handshake time.Duration) transport.Transport
}

// Run runs the whole suite.
func Run(t *testing.T, s Subject) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Subject)
	}{
		{"ConnectionTellsWhoAndHow", testIdentity},
		{"EchoReturnsEveryByte", testEcho},
		{"LargeTransfersArriveWhole", testLarge},
		{"CloseWriteIsEOFAndTheReplyArrives", testHalfClose},
		{"CloseIsEOFForTheFarSide", testClose},
		{"ResetIsResetForTheFarSide", testReset},
		{"CloseReadStopsReadsAndLeavesWrites", testCloseRead},
		{"FarResetEndsReadsAndWrites", testFarReset},
		{"FarCloseReadLeavesReads", testFarCloseRead},
		{"ReadDeadlineEndsAReadAndTheStreamLivesOn", testReadDeadline},
		{"FullStreamBlocksUntilTheWriteDeadline", testWriteBackPressure},
		{"SlowReaderHoldsBackAFastSender", testReadBackPressure},
		{"ConcurrentReadersAndWritersLoseNothing", testConcurrent},
		{"StreamsOpenedByTheFarSideAreAccepted", testAccept},
		{"ManyStreamsAtOnce", testManyStreams},
		{"WrongPeerIDIsRefused", testWrongPeer},
		{"CancelledDialEndsAtOnce", testCancelledDial},
		{"SilentServerEndsAtTheHandshakeLimit", testMute},
		{"NobodyThereIsAnError", testNobody},
		{"FarSideLeavingEndsTheConnection", testFarClose},
		{"KilledFarSideFailsAllStreams", testKilled},
		{"CloseFailsAllStreams", testCloseConn},
		{"ListenSaysWhyNot", testListen},
		{"NothingLeaksOverManyDials", testDialLeak},
		{"NothingLeaksOverManyStreams", testStreamLeak},
	} {
		t.Run(test.name, func(t *testing.T) {
			if why, ok := s.Except[test.name]; ok {
				t.Skip(why)
			}
			test.run(t, s)
		})
	}
}

// NewKey makes an identity.
func NewKey(t testing.TB) crypto.PrivKey {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	require.NoError(t, err)
	return key
}

// transport makes a transport with a handshake limit that no test reaches.
func (s Subject) transport(t testing.TB) transport.Transport {
	t.Helper()
	return s.New(t, NewKey(t), waitLimit)
}

// connect starts a peer and dials it. The connection is closed at the end of the test.
func (s Subject) connect(t testing.TB, extra string) (transport.CapableConn, *farside.Peer) {
	t.Helper()
	far := farside.Start(t, "listen="+s.Listen+extra)
	return Dial(t, s.transport(t), far.Addr(t, s.Part), far.ID), far
}

// Dial dials a peer, and closes the connection at the end of the test.
func Dial(t testing.TB, tr transport.Transport, addr ma.Multiaddr, p peer.ID) transport.CapableConn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	c, err := tr.Dial(ctx, addr, p)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// open opens a stream and negotiates the protocol. Every wait on the stream is
// bounded; it is reset at the end of the test.
func open(t testing.TB, c transport.CapableConn, proto string) network.MuxedStream {
	t.Helper()
	s, err := tryOpen(c, proto)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Reset() })
	return s
}

func tryOpen(c transport.CapableConn, proto string) (network.MuxedStream, error) {
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	s, err := c.OpenStream(ctx)
	if err != nil {
		return nil, err
	}
	_ = s.SetDeadline(time.Now().Add(waitLimit))
	if err := msmux.SelectProtoOrFail(proto, s); err != nil {
		_ = s.Reset()
		return nil, err
	}
	return s, nil
}

// request writes n in the form that testpeer's source protocol requires.
func request(t testing.TB, s network.MuxedStream, n int) {
	t.Helper()
	_, err := s.Write(binary.BigEndian.AppendUint64(nil, uint64(n)))
	require.NoError(t, err)
}

// pattern returns n bytes of what testpeer's source sends, from byte at.
func pattern(at, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte((at + i) % 251)
	}
	return b
}
