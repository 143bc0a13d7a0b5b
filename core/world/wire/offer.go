package wire

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"
)

// OfferType is the type that the peers are on that offer to hold rooms of a kind. Asked
// with a request of this type, whose data is an OfferQuestion as JSON, such a peer answers
// with an Offer.
func OfferType(kind string) string { return "world/offer/" + kind }

// MaxOffered bounds the rooms that a peer offers to hold.
const MaxOffered = MaxListed

// OfferQuestion asks a peer about a room of the kind that it offers.
type OfferQuestion struct {
	Name string `json:"name"`
	// Open has the peer hold the room, if it does not yet. Tags are for its game.
	Open bool              `json:"open,omitempty"`
	Tags map[string]string `json:"tags,omitempty"`
}

// Offer is what a peer says of its offer.
type Offer struct {
	Rooms    int  `json:"rooms"`    // that it holds of this kind
	MaxRooms int  `json:"maxRooms"` // that it would hold
	Holds    bool `json:"holds"`    // the one that is asked for is among them
}

// Rank orders the peers that offer rooms of a kind by how well a room would be placed at
// each, the best first. Every peer that knows the same offers finds the same order, and
// without asking a server: this is rendezvous hashing, with what each peer offers as its
// weight. When a peer comes or goes, only the rooms that it has or had change their place.
// See Schindelhauer and Schomaker, Weighted Distributed Hash Tables, 2005.
func Rank(kind, room string, offers map[peer.ID]Offer) []peer.ID {
	type place struct {
		peer  peer.ID
		score float64
	}
	places := make([]place, 0, len(offers))
	for p, offer := range offers {
		weight := min(max(offer.MaxRooms, 0), MaxOffered)
		places = append(places, place{p, float64(weight) / -math.Log(share(kind, room, p))})
	}
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.peer, b.peer))
	})
	ranked := make([]peer.ID, len(places))
	for i, p := range places {
		ranked[i] = p.peer
	}
	return ranked
}

// share is a number between 0 and 1, both left out, that nobody chooses.
func share(kind, room string, p peer.ID) float64 {
	var text []byte
	for _, part := range []string{kind, room, string(p)} {
		text = appendBytes(text, part)
	}
	sum := sha256.Sum256(text)
	return (float64(binary.BigEndian.Uint64(sum[:])>>11) + 0.5) / (1 << 53)
}
