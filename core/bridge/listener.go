package bridge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// ErrRegistered is returned by Listen if the protocol has a listener already.
var ErrRegistered = errors.New("listener already registered")

// MaxDescription is the longest description of an announced listener, in bytes.
const MaxDescription = 256

// ListenConfig configures a listener. The zero value admits every peer and is not
// announced.
type ListenConfig struct {
	CustomProtocol bool   `json:"allowCustomProtocol,omitempty"` // the name need not be within /x/
	ReportPeer     bool   `json:"reportPeerId,omitempty"`        // a dialled target first gets "<peer ID>\n"
	Announce       string `json:"announce,omitempty"`            // the description shown to peers; if empty, the listener is not announced
	Access         Access `json:"access,omitzero"`
	Limits         Limits `json:"limits,omitzero"`
}

// Check returns the error with which Bridge.Listen and Listener.Update would reject the
// configuration, whatever the target.
func (c ListenConfig) Check() error { return checkConfig(c) }

// ListenOption changes the configuration of a listener.
type ListenOption func(*ListenConfig)

// With replaces the whole configuration.
func With(config ListenConfig) ListenOption { return func(c *ListenConfig) { *c = config } }

// Allow admits only these peers.
func Allow(peers ...peer.ID) ListenOption {
	return func(c *ListenConfig) { c.Access.Allow = append(c.Access.Allow, peers...) }
}

// Deny refuses these peers.
func Deny(peers ...peer.ID) ListenOption {
	return func(c *ListenConfig) { c.Access.Deny = append(c.Access.Deny, peers...) }
}

// Announce lists the listener among the services of this node, for the peers that may
// use it.
func Announce(description string) ListenOption {
	return func(c *ListenConfig) { c.Announce = description }
}

// ReportPeer sends a dialled target "<peer ID>\n" before anything else.
func ReportPeer(c *ListenConfig) { c.ReportPeer = true }

// CustomProtocol permits a name that is not within /x/.
func CustomProtocol(c *ListenConfig) { c.CustomProtocol = true }

// Limit sets the limits of the listener.
func Limit(l Limits) ListenOption { return func(c *ListenConfig) { c.Limits = l } }

// Listener forwards the streams of peers to a target. All methods may be called
// concurrently.
type Listener struct {
	bridge   *Bridge
	id       uint64
	protocol protocol.ID
	target   Target
	unhandle func()

	mu      sync.Mutex
	config  ListenConfig
	rates   *rates
	closed  bool
	live    map[peer.ID]int
	streams int    // open
	total   uint64 // admitted so far
	refused uint64
}

// Listen forwards the streams that peers open with a protocol to a target. It returns
// ErrName for an invalid name, ErrRegistered if the protocol has a listener already, or
// an error that says what is wrong with an option.
func (b *Bridge) Listen(proto protocol.ID, target Target, opts ...ListenOption) (*Listener, error) {
	var config ListenConfig
	for i, opt := range opts {
		if opt == nil {
			return nil, fmt.Errorf("listen on %s: option %d is nil", proto, i+1)
		}
		opt(&config)
	}
	if err := checkListen(proto, target, config); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	l := &Listener{bridge: b, protocol: proto, target: target, config: config, live: make(map[peer.ID]int)}
	l.config.Access = config.Access.clone()
	l.rates = newRates(config.Limits.Rate)
	b.mu.Lock()
	switch {
	case b.closed:
		b.mu.Unlock()
		return nil, fmt.Errorf("listen on %s: %w", proto, ErrClosed)
	case b.listeners[proto] != nil:
		b.mu.Unlock()
		return nil, fmt.Errorf("listen on %s: %w", proto, ErrRegistered)
	}
	b.listeners[proto] = l
	b.nextEntry++
	l.id = b.nextEntry
	b.mu.Unlock()
	unhandle, err := b.opts.Handle(proto, l.handle)
	if err != nil {
		b.forget(l)
		return nil, fmt.Errorf("listen: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unhandle = unhandle
	if l.closed { // by Bridge.Close, or by a caller that found it in the registry
		unhandle()
		b.forget(l)
		return nil, fmt.Errorf("listen on %s: %w", proto, ErrClosed)
	}
	l.tell(Added)
	return l, nil
}

func checkListen(proto protocol.ID, target Target, c ListenConfig) error {
	if err := CheckName(proto, c.CustomProtocol); err != nil {
		return err
	}
	if f, isFunc := target.(funcTarget); target == nil || isFunc && f == nil {
		return errors.New("there is no target: it is nil")
	}
	if _, dialled := target.(*dialTarget); c.ReportPeer && !dialled {
		return fmt.Errorf("the target %s is not dialled, so the peer's id cannot be reported to it", target)
	}
	return checkConfig(c)
}

func checkConfig(c ListenConfig) error {
	if err := checkDescription(c.Announce); err != nil {
		return err
	}
	if c.Limits.Streams < 0 || c.Limits.StreamsPerPeer < 0 || c.Limits.Rate < 0 {
		return errors.New("a limit is negative")
	}
	return nil
}

func checkDescription(s string) error {
	if len(s) > MaxDescription {
		return fmt.Errorf("the description is longer than %d bytes", MaxDescription)
	}
	if !utf8.ValidString(s) {
		return errors.New("the description is not UTF-8")
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("the description holds the character %U", r)
		}
	}
	return nil
}

// Protocol returns the name under which peers open streams.
func (l *Listener) Protocol() protocol.ID { return l.protocol }

// Close stops accepting streams. Open streams stay open. It may be called more than once.
func (l *Listener) Close() error {
	l.mu.Lock()
	closed, unhandle := l.closed, l.unhandle
	l.closed = true
	l.mu.Unlock()
	if closed || unhandle == nil {
		return nil
	}
	unhandle()
	l.bridge.forget(l)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tell(Removed)
	return nil
}

func (b *Bridge) forget(l *Listener) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.listeners[l.protocol] == l {
		delete(b.listeners, l.protocol)
	}
}

// Update changes the access list and the limits, from the next stream on. Open streams
// stay open; a new rate also applies to those that were opened under a rate. f must not
// call methods of the listener.
func (l *Listener) Update(f func(a *Access, m *Limits)) error {
	l.mu.Lock()
	defer l.mu.Unlock() // even if f panics
	if l.closed {
		return fmt.Errorf("update the listener of %s: %w", l.protocol, net.ErrClosed)
	}
	config := l.config
	config.Access = config.Access.clone()
	f(&config.Access, &config.Limits)
	config.Access = config.Access.clone() // f may keep and change its copy
	if err := checkConfig(config); err != nil {
		return fmt.Errorf("update the listener of %s: %w", l.protocol, err)
	}
	switch rate := config.Limits.Rate; {
	case rate == l.config.Limits.Rate:
	case l.rates == nil:
		l.rates = newRates(rate)
	default:
		l.rates.set(rate)
	}
	l.config = config
	l.tell(Changed)
	return nil
}

// Info describes the listener as it is now.
func (l *Listener) Info() ListenerInfo {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.info()
}

// info is called with l.mu held.
func (l *Listener) info() ListenerInfo {
	info := ListenerInfo{
		ID:           l.id,
		Protocol:     l.protocol,
		Listen:       "/p2p/" + l.bridge.opts.Host.ID().String(),
		Target:       l.target.String(),
		ListenConfig: l.config,
		Live:         l.streams,
		Total:        l.total,
		Refused:      l.refused,
	}
	info.Access = l.config.Access.clone()
	return info
}

// ListenerInfo describes a listener.
type ListenerInfo struct {
	ID       uint64      `json:"id"` // never reused; unique among listeners and forwards
	Protocol protocol.ID `json:"protocol"`
	Listen   string      `json:"listen"` // /p2p/<this node>
	Target   string      `json:"target"`
	ListenConfig
	Live    int    `json:"live"`    // open streams
	Total   uint64 `json:"total"`   // streams admitted
	Refused uint64 `json:"refused"` // streams refused
}

// tell emits a change. It is called with l.mu held, so that changes come in order.
func (l *Listener) tell(a Action) {
	info := l.info()
	l.bridge.changes.Emit(Change{Action: a, Listener: &info})
}

// handle serves one stream.
func (l *Listener) handle(s network.Stream) {
	b := l.bridge
	if !b.enter() {
		_ = s.Reset()
		return
	}
	defer b.tasks.Done()
	c := b.newConn(s, true, l.protocol)
	c.origin, c.target = Addr{Peer: c.peer}.String(), l.target.String()
	refusal := l.admit(c)
	if err := b.add(c); err != nil {
		_ = s.Reset()
		return
	}
	if refusal != "" {
		c.abort(&Error{Reason: refusal})
		return
	}
	defer c.Close() // unless it has ended already
	defer b.opts.Program.Enter()()
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	var err error
	if panicked := b.supervisor.Run("stream "+string(l.protocol), nil, func() { err = l.target.Serve(ctx, c) }); panicked != nil {
		err = panicked
	}
	if err != nil {
		b.log.Warn("a stream of a peer came to nothing", "protocol", l.protocol, "peer", c.peer, "target", l.target, "error", err)
		c.abort(errorOf(err, TargetFailed))
	}
}

// admit counts a stream in, or returns the reason why it is refused.
func (l *Listener) admit(c *Conn) Reason {
	l.mu.Lock()
	defer l.mu.Unlock()
	limits := l.config.Limits
	switch {
	case l.closed:
		return NoSuchProtocol
	case !l.config.Access.Permits(c.peer):
		l.refused++
		return NotAllowed
	case limits.Streams > 0 && l.streams >= limits.Streams,
		limits.StreamsPerPeer > 0 && l.live[c.peer] >= limits.StreamsPerPeer:
		l.refused++
		return TooMany
	}
	l.live[c.peer]++
	l.streams++
	l.total++
	c.reportPeer = l.config.ReportPeer
	if l.config.Limits.Rate > 0 {
		c.rates = l.rates
	}
	c.onEnd = func() { l.leave(c.peer) }
	return ""
}

func (l *Listener) leave(p peer.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.streams--
	l.live[p]--
	if l.live[p] == 0 {
		delete(l.live, p)
	}
}
