package webrtc

import "context"

// A Platform makes peer connections: pion in a process, the browser in a tab.
// It may be used concurrently.
type Platform interface {
	// New makes a peer connection and tells e what happens to it. On error nothing
	// is left behind.
	New(e Events) (PeerConnection, error)
}

// A PeerConnection is a WebRTC connection of the platform, in the few words that a
// libp2p connection needs. All methods may be called concurrently; they return when
// ctx ends.
type PeerConnection interface {
	// Offer makes an offer, has the connection begin with it and returns its SDP.
	// A channel must have been opened, or there is nothing to connect.
	Offer(ctx context.Context) (sdp string, err error)
	// Answer takes the offer of the other end, and returns the SDP of the answer,
	// with which the connection has begun.
	Answer(ctx context.Context, offer string) (sdp string, err error)
	// Accept takes the answer of the other end to the offer.
	Accept(ctx context.Context, answer string) error
	// AddCandidate takes a candidate of the other end: the JSON of an
	// RTCIceCandidateInit.
	AddCandidate(ctx context.Context, candidate string) error
	// OpenChannel makes an ordered, reliable data channel. It does not wait until the
	// channel is open. The caller calls Handle at once.
	OpenChannel(ctx context.Context, label string) (Channel, error)
	// FirstChannel makes the ordered, reliable data channel with the id 0 and no label,
	// which the other end makes, too, without being told. It comes before the offer. The
	// caller calls Handle at once.
	FirstChannel(ctx context.Context) (Channel, error)
	// Close ends the connection and all its channels. It may be called again, and
	// does not wait for a function of Events.
	Close() error
}

// Events are the functions that a PeerConnection calls. They return at once, and none
// is called before New has returned.
type Events struct {
	// Candidate tells a candidate of this end, as JSON.
	Candidate func(candidate string)
	// Connected tells that the two ends speak.
	Connected func()
	// Ended tells that the connection has failed, or that the other end has closed it. The
	// error is ErrUnanswered if the other end does not answer, and ErrCertificate if its
	// certificate is not the one that was described.
	Ended func(err error)
	// Channel takes a channel that the other end has opened. It calls Handle, or
	// closes the channel.
	Channel func(label string, ch Channel)
	// Low tells that what a channel has buffered has fallen: see Channel.SetLow.
	Low func()
}

// A Channel is a data channel. All methods may be called concurrently, and none
// blocks.
type Channel interface {
	// Handle sets the receiver of what happens to the channel. It is called once.
	Handle(h ChannelHandler)
	// Send sends one message. It is called between Opened and Closed only, and does
	// not keep b.
	Send(b []byte) error
	// Buffered is the number of bytes that were sent and have not left yet.
	Buffered() int
	// SetLow sets the number of bytes at which Events.Low is called, when Buffered
	// falls to it.
	SetLow(bytes int)
	// Close closes the channel after what has been sent, and not before Opened has
	// returned. It may be called again.
	Close()
}

// A ChannelHandler receives what happens to a Channel. Its methods return at once,
// and are called one at a time.
type ChannelHandler interface {
	// Opened comes once, before Send is called. Messages may come before it.
	Opened()
	// Message is a message of the other end; b is valid during the call.
	Message(b []byte)
	// Closed comes last, whoever closed the channel. It may be missing where the
	// connection was closed.
	Closed()
}
