// Package muxer provides yamux with windows that fit long lines and circuits. Nodes and
// relays use it on every connection whose transport has no streams of its own.
package muxer

import (
	"fmt"
	"net"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
)

// ID is the protocol ID of yamux.
const ID = yamux.ID

const (
	// MaxWindow bounds the bytes of one stream that may be in flight. A window limits a
	// stream to window/RTT: Kubo's old 8 MiB are 40 MiB/s at 200 ms, go-libp2p's 16 MiB
	// are 80. 32 MiB fill a gigabit line up to 250 ms. A stream's window doubles only
	// while its reader keeps up, and only if the resource manager has the memory, so a
	// slow reader does not cost this much.
	MaxWindow = 32 << 20

	// window is the initial window of a stream, in bytes.
	window = 256 << 10
	// wideWindow is the initial window of a stream that may carry a circuit. The
	// connection within the circuit has streams of its own, and the outer window must
	// hold the inner window of such a stream with its headers, and one doubling. If it is
	// smaller, the last bytes of each window wait for another round trip, and both
	// windows grow half as fast.
	wideWindow = 512 << 10
)

// MaxFrame is the maximum number of bytes that are written to a connection at once: one
// frame of a stream. With what TLS adds, it fits into the 64 KiB that the kernel makes
// one packet of. With yamux's own 64 KiB, each frame would be followed by a packet of a
// hundred bytes, and with Noise by a second message.
const MaxFrame = 60<<10 + 12

// Muxer is a network.Multiplexer: it adds streams to connections.
type Muxer struct{}

var (
	narrow = transport(window)
	wide   = transport(wideWindow)
)

func transport(begin uint32) *yamux.Transport {
	config := *yamux.DefaultTransport.Config()
	config.InitialStreamWindowSize = begin
	config.MaxStreamWindowSize = MaxWindow
	config.MaxMessageSize = MaxFrame
	return (*yamux.Transport)(&config)
}

// NewConn multiplexes c. On a circuit, or if more than 60 % of the memory that scope may
// reserve is taken, the window of a stream begins as small as yamux allows. That initial
// window is reserved as a whole when the stream begins. scope may be nil.
func (Muxer) NewConn(c net.Conn, isServer bool, scope network.PeerScope) (network.MuxedConn, error) {
	_, circuit := c.RemoteAddr().(*client.NetAddr)
	t := wide
	if circuit || scope != nil && !isRoomy(scope) {
		t = narrow
	}
	if scope != nil {
		scope = countedScope{scope, int(t.Config().InitialStreamWindowSize)}
	}
	return t.NewConn(c, isServer, scope)
}

// isRoomy reports whether no more than 60 % of the memory of scope is taken.
func isRoomy(scope network.PeerScope) bool {
	span, err := scope.BeginSpan()
	if err != nil {
		return false
	}
	defer span.Done()
	return span.ReserveMemory(wideWindow, network.ReservationPriorityMedium) == nil
}

// countedScope reserves the initial window of a stream as a whole. yamux reserves only
// 256 KiB of it, however large it is, and does not release the span of a stream if that
// memory is refused.
type countedScope struct {
	network.PeerScope
	begin int
}

// BeginSpan is called for each stream.
func (s countedScope) BeginSpan() (network.ResourceScopeSpan, error) {
	span, err := s.PeerScope.BeginSpan()
	if err != nil {
		return nil, err
	}
	if err := span.ReserveMemory(s.begin, network.ReservationPriorityAlways); err != nil {
		span.Done()
		return nil, fmt.Errorf("no memory for the window of a stream: %w", err)
	}
	return &countedSpan{ResourceScopeSpan: span}, nil
}

// countedSpan skips yamux's first reservation, of 256 KiB, because countedScope has made
// it already. One stream uses it, and never concurrently.
type countedSpan struct {
	network.ResourceScopeSpan
	begun bool
}

func (s *countedSpan) ReserveMemory(size int, prio uint8) error {
	if !s.begun {
		s.begun = true
		return nil
	}
	return s.ResourceScopeSpan.ReserveMemory(size, prio)
}
