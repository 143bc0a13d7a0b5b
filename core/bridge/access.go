package bridge

import (
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Access lists the peers that may use a listener. The zero value admits every peer.
type Access struct {
	Allow []peer.ID `json:"allow,omitempty"` // if not empty, only these peers may use the listener
	Deny  []peer.ID `json:"deny,omitempty"`  // these may not, even if allowed
}

// Permits reports whether a peer may use the listener.
func (a Access) Permits(p peer.ID) bool {
	if slices.Contains(a.Deny, p) {
		return false
	}
	return len(a.Allow) == 0 || slices.Contains(a.Allow, p)
}

func (a Access) clone() Access { return Access{slices.Clone(a.Allow), slices.Clone(a.Deny)} }

// Limits bound a listener. The zero value sets no limits beyond those that the host sets
// for each peer.
type Limits struct {
	Streams        int   `json:"streams,omitempty"`        // open at a time; further ones are refused with TooMany
	StreamsPerPeer int   `json:"streamsPerPeer,omitempty"` // open at a time, for each peer
	Rate           int64 `json:"rate,omitempty"`           // bytes a second in each direction, all streams together
}
