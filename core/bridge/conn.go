package bridge

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
)

// Conn is a bridged stream: a network.Stream and a net.Conn with half-close. It is in
// the registry until its owner closes or resets it. Methods may be called concurrently.
// If the stream failed, errors of Read and Write wrap an *Error with the reason that the
// peer gave.
type Conn struct {
	network.Stream
	bridge  *Bridge
	peer    peer.ID
	inbound bool
	id      uint64
	opened  time.Time

	protocol       protocol.ID
	origin, target string
	transport      string
	relay          peer.ID
	reportPeer     bool
	rates          *rates // of the listener; nil means no limit
	onEnd          func() // may be nil

	readMu, writeMu sync.Mutex // held in the transport's Read and Write; nothing else may block under them
	readBy, writeBy deadline
	sent, received  atomic.Int64
	active          atomic.Int64 // when a byte last moved, in nanoseconds after opened: see touch
	over            chan struct{}
	endOnce         sync.Once
	asking          sync.Once     // so that the peer is asked only once
	asked           chan struct{} // closed when the peer has answered, or will not
	answer          *Error        // the reason; set before asked is closed
	closing         atomic.Bool   // set when the owner closes the stream
	closeOnce       sync.Once
	settled         atomic.Bool // the protocol has been agreed on: see close
	readClosed      atomic.Bool // set by CloseRead

	mu     sync.Mutex
	cause  *Error // why it failed; the first cause counts
	local  Local  // the local stream that it is spliced to
	ended  time.Time
	drains bool // one direction of a splice has ended
	watch  *time.Timer

	stopAsking context.CancelFunc // nil if the peer is not being asked
}

var (
	_ net.Conn       = (*Conn)(nil)
	_ network.Stream = (*Conn)(nil)
)

// newConn makes a stream a Conn. add puts it into the registry.
func (b *Bridge) newConn(s network.Stream, inbound bool, proto protocol.ID) *Conn {
	c := &Conn{
		Stream:   s,
		bridge:   b,
		peer:     s.Conn().RemotePeer(),
		inbound:  inbound,
		opened:   time.Now(),
		protocol: proto,
		over:     make(chan struct{}),
		asked:    make(chan struct{}),
	}
	_, plain := s.(*swarm.Stream)
	c.settled.Store(inbound || plain)
	c.transport, c.relay = b.opts.Describe(s.Conn())
	return c
}

// RemotePeer returns the peer at the other end.
func (c *Conn) RemotePeer() peer.ID { return c.peer }

// LocalAddr returns an Addr that names this node.
func (c *Conn) LocalAddr() net.Addr { return Addr{c.Stream.Conn().LocalPeer(), string(c.protocol)} }

// RemoteAddr returns an Addr that names the peer.
func (c *Conn) RemoteAddr() net.Addr { return Addr{c.peer, string(c.protocol)} }

// touch records that a byte moved. It uses the monotonic clock, so setting the wall clock
// does not make a stream look idle.
func (c *Conn) touch() { c.active.Store(int64(time.Since(c.opened))) }

// silent returns how long nothing has moved.
func (c *Conn) silent() time.Duration {
	return time.Since(c.opened) - time.Duration(c.active.Load())
}

// Read reads what the peer sent. It returns io.EOF after the peer has closed its side.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.read(p)
	if err != nil && err != io.EOF && !c.readClosed.Load() {
		err = c.explain(err, &c.readBy)
	}
	return n, err
}

func (c *Conn) read(p []byte) (int, error) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	if c.readClosed.Load() || c.isOver() {
		return 0, net.ErrClosed
	}
	if c.rates != nil {
		p = p[:min(len(p), c.rates.part())]
	}
	n, err := c.Stream.Read(p)
	if c.readClosed.Load() {
		return 0, net.ErrClosed // CloseRead ended it
	}
	if n > 0 {
		c.settled.Store(true)
		c.received.Add(int64(n))
		c.touch()
		if c.rates != nil {
			_ = c.wait(c.rates.in, n, &c.readBy)
		}
	}
	return n, err
}

// Write sends p to the peer.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.write(p)
	if err != nil {
		err = c.explain(err, &c.writeBy)
	}
	return n, err
}

func (c *Conn) write(p []byte) (done int, err error) {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	if c.isOver() {
		return 0, net.ErrClosed // the stream may still be open, to be closed in the background
	}
	for {
		part := p[done:]
		if c.rates != nil {
			part = part[:min(len(part), c.rates.part())]
			if err := c.wait(c.rates.out, len(part), &c.writeBy); err != nil {
				return done, err
			}
		}
		n, err := c.Stream.Write(part)
		c.sent.Add(int64(n))
		c.touch()
		done += n
		if err != nil || done == len(p) {
			return done, err
		}
	}
}

// SetDeadline bounds Reads and Writes, including the time it takes to ask the peer for
// the reason why a stream ended. It also applies to calls in progress.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline sets the deadline for Reads: see SetDeadline.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.readBy.set(t)
	if c.readClosed.Load() {
		return nil
	}
	return c.Stream.SetReadDeadline(t)
}

// SetWriteDeadline sets the deadline for Writes and CloseWrite: see SetDeadline.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.writeBy.set(t)
	return c.Stream.SetWriteDeadline(t)
}

// Reset ends both directions at once, for the peer as well.
func (c *Conn) Reset() error {
	c.fail(&Error{Reason: ClosedByHand})
	err := c.Stream.Reset()
	c.end()
	return err
}

// ResetWithError resets the stream with a code that the peer sees, if the transport can
// send one.
func (c *Conn) ResetWithError(code network.StreamErrorCode) error {
	c.fail(&Error{Reason: ClosedByHand})
	err := c.Stream.ResetWithError(code)
	c.end()
	return err
}

// abort ends the stream for a reason on this side, which the peer can ask for.
func (c *Conn) abort(cause *Error) {
	if c.isOver() {
		return
	}
	c.confess(c.fail(cause))
	_ = c.Stream.Reset()
	c.mu.Lock()
	local := c.local
	c.mu.Unlock()
	if local != nil {
		_ = local.Reset()
	}
	c.end()
}

// fail records why the stream failed, unless a cause is recorded already, and returns the
// recorded cause.
func (c *Conn) fail(cause *Error) *Error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == nil && c.ended.IsZero() {
		c.cause = cause
	}
	if c.cause == nil {
		return cause
	}
	return c.cause
}

func (c *Conn) end() {
	c.endOnce.Do(func() {
		c.mu.Lock()
		c.ended = c.opened.Add(time.Since(c.opened)) // not before the last byte moved, even if the clock was set back
		if c.watch != nil {
			c.watch.Stop()
		}
		stopAsking := c.stopAsking
		c.mu.Unlock()
		if stopAsking != nil {
			stopAsking()
		}
		c.readBy.stop()
		c.writeBy.stop()
		close(c.over)
		c.bridge.remove(c)
		if c.onEnd != nil {
			c.onEnd()
		}
	})
}

func (c *Conn) isOver() bool { return isClosed(c.over) }

// Explain serves an owner that reads and writes without Read and Write, as a browser can.
// It turns the error that ended the stream into the error that Read and Write would have
// returned, and records it. It may ask the peer for the reason.
func (c *Conn) Explain(err error) error { return c.explain(err, &c.readBy) }

// Bounded reports whether the stream has a rate limit. If so, its bytes must pass
// through Read and Write.
func (c *Conn) Bounded() bool { return c.rates != nil }

// Done returns a channel that is closed when the stream has left the registry.
func (c *Conn) Done() <-chan struct{} { return c.over }

// Failure returns the *Error with which the stream failed; nil if the stream is open or
// ended well.
func (c *Conn) Failure() error {
	if cause := c.failure(); cause != nil {
		return cause
	}
	return nil
}

// failure returns the reason why the stream failed; nil if it is open or ended well.
func (c *Conn) failure() *Error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause
}

// Info describes the stream as it is now.
func (c *Conn) Info() StreamInfo {
	info := StreamInfo{
		ID:         c.id,
		Protocol:   c.protocol,
		Peer:       c.peer,
		Inbound:    c.inbound,
		Origin:     c.origin,
		Target:     c.target,
		Transport:  c.transport,
		Relay:      c.relay,
		Sent:       c.sent.Load(),
		Received:   c.received.Load(),
		Opened:     c.opened,
		LastActive: c.opened.Add(time.Duration(c.active.Load())),
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	info.Ended = c.ended
	if c.cause != nil {
		info.Reason, info.Error = c.cause.Reason, c.cause.Error()
	}
	return info
}

// StreamInfo describes a stream, open or ended.
type StreamInfo struct {
	ID         uint64      `json:"id"` // never reused
	Protocol   protocol.ID `json:"protocol"`
	Peer       peer.ID     `json:"peer"`
	Inbound    bool        `json:"inbound"`          // the peer opened it
	Origin     string      `json:"origin"`           // who opened the stream: a local address, or /p2p/<peer>
	Target     string      `json:"target"`           // where the stream goes: /p2p/<peer>, or the local target
	Transport  string      `json:"transport"`        // see core.Peer
	Relay      peer.ID     `json:"relay,omitempty"`  // empty for a direct connection
	Sent       int64       `json:"sent"`             // bytes to the peer; 0 if the browser carries them itself
	Received   int64       `json:"received"`         // bytes from the peer; likewise
	Opened     time.Time   `json:"opened"`           //
	LastActive time.Time   `json:"lastActive"`       // when a byte last moved
	Ended      time.Time   `json:"ended,omitzero"`   // zero while the stream is open
	Reason     Reason      `json:"reason,omitempty"` // why it failed; empty if it ended well
	Error      string      `json:"error,omitempty"`  // the reason, with the underlying error
}
