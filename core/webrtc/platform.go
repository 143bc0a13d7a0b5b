package webrtc

import "context"

// A Platform makes peer connections: pion in a process, the browser in a tab. All methods
// may be called concurrently.
type Platform interface {
	// New makes a peer connection and reports its events to e. If it returns an error,
	// nothing is left behind.
	New(e Events) (PeerConnection, error)
}

// A PeerConnection is a WebRTC connection of the platform, reduced to what a libp2p
// connection needs. All methods may be called concurrently; they return when ctx ends.
type PeerConnection interface {
	// Offer makes an offer, starts the connection with it and returns its SDP. A channel
	// must have been opened before; otherwise there is nothing to connect.
	Offer(ctx context.Context) (sdp string, err error)
	// Answer takes the offer of the other end, starts the connection and returns the SDP
	// of the answer.
	Answer(ctx context.Context, offer string) (sdp string, err error)
	// Accept takes the answer of the other end to the offer.
	Accept(ctx context.Context, answer string) error
	// AddCandidate adds a candidate of the other end: the JSON of an RTCIceCandidateInit.
	AddCandidate(ctx context.Context, candidate string) error
	// OpenChannel opens an ordered, reliable data channel with a label and a protocol,
	// which the other end sees. It does not wait until the channel is open. The caller must
	// call Handle at once.
	OpenChannel(ctx context.Context, label, protocol string) (Channel, error)
	// FirstChannel opens the ordered, reliable data channel with the ID 0 and no label.
	// The other end opens it, too, without being asked. It is called before Offer. The
	// caller must call Handle at once.
	FirstChannel(ctx context.Context) (Channel, error)
	// Close ends the connection and all its channels. It may be called again, and does
	// not wait for a function of Events.
	Close() error
}

// Events are the functions that a PeerConnection calls. They must return at once, and
// none is called before New has returned.
type Events struct {
	// Candidate is called with a candidate of this end, as JSON.
	Candidate func(candidate string)
	// Connected is called when the two ends are connected.
	Connected func()
	// Ended is called when the connection has failed, or the other end has closed it. The
	// error wraps ErrUnanswered if the other end does not answer, and ErrCertificate if
	// its certificate is not the one that was described.
	Ended func(err error)
	// Channel is called with a channel that the other end has opened. It must call
	// Handle, or close the channel.
	Channel func(label string, ch Channel)
	// Low is called when the bytes that a channel has buffered have fallen: see
	// Channel.SetLow.
	Low func()
}

// A Channel is a data channel. All methods may be called concurrently, and none blocks.
type Channel interface {
	// Handle sets the receiver of the channel's events. It must be called once.
	Handle(h ChannelHandler)
	// Send sends one message. It may be called only between Opened and Closed, and does
	// not keep b.
	Send(b []byte) error
	// Buffered returns the number of bytes that were sent but have not left yet.
	Buffered() int
	// SetLow sets the number of bytes at which Events.Low is called when Buffered falls
	// to it.
	SetLow(bytes int)
	// Close closes the channel after what has been sent, and not before Opened has
	// returned. It may be called again.
	Close()
}

// A ChannelHandler receives the events of a Channel. Its methods must return at once, and
// are called one at a time.
type ChannelHandler interface {
	// Opened is called once, before Send may be called. Messages may come before it.
	Opened()
	// Message is called with a message of the other end; b is valid during the call.
	Message(b []byte)
	// Closed is called last, whichever end closed the channel. It may not be called if
	// the connection was closed.
	Closed()
}
