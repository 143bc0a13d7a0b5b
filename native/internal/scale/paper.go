package scale

import (
	"fmt"
	"io"
	"math"
)

// Figures that the paper calculation takes from docs/relay.md.
const (
	places     = 8192   // of a relay, by default
	nodeMemory = 144e3  // bytes that a Tombolo node costs a relay, over WebSocket
	ownMemory  = 50e6   // of the relay itself
	askEvery   = 30.0   // seconds between two questions of a watched type
	lineCost   = 76     // bytes of headers of a message: Noise, yamux, WebSocket, TCP, IP
	reportSize = 600    // bytes of what a page says of its connections, signed
	reports    = 25.6   // seconds between two questions for them, from 256 pages on
	check      = 100e-6 // seconds to check a signature
	mostTold   = 128    // members of a type on a relay above which it passes on only a share of the presence messages: see core/mesh
)

// paper prints what a relay would have to do for far more tabs than are simulated, from
// the cost of a presence message in the simulation.
func (f Found) paper(to io.Writer) {
	o, asked := f.Options, f.Asked.Total[presence]
	members := float64(o.Tabs / o.Types)
	words := float64(o.Types) * (members + 1)
	passes := float64(asked.SentMessages+asked.ReceivedMessages) / words / members
	size := float64(asked.bytes())/float64(asked.SentMessages+asked.ReceivedMessages) + lineCost
	fmt.Fprintf(to, "\non paper: a word of presence passes relays %.1f times for each member, with %.0f bytes each time\n", passes, size)
	fmt.Fprintf(to, "%9s %7s %9s %8s %12s %14s %14s %14s\n", "tabs", "relays", "memory", "members", "types/relay", "presence", "signatures", "page reports")
	for _, tabs := range []float64{1e3, 1e4, 1e5, 1e6} {
		relays := max(2, math.Ceil(tabs*float64(o.Reservations)/places))
		memory := ownMemory + tabs*float64(o.Reservations)/relays*nodeMemory
		for _, members := range []float64{10, 100, 1000, tabs} {
			// A type is on the relays of its members.
			share := 1 - math.Pow(1-1/relays, members*float64(o.Reservations))
			here := min(members, members*float64(o.Reservations)/relays) // members of a type on a relay
			told := min(1, mostTold/here)
			fmt.Fprintf(to, "%9.0f %7.0f %6.1f GB %8.0f %12.0f %9.1f MB/s %9.1f cores %9.1f MB/s\n",
				tabs, relays, memory/1e9, members, tabs/members*share,
				tabs/askEvery*members*told*passes*size/relays/1e6, tabs/askEvery*share*check,
				tabs*tabs/reports*passes*(reportSize+lineCost)/relays/1e6)
		}
	}
}
