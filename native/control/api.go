package control

import (
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/bridge"
)

// Status is what a daemon says of itself.
type Status struct {
	ID           peer.ID       `json:"id"`
	Version      string        `json:"version"`
	Network      string        `json:"network"`
	PID          int           `json:"pid"`
	Started      time.Time     `json:"started"`
	Addrs        []string      `json:"addrs"`  // where it can be dialled
	Relays       []string      `json:"relays"` // that it was given
	STUN         []string      `json:"stun"`   // stun: URLs of relays, which tell the address that they see this machine at
	Reservations []Reservation `json:"reservations"`
	Gateway      string        `json:"gateway,omitempty"` // its URL
	Peers        int           `json:"peers"`
	Listeners    int           `json:"listeners"`
	Forwards     int           `json:"forwards"`
	Streams      int           `json:"streams"`
}

// Reservation is a place on a relay, through which the daemon can be dialled.
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

// None is a call without arguments.
type None struct{}

// PeerCall is a call about one peer, named as tunnels.ResolvePeer takes it.
type PeerCall struct {
	Peer string `json:"peer"`
}

// Pong is one measured round trip.
type Pong struct {
	Peer peer.ID `json:"peer"`
	RTT  float64 `json:"rttMs"`
}

// AccessCall changes who may use a listener and how much. Remove takes peers out
// of both lists; Anyone empties them first. A nil limit stays as it is.
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

// Closed says how much was closed.
type Closed struct {
	Closed int `json:"closed"`
}

// StreamsCall asks for live streams, or for those that have ended.
type StreamsCall struct {
	Ended bool    `json:"ended,omitempty"`
	ID    *uint64 `json:"id,omitempty"` // that one only, living or ended
}

// CloseStreamsCall picks streams to reset.
type CloseStreamsCall struct {
	All bool     `json:"all,omitempty"`
	IDs []uint64 `json:"ids,omitempty"`
}

// Offer is a service of a peer.
type Offer struct {
	Peer peer.ID `json:"peer"`
	bridge.Service
}

// MessageCall sends a message; Peer is empty for a broadcast.
type MessageCall struct {
	Peer string `json:"peer,omitempty"`
	Type string `json:"type"`
	Data []byte `json:"data"`
	Wait bool   `json:"wait,omitempty"` // for a peer on the type, for a broadcast
}

// Reply is what a peer answered to a request.
type Reply struct {
	Data []byte `json:"data"`
}

// SubscribeCall hears messages of a type, or of a pattern as room/*.
type SubscribeCall struct {
	Type   string `json:"type"`
	Buffer int    `json:"buffer,omitempty"` // messages; if zero, dispatch's default
}

// Message is a message that was heard. Missed is how many before it were lost to
// this subscription.
type Message struct {
	From      peer.ID `json:"from"`
	Type      string  `json:"type"`
	ID        string  `json:"id"`
	Data      []byte  `json:"data"`
	Missed    uint64  `json:"missed,omitempty"`
	Broadcast bool    `json:"broadcast,omitempty"`
}

// DialCall opens a stream to a peer; the connection becomes it. See Client.Dial.
type DialCall struct {
	Peer           string      `json:"peer"`
	Protocol       protocol.ID `json:"protocol"`
	CustomProtocol bool        `json:"allowCustomProtocol,omitempty"`
}

// EchoCall has bytes echoed by a peer, to measure the way there.
type EchoCall struct {
	Peer  string `json:"peer"`
	Bytes int    `json:"bytes"`
}

// Echoed says how long an echo took.
type Echoed struct {
	Peer    peer.ID `json:"peer"`
	Bytes   int     `json:"bytes"`
	Seconds float64 `json:"seconds"`
}
