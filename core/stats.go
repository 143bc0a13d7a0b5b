package core

import (
	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/core/direct"
	"github.com/tombolo-net/tombolo/core/discovery"
	"github.com/tombolo-net/tombolo/core/dispatch"
	"github.com/tombolo-net/tombolo/core/link"
	"github.com/tombolo-net/tombolo/core/mesh"
)

// Stats is a snapshot of a node's state, and of its counters since it was made. Its parts
// are taken one after the other.
type Stats struct {
	Peers        int // connected
	Connections  int
	Reservations int

	Dispatch  dispatch.Stats  // deliveries to subscriptions of this node
	Links     link.Stats      // messages to and from peers
	Mesh      mesh.Stats      // broadcasts
	Discovery discovery.Stats // searches for peers by ID
	Bridge    bridge.Stats    // streams to and from services
	Direct    direct.Stats    // attempts to reach peers without a relay; zero if the node makes none
}

// Stats returns a snapshot. It may be called after Close.
func (n *Node) Stats() Stats {
	s := Stats{
		Peers:        len(n.host.Network().Peers()),
		Connections:  len(n.host.Network().Conns()),
		Reservations: len(n.Reservations()),
		Dispatch:     n.dispatcher.Stats(),
		Links:        n.links.Stats(),
		Mesh:         n.mesh.Stats(),
		Discovery:    n.discovery.Stats(),
		Bridge:       n.bridge.Stats(),
	}
	if n.direct != nil {
		s.Direct = n.direct.Stats()
	}
	return s
}
