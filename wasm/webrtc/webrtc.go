//go:build js

// Package webrtc makes the browser's WebRTC connections, for the transport of package
// core/webrtc: between two tabs, or between a tab and a process, that a relay introduced
// to each other. It works with any go-libp2p host for GOOS=js that dials circuits:
//
//	t, err := core.AddTransport(h, webrtc.New(webrtc.Options{}), core.Options{})
//
// A core.Dialler, which dials WebRTC-direct, accepts it, too:
//
//	d, err := core.NewDialler(key, webrtc.New(webrtc.Options{}), core.DiallerOptions{})
//
// A page has RTCPeerConnection, and a worker does not. There, Options.Constructor takes a
// substitute; data channels themselves can be transferred from a page to a dedicated
// worker.
//
// A platform may ask its user before it lets a page make a connection, and may have none
// left; Dial then fails.
package webrtc

import (
	"context"
	"errors"
	"fmt"
	"syscall/js"

	"github.com/tombolo-net/tombolo/core/webrtc"
	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

// Options configure a Platform. The zero value is usable if Available returns true.
type Options struct {
	// Constructor constructs objects with those parts of RTCPeerConnection's interface that
	// this package uses; their createDataChannel may return a promise. If undefined, the
	// global RTCPeerConnection.
	Constructor js.Value
	// STUN returns the stun: URLs of the servers that the next connection asks for this
	// end's public address. If nil, there are none, and peers are offered the addresses of
	// the interfaces only.
	STUN func() []string
}

// Available reports whether the platform has RTCPeerConnection here. Workers and Node.js
// do not.
func Available() bool { return !js.Global().Get(constructorName).IsUndefined() }

const constructorName = "RTCPeerConnection"

// Platform makes the browser's connections. It may be used concurrently.
type Platform struct {
	constructor js.Value
	stun        func() []string
}

var _ webrtc.Platform = (*Platform)(nil)

// New returns a Platform.
func New(o Options) *Platform {
	p := &Platform{constructor: o.Constructor, stun: o.STUN}
	if p.constructor.IsUndefined() {
		p.constructor = js.Global().Get(constructorName)
	}
	return p
}

// config returns the RTCConfiguration of a new connection.
func (p *Platform) config() map[string]any {
	servers := []any{}
	if p.stun != nil {
		for _, url := range p.stun() {
			servers = append(servers, map[string]any{"urls": url})
		}
	}
	return map[string]any{"iceServers": servers}
}

var json = js.Global().Get("JSON")

// peerConnection is an RTCPeerConnection. All of it runs on JavaScript's thread.
type peerConnection struct {
	pc       js.Value
	events   webrtc.Events
	handler  js.Func // of every event of the connection
	sctp     js.Value
	channels map[*channel]struct{} // those whose js.Func is not released
	closed   bool
}

var _ webrtc.PeerConnection = (*peerConnection)(nil)

func (p *Platform) New(e webrtc.Events) (webrtc.PeerConnection, error) {
	if p.constructor.IsUndefined() {
		return nil, errors.New("the platform has no RTCPeerConnection here")
	}
	pc, err := jsio.Try(func() js.Value { return p.constructor.New(p.config()) })
	if err != nil { // a tab may have some 500, closed ones included until they are collected
		return nil, err
	}
	c := &peerConnection{pc: pc, events: e, sctp: js.Null(), channels: make(map[*channel]struct{})}
	c.handler = jsio.NewFunc(func(_ js.Value, args []js.Value) any {
		c.happened(jsio.First(args))
		return nil
	})
	for _, event := range []string{"onicecandidate", "onconnectionstatechange", "ondatachannel"} {
		pc.Set(event, c.handler)
	}
	return c, nil
}

// happened handles an event of the connection. An incoming channel gets its handlers
// before happened returns; otherwise its messages would be lost.
func (c *peerConnection) happened(event js.Value) {
	if c.closed {
		return
	}
	switch event.Get("type").String() {
	case "icecandidate":
		if candidate := event.Get("candidate"); candidate.Truthy() {
			c.events.Candidate(json.Call("stringify", candidate).String())
		}
	case "connectionstatechange":
		switch c.pc.Get("connectionState").String() {
		case "connected":
			c.events.Connected()
		case "failed":
			c.events.Ended(c.whyFailed())
		case "closed":
			c.events.Ended(errClosed)
		}
	case "datachannel":
		ch := event.Get("channel")
		c.events.Channel(ch.Get("label").String(), c.newChannel(renewed(ch)))
	case "statechange": // of SCTP: the connection's own state does not change for seconds
		if c.sctp.Get("state").String() == "closed" {
			c.events.Ended(errClosed)
		}
	}
}

// whyFailed returns the reason why the connection failed: DTLS, if ICE has a path, or
// else ICE.
func (c *peerConnection) whyFailed() error {
	switch c.pc.Get("iceConnectionState").String() {
	case "connected", "completed":
		return webrtc.ErrCertificate
	}
	return webrtc.ErrUnanswered
}

var errClosed = errors.New("the WebRTC connection was closed by the peer")

// do calls a method that returns a promise, and waits for its result.
func (c *peerConnection) do(ctx context.Context, method string, args ...any) (js.Value, error) {
	promise, err := jsio.Try(func() js.Value { return c.pc.Call(method, args...) })
	if err != nil {
		return promise, err
	}
	return jsio.Await(ctx, js.Global().Get("Promise").Call("resolve", promise))
}

// describe sets the description that createOffer or createAnswer makes, and returns its
// SDP.
func (c *peerConnection) describe(ctx context.Context, create string) (string, error) {
	description, err := c.do(ctx, create)
	if err == nil {
		_, err = c.do(ctx, "setLocalDescription", description)
	}
	if err != nil {
		return "", err
	}
	return description.Get("sdp").String(), nil
}

// take sets the description of the other end.
func (c *peerConnection) take(ctx context.Context, kind, sdp string) error {
	description := js.Global().Get("Object").New()
	description.Set("type", kind)
	description.Set("sdp", sdp)
	_, err := c.do(ctx, "setRemoteDescription", description)
	return err
}

// followSCTP watches for the end of SCTP, which exists once both descriptions are set.
func (c *peerConnection) followSCTP() {
	if sctp := c.pc.Get("sctp"); sctp.Truthy() && !c.closed {
		c.sctp = sctp
		sctp.Set("onstatechange", c.handler)
	}
}

func (c *peerConnection) Offer(ctx context.Context) (string, error) {
	return c.describe(ctx, "createOffer")
}

func (c *peerConnection) Answer(ctx context.Context, offer string) (string, error) {
	if err := c.take(ctx, "offer", offer); err != nil {
		return "", err
	}
	sdp, err := c.describe(ctx, "createAnswer")
	c.followSCTP()
	return sdp, err
}

func (c *peerConnection) Accept(ctx context.Context, answer string) error {
	err := c.take(ctx, "answer", answer)
	c.followSCTP()
	return err
}

func (c *peerConnection) AddCandidate(ctx context.Context, candidate string) error {
	init, err := jsio.Try(func() js.Value { return json.Call("parse", candidate) })
	if err != nil {
		return fmt.Errorf("%.100q is not a candidate: %w", candidate, err)
	}
	_, err = c.do(ctx, "addIceCandidate", init)
	return err
}

func (c *peerConnection) OpenChannel(ctx context.Context, label, protocol string) (webrtc.Channel, error) {
	return c.createChannel(ctx, label, map[string]any{"protocol": protocol})
}

func (c *peerConnection) FirstChannel(ctx context.Context) (webrtc.Channel, error) {
	return c.createChannel(ctx, "", map[string]any{"negotiated": true, "id": 0})
}

// createChannel calls createDataChannel.
func (c *peerConnection) createChannel(ctx context.Context, args ...any) (webrtc.Channel, error) {
	ch, err := c.do(ctx, "createDataChannel", args...)
	if err != nil {
		return nil, err
	}
	return c.newChannel(ch), nil
}

// Close closes the connection and releases all functions of Go. No event follows it.
func (c *peerConnection) Close() error {
	if c.closed {
		return nil
	}
	c.closed = true
	for _, event := range []string{"onicecandidate", "onconnectionstatechange", "ondatachannel"} {
		c.pc.Set(event, js.Null())
	}
	if c.sctp.Truthy() {
		c.sctp.Set("onstatechange", js.Null())
	}
	for ch := range c.channels {
		ch.release()
	}
	_, err := jsio.Try(func() js.Value { return c.pc.Call("close") })
	jsio.Release(c.handler)
	return err
}
