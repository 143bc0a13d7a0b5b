// Package muxer is yamux with windows that fit long lines and circuits. Nodes and
// relays put it under every connection whose transport has no streams of its own.
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
	// MaxWindow bounds what one stream may have under way, in bytes. A window caps
	// a stream at window/RTT: Kubo's old 8 MiB are 40 MiB/s at 200 ms, go-libp2p's
	// 16 MiB are 80. 32 MiB fill a gigabit line up to 250 ms. A stream's window
	// doubles only while its reader keeps up, and the resource manager has the last
	// word, so a slow reader does not cost this.
	MaxWindow = 32 << 20

	// window is where yamux has the window of a stream begin, in bytes.
	window = 256 << 10
	// wideWindow is where that of a stream begins that may carry a circuit. The
	// connection within the circuit has streams of its own, and such a stream has
	// to take a window of theirs with its headers and one doubling. Where it does
	// not, the last bytes of each window wait for another round trip, and both
	// windows grow half as fast for as long as they grow.
	wideWindow = 512 << 10
)

// MaxFrame is the most that is written to a connection at once, in bytes: the frame
// of a stream. With what TLS adds to it, it fits into the 64 KiB that the kernel
// makes one packet of; with yamux's own 64 KiB, each frame is followed by a packet
// of a hundred bytes, and with Noise by a second message.
const MaxFrame = 60<<10 + 12

// Muxer makes the streams of connections; it is a network.Multiplexer.
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

// NewConn multiplexes c. On a circuit, and where more than 60 % of the memory that
// scope may reserve is taken, the window of a stream begins as small as yamux allows.
// The whole of it is reserved when the stream begins. scope may be nil.
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

// countedScope reserves the window with which a stream begins, as a whole. yamux
// reserves 256 KiB of it, however large it is, and keeps the span of a stream for
// which there was no memory.
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

// countedSpan is a span of which yamux reserves the first 256 KiB once more. A stream
// uses it, and never concurrently.
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
