package bridge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// A failed accept is retried after a wait that doubles from the first to the last value:
// the usual cause, a lack of file descriptors, passes by itself.
const (
	acceptFirstWait = 5 * time.Millisecond
	acceptLastWait  = time.Second
)

// ForwardOption changes how a forward is set up.
type ForwardOption func(*forwardConfig)

type forwardConfig struct{ custom bool }

// ToCustomProtocol permits a name that is not within /x/.
func ToCustomProtocol(c *forwardConfig) { c.custom = true }

// Forward connects local connections to a service of a peer. All methods may be called
// concurrently.
type Forward struct {
	bridge   *Bridge
	id       uint64
	protocol protocol.ID
	from     Acceptor
	peer     peer.ID
	closed   chan struct{}
	once     sync.Once
	closeErr error

	mu      sync.Mutex
	streams int
	total   uint64
	failed  uint64
	last    error // error of the last connection or accept; nil if it succeeded
	lastAt  time.Time
}

// Forward opens a stream with a protocol to a peer for each connection that from accepts.
// It does not connect to the peer before. Closing the forward closes from; if Forward
// returns an error, the caller still owns from.
func (b *Bridge) Forward(proto protocol.ID, from Acceptor, p peer.ID, opts ...ForwardOption) (*Forward, error) {
	var config forwardConfig
	for i, opt := range opts {
		if opt == nil {
			return nil, fmt.Errorf("forward %s: option %d is nil", proto, i+1)
		}
		opt(&config)
	}
	if err := CheckName(proto, config.custom); err != nil {
		return nil, fmt.Errorf("forward: %w", err)
	}
	if _, err := peer.IDFromBytes([]byte(p)); err != nil {
		return nil, fmt.Errorf("forward %s: the peer: %w", proto, err)
	}
	if p == b.opts.Host.ID() {
		return nil, fmt.Errorf("forward %s: the peer is this node itself", proto)
	}
	if from == nil {
		return nil, fmt.Errorf("forward %s: the acceptor is nil: there is nothing to listen on", proto)
	}
	f := &Forward{bridge: b, protocol: proto, from: from, peer: p, closed: make(chan struct{})}
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil, fmt.Errorf("forward %s: %w", proto, ErrClosed)
	}
	b.nextEntry++
	f.id = b.nextEntry
	b.forwards[f.id] = f
	f.mu.Lock()
	f.tell(Added)
	f.mu.Unlock()
	b.tasks.Go(f.accept)
	b.mu.Unlock()
	return f, nil
}

// ID returns a number that is unique among all entries of the bridge and never reused.
func (f *Forward) ID() uint64 { return f.id }

// Addr returns the listen address, with the real port.
func (f *Forward) Addr() string { return f.from.String() }

// Close stops accepting connections. Open streams stay open. It may be called more than
// once.
func (f *Forward) Close() error {
	f.once.Do(func() {
		close(f.closed)
		if err := f.from.Close(); !errors.Is(err, net.ErrClosed) { // closed by its maker already
			f.closeErr = err
		}
		f.bridge.mu.Lock()
		delete(f.bridge.forwards, f.id)
		f.bridge.mu.Unlock()
		f.mu.Lock()
		defer f.mu.Unlock()
		f.tell(Removed)
	})
	return f.closeErr
}

// Info describes the forward as it is now.
func (f *Forward) Info() ForwardInfo {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.info()
}

// info is called with f.mu held.
func (f *Forward) info() ForwardInfo {
	info := ForwardInfo{
		ID:       f.id,
		Protocol: f.protocol,
		Listen:   f.from.String(),
		Target:   "/p2p/" + f.peer.String(),
		Peer:     f.peer,
		Live:     f.streams,
		Total:    f.total,
		Failed:   f.failed,
	}
	if f.last != nil {
		info.Error, info.ErrorAt = f.last.Error(), f.lastAt
		info.Reason = reasonOf(f.last, "")
	}
	return info
}

// ForwardInfo describes a forward.
type ForwardInfo struct {
	ID       uint64      `json:"id"` // never reused; unique among listeners and forwards
	Protocol protocol.ID `json:"protocol"`
	Listen   string      `json:"listen"` // with the real port
	Target   string      `json:"target"` // /p2p/<peer>
	Peer     peer.ID     `json:"peer"`
	Live     int         `json:"live"`            // open streams
	Total    uint64      `json:"total"`           // connections accepted
	Failed   uint64      `json:"failed"`          // connections for which no stream could be opened
	Error    string      `json:"error,omitempty"` // of the last connection; empty if it succeeded
	Reason   Reason      `json:"reason,omitempty"`
	ErrorAt  time.Time   `json:"errorAt,omitzero"`
}

// tell emits a change. It is called with f.mu held, so that changes come in order.
func (f *Forward) tell(a Action) {
	info := f.info()
	f.bridge.changes.Emit(Change{Action: a, Forward: &info})
}

// note records the result of the last attempt, and emits a change if it differs from the
// one before. It is called with f.mu held.
func (f *Forward) note(err error) {
	changed := (err == nil) != (f.last == nil) || reasonOf(err, "") != reasonOf(f.last, "")
	f.last, f.lastAt = err, time.Now()
	if changed {
		f.tell(Changed)
	}
}

// reached clears an error of not reaching the peer, so that a forward does not report for
// hours that its peer is offline while a stream to it is open. An error that the peer
// itself reports shows when the stream ends.
func (f *Forward) reached() {
	f.mu.Lock()
	defer f.mu.Unlock()
	reason := reasonOf(f.last, "")
	if f.last != nil && (reason == "" || reason == PeerAway) {
		f.note(nil)
	}
}

func (f *Forward) isClosed() bool {
	select {
	case <-f.closed:
		return true
	default:
		return false
	}
}

// accept runs until the forward is closed.
func (f *Forward) accept() {
	wait := acceptFirstWait
	for {
		local, err := f.from.Accept()
		switch {
		case err == nil:
			wait = acceptFirstWait
			if !f.bridge.enter() {
				_ = local.Reset()
				return
			}
			go f.carry(local)
		case f.isClosed():
			return
		case errors.Is(err, net.ErrClosed):
			_ = f.Close()
			return
		default:
			f.mu.Lock()
			f.note(fmt.Errorf("accept: %w", err))
			f.mu.Unlock()
			f.bridge.log.Warn("a local connection could not be accepted; trying again", "listen", f.from, "retry", wait, "error", err)
			select {
			case <-time.After(wait):
			case <-f.closed:
				return
			}
			wait = min(2*wait, acceptLastWait)
		}
	}
}

// carry opens a stream for one local connection and splices the two.
func (f *Forward) carry(local Local) {
	b := f.bridge
	defer b.tasks.Done()
	f.mu.Lock()
	f.total++
	f.streams++
	f.mu.Unlock()
	ctx, cancel := context.WithTimeout(b.ctx, b.opts.Timeouts.Open)
	c, err := b.Dial(ctx, f.peer, f.protocol, local.String())
	cancel()
	if err != nil {
		f.mu.Lock()
		f.streams--
		f.failed++
		f.note(err)
		f.mu.Unlock()
		_ = local.Reset() // last, so that the failure is already counted when the other end sees the reset
		b.log.Warn("a local connection could not be forwarded", "protocol", f.protocol, "peer", f.peer, "from", local, "error", err)
		return
	}
	f.reached()
	f.suspect()
	err = c.Splice(local)
	if err != nil {
		b.log.Warn("a forwarded stream ended before its time", "protocol", f.protocol, "peer", f.peer, "from", local, "error", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.streams--
	if !f.afterLoop(err) {
		f.note(err)
	}
}

// Dial opens a stream to a peer, connecting first if needed, and adds it to the
// registry. A stream that cannot be opened is added to the history. ctx bounds the
// opening only. If the peer does not know the protocol, or refuses it, the first Read
// returns the reason. origin names the caller in the registry. The caller must close the
// connection.
func (b *Bridge) Dial(ctx context.Context, p peer.ID, proto protocol.ID, origin string) (*Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.ctx, cancel)()
	begun := time.Now()
	s, err := b.opts.Open(ctx, p, proto)
	if err != nil {
		failed := b.openFailed(ctx, p, proto, err)
		b.unopened(StreamInfo{Protocol: proto, Peer: p, Origin: origin, Target: Addr{Peer: p}.String(), Opened: begun, LastActive: begun,
			Ended: time.Now(), Reason: failed.Reason, Error: failed.Error()})
		return nil, failed
	}
	c := b.newConn(s, false, proto)
	c.origin, c.target = origin, Addr{Peer: c.peer}.String()
	if err := b.add(c); err != nil {
		_ = s.Reset()
		return nil, err
	}
	return c, nil
}

func (b *Bridge) openFailed(ctx context.Context, p peer.ID, proto protocol.ID, err error) *Error {
	switch {
	case b.ctx.Err() != nil:
		return &Error{Reason: Shutdown, Peer: p, Protocol: proto, Err: ErrClosed}
	case errors.Is(err, network.ErrReset): // refused before the protocol was agreed on
		return b.resetBy(ctx, p, proto, err)
	}
	return opening(p, proto, err)
}
