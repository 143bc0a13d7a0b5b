package control

import (
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/bridge"
)

// Status describes a daemon.
type Status struct {
	ID           peer.ID       `json:"id"`
	Version      string        `json:"version"`
	Network      string        `json:"network"`
	PID          int           `json:"pid"`
	Started      time.Time     `json:"started"`
	Addrs        []string      `json:"addrs"`  // that the daemon is reachable at
	Relays       []string      `json:"relays"` // as configured
	STUN         []string      `json:"stun"`   // stun: URLs of relays, which report the address from which they see this machine
	Reservations []Reservation `json:"reservations"`
	Gateway      string        `json:"gateway,omitempty"` // its URL
	Peers        int           `json:"peers"`
	Listeners    int           `json:"listeners"`
	Forwards     int           `json:"forwards"`
	Streams      int           `json:"streams"`
}

// Reservation is a reservation on a relay, through which the daemon is reachable.
type Reservation struct {
	Relay   peer.ID   `json:"relay"`
	Addrs   []string  `json:"addrs"`
	Expires time.Time `json:"expires"`
}

// Peer is a connected peer; see core.Peer.
type Peer struct {
	ID          peer.ID   `json:"id"`
	Agent       string    `json:"agent"`
	Addr        string    `json:"addr"`
	Addrs       []string  `json:"addrs"`
	Transport   string    `json:"transport"`
	Direction   string    `json:"direction"` // inbound or outbound
	Relay       peer.ID   `json:"relay,omitempty"`
	RTT         float64   `json:"rttMs,omitempty"` // 0 until measured
	Since       time.Time `json:"since"`
	Connections int       `json:"connections"`
}

func peerOf(p core.Peer) Peer {
	addrs := make([]string, len(p.Addrs))
	for i, a := range p.Addrs {
		addrs[i] = a.String()
	}
	return Peer{
		ID:          p.ID,
		Agent:       p.Agent,
		Addr:        p.Addr.String(),
		Addrs:       addrs,
		Transport:   p.Transport,
		Direction:   strings.ToLower(p.Direction.String()),
		Relay:       p.Relay,
		RTT:         milliseconds(p.RTT),
		Since:       p.Since,
		Connections: p.Conns,
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// None is the argument of a call without arguments, and the answer without content.
type None struct{}

// PeerCall is the argument of a call about one peer, written as tunnels.ResolvePeer takes
// it.
type PeerCall struct {
	Peer string `json:"peer"`
}

// Pong is the result of a ping: one measured round trip.
type Pong struct {
	Peer peer.ID `json:"peer"`
	RTT  float64 `json:"rttMs"`
}

// AccessCall changes which peers may use a listener, and its limits. Remove takes peers
// off both lists; Anyone empties the lists first. A nil limit stays as it is.
type AccessCall struct {
	Protocol       protocol.ID `json:"protocol"`
	Anyone         bool        `json:"anyone,omitempty"`
	Allow          []peer.ID   `json:"allow,omitempty"`
	Deny           []peer.ID   `json:"deny,omitempty"`
	Remove         []peer.ID   `json:"remove,omitempty"`
	Streams        *int        `json:"streams,omitempty"`
	StreamsPerPeer *int        `json:"streamsPerPeer,omitempty"`
	Rate           *int64      `json:"rate,omitempty"`
}

// Closed reports the number of connections, tunnels or streams that were closed.
type Closed struct {
	Closed int `json:"closed"`
}

// StreamsCall asks for the open streams, or for those that have ended.
type StreamsCall struct {
	Ended bool    `json:"ended,omitempty"`
	ID    *uint64 `json:"id,omitempty"` // only that one, open or ended
}

// CloseStreamsCall selects streams to reset.
type CloseStreamsCall struct {
	All bool     `json:"all,omitempty"`
	IDs []uint64 `json:"ids,omitempty"`
}

// Offer is a service that a peer announces.
type Offer struct {
	Peer peer.ID `json:"peer"`
	bridge.Service
}

// MessageCall sends a message; Peer is empty for a broadcast.
type MessageCall struct {
	Peer string `json:"peer,omitempty"`
	Type string `json:"type"`
	Data []byte `json:"data"`
	Wait bool   `json:"wait,omitempty"` // with a broadcast: until a peer is subscribed to the type
}

// Reply is a peer's answer to a request.
type Reply struct {
	Data []byte `json:"data"`
}

// SubscribeCall subscribes to messages of a type, or of a pattern such as room/*.
type SubscribeCall struct {
	Type   string `json:"type"`
	Buffer int    `json:"buffer,omitempty"` // messages; if zero, dispatch's default
}

// Message is a received message. Missed is the number of messages before it that this
// subscription dropped.
type Message struct {
	From      peer.ID `json:"from"`
	Type      string  `json:"type"`
	ID        string  `json:"id"`
	Data      []byte  `json:"data"`
	Missed    uint64  `json:"missed,omitempty"`
	Broadcast bool    `json:"broadcast,omitempty"`
}

// DialCall opens a stream to a peer; the connection of the call becomes the stream. See
// Client.Dial.
type DialCall struct {
	Peer           string      `json:"peer"`
	Protocol       protocol.ID `json:"protocol"`
	CustomProtocol bool        `json:"allowCustomProtocol,omitempty"`
	// DeclaresEnd makes the end of the connection a failure, unless the caller has declared
	// the end of its side with dial/end. A caller that is killed then resets the stream.
	DeclaresEnd bool `json:"declaresEnd,omitempty"`
}

// DialEndCall declares that a dialled stream was sent all that there is to send.
type DialEndCall struct {
	ID uint64 `json:"id"` // of the stream
}

// EchoCall asks a peer to echo bytes, to measure the connection.
type EchoCall struct {
	Peer  string `json:"peer"`
	Bytes int    `json:"bytes"`
}

// Echoed reports how long an echo took.
type Echoed struct {
	Peer    peer.ID `json:"peer"`
	Bytes   int     `json:"bytes"`
	Seconds float64 `json:"seconds"`
}
