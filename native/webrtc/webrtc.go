// Package webrtc makes WebRTC connections with pion, for the transport of package
// core/webrtc: between a process and a tab, or between two processes, that a relay
// introduced to each other.
package webrtc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/pion/datachannel"
	"github.com/pion/ice/v4"
	"github.com/pion/logging"
	pion "github.com/pion/webrtc/v4"

	"github.com/tombolo-net/tombolo/core/webrtc"
)

// Platform makes connections with pion, each with its own UDP port. It may be used
// concurrently.
type Platform struct {
	api  *pion.API
	stun func() []string
}

var _ webrtc.Platform = (*Platform)(nil)

// Options configure a Platform. The zero value is usable.
type Options struct {
	// Loopback also offers peers the addresses of the loopback interface. It is for a node
	// that listens there.
	Loopback bool
	// STUN returns the stun: URLs of the servers that the next connection asks for this
	// end's public address. If nil, there are none, and peers are offered the addresses of
	// the interfaces only.
	STUN func() []string
}

// maxReceived is the maximum size of a received message, in bytes: the most that browsers
// send.
const maxReceived = 256 << 10

// New returns a Platform.
func New(o Options) *Platform {
	var e pion.SettingEngine
	e.DetachDataChannels()
	e.SetIncludeLoopbackCandidate(o.Loopback)
	// Each connection would bind port 5353, and none needs mDNS: a tab tries the addresses
	// that it is offered, and is recognised by its attempts.
	e.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	e.SetNetworkTypes([]pion.NetworkType{pion.NetworkTypeUDP4, pion.NetworkTypeUDP6})
	e.SetSCTPMaxMessageSize(maxReceived)
	e.LoggerFactory = silent{}
	return &Platform{api: pion.NewAPI(pion.WithSettingEngine(e)), stun: o.STUN}
}

// silent keeps pion from writing to stderr: errors that matter are returned.
type silent struct{}

func (silent) NewLogger(string) logging.LeveledLogger {
	l := logging.NewDefaultLeveledLoggerForScope("", logging.LogLevelDisabled, io.Discard)
	return l
}

// peerConnection is a connection of pion.
type peerConnection struct {
	pc      *pion.PeerConnection
	events  webrtc.Events
	lows    chan struct{} // some channel's buffer has become low; capacity 1
	closed  chan struct{}
	once    sync.Once
	running sync.WaitGroup // the reader of each channel, and tellLow

	mu     sync.Mutex
	closes bool // no more readers start
}

var _ webrtc.PeerConnection = (*peerConnection)(nil)

func (p *Platform) New(e webrtc.Events) (webrtc.PeerConnection, error) {
	var config pion.Configuration
	if p.stun != nil {
		if urls := p.stun(); len(urls) > 0 {
			config.ICEServers = []pion.ICEServer{{URLs: urls}}
		}
	}
	pc, err := p.api.NewPeerConnection(config)
	if err != nil {
		return nil, err
	}
	c := &peerConnection{pc: pc, events: e, lows: make(chan struct{}, 1), closed: make(chan struct{})}
	pc.OnICECandidate(func(candidate *pion.ICECandidate) {
		if candidate == nil {
			return // no more candidates
		}
		if b, err := json.Marshal(candidate.ToJSON()); err == nil {
			e.Candidate(string(b))
		}
	})
	pc.OnConnectionStateChange(func(s pion.PeerConnectionState) {
		switch s {
		case pion.PeerConnectionStateConnected:
			e.Connected()
		case pion.PeerConnectionStateFailed:
			e.Ended(whyFailed(pc))
		case pion.PeerConnectionStateClosed:
			e.Ended(errClosed)
		}
	})
	pc.SCTP().OnClose(func(error) { e.Ended(errClosed) })
	pc.OnDataChannel(func(d *pion.DataChannel) { e.Channel(d.Label(), &channel{conn: c, channel: d}) })
	c.running.Go(c.tellLow)
	return c, nil
}

var errClosed = errors.New("the WebRTC connection was closed by the peer")

// whyFailed returns the reason why a connection failed: DTLS, if ICE has a path, or else
// ICE.
func whyFailed(pc *pion.PeerConnection) error {
	switch pc.ICEConnectionState() {
	case pion.ICEConnectionStateConnected, pion.ICEConnectionStateCompleted:
		return webrtc.ErrCertificate
	}
	return webrtc.ErrUnanswered
}

// tellLow calls Events.Low outside of pion's locks: pion holds them while it calls back.
func (c *peerConnection) tellLow() {
	for {
		select {
		case <-c.lows:
			c.events.Low()
		case <-c.closed:
			return
		}
	}
}

func (c *peerConnection) Offer(context.Context) (string, error) {
	offer, err := c.pc.CreateOffer(nil)
	if err == nil {
		err = c.pc.SetLocalDescription(offer)
	}
	return offer.SDP, err
}

func (c *peerConnection) Answer(_ context.Context, offer string) (string, error) {
	if err := c.pc.SetRemoteDescription(pion.SessionDescription{Type: pion.SDPTypeOffer, SDP: offer}); err != nil {
		return "", err
	}
	answer, err := c.pc.CreateAnswer(nil)
	if err == nil {
		err = c.pc.SetLocalDescription(answer)
	}
	return answer.SDP, err
}

func (c *peerConnection) Accept(_ context.Context, answer string) error {
	return c.pc.SetRemoteDescription(pion.SessionDescription{Type: pion.SDPTypeAnswer, SDP: answer})
}

func (c *peerConnection) AddCandidate(_ context.Context, candidate string) error {
	var init pion.ICECandidateInit
	if err := json.Unmarshal([]byte(candidate), &init); err != nil {
		return fmt.Errorf("%.100q is not a candidate: %w", candidate, err)
	}
	return c.pc.AddICECandidate(init)
}

func (c *peerConnection) OpenChannel(_ context.Context, label, protocol string) (webrtc.Channel, error) {
	return c.newChannel(label, &pion.DataChannelInit{Protocol: &protocol})
}

func (c *peerConnection) FirstChannel(context.Context) (webrtc.Channel, error) {
	negotiated, id := true, uint16(0)
	return c.newChannel("", &pion.DataChannelInit{Negotiated: &negotiated, ID: &id})
}

func (c *peerConnection) newChannel(label string, init *pion.DataChannelInit) (webrtc.Channel, error) {
	d, err := c.pc.CreateDataChannel(label, init)
	if err != nil {
		return nil, err
	}
	return &channel{conn: c, channel: d}, nil
}

// begin runs f in a goroutine that Close waits for. If Close was called already, it
// returns false.
func (c *peerConnection) begin(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closes {
		return false
	}
	c.running.Go(f)
	return true
}

// Close closes the connection and waits for all its goroutines, including pion's.
func (c *peerConnection) Close() error {
	var err error
	c.once.Do(func() {
		c.mu.Lock()
		c.closes = true
		c.mu.Unlock()
		close(c.closed)
		err = c.pc.GracefulClose()
	})
	c.running.Wait()
	return err
}

// channel is a data channel of pion.
type channel struct {
	conn    *peerConnection
	channel *pion.DataChannel
	handler webrtc.ChannelHandler

	mu      sync.Mutex
	open    *datachannel.DataChannel // nil until it is open
	closing bool                     // Close was called
}

var _ webrtc.Channel = (*channel)(nil)

func (ch *channel) Handle(h webrtc.ChannelHandler) {
	ch.handler = h
	ch.channel.OnOpen(ch.opened)
}

// opened is called by pion in a goroutine that pion does not wait for when it closes.
func (ch *channel) opened() {
	detached, err := ch.channel.Detach()
	if err != nil {
		ch.handler.Closed()
		return
	}
	open := detached.(*datachannel.DataChannel)
	open.OnBufferedAmountLow(func() {
		select {
		case ch.conn.lows <- struct{}{}:
		default:
		}
	})
	ch.mu.Lock()
	ch.open = open
	ch.mu.Unlock()
	began := ch.conn.begin(func() {
		ch.handler.Opened()
		ch.mu.Lock()
		closing := ch.closing
		ch.mu.Unlock()
		if closing {
			_ = open.Close()
		}
		ch.read(open)
	})
	if !began {
		_ = open.Close()
		ch.handler.Closed()
	}
}

// startBuffer is the initial size of a channel's read buffer, which grows to the size of
// the messages that the peer sends.
const startBuffer = 4 << 10

func (ch *channel) read(open *datachannel.DataChannel) {
	defer ch.handler.Closed()
	defer open.Close()
	b := make([]byte, startBuffer)
	for {
		n, err := open.Read(b)
		switch {
		case errors.Is(err, io.ErrShortBuffer) && len(b) < maxReceived: // the message is still there
			b = make([]byte, min(4*len(b), maxReceived))
		case err != nil:
			return
		default:
			ch.handler.Message(b[:n])
		}
	}
}

func (ch *channel) opening() *datachannel.DataChannel {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return ch.open
}

func (ch *channel) Send(b []byte) error {
	_, err := ch.opening().Write(b)
	return err
}

func (ch *channel) Buffered() int {
	return int(ch.opening().BufferedAmount())
}

func (ch *channel) SetLow(bytes int) { ch.opening().SetBufferedAmountLowThreshold(uint64(bytes)) }

func (ch *channel) Close() {
	ch.mu.Lock()
	ch.closing = true
	open := ch.open
	ch.mu.Unlock()
	if open != nil {
		_ = open.Close()
	}
}
