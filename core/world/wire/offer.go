package wire

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"
)

// OfferType returns the type to which peers that offer rooms of a kind subscribe. Such a
// peer answers a request of this type, whose data is an OfferQuestion as JSON, with an
// Offer as JSON.
func OfferType(kind string) string { return "world/offer/" + kind }

// MaxOffered bounds the rooms that a peer offers to hold.
const MaxOffered = MaxListed

// OfferQuestion asks a peer about a room of the kind that it offers.
type OfferQuestion struct {
	Name string `json:"name"`
	// Open makes the peer open the room, if it does not hold it yet. Tags are for its
	// game.
	Open bool              `json:"open,omitempty"`
	Tags map[string]string `json:"tags,omitempty"`
}

// Offer is a peer's description of its offer.
type Offer struct {
	Rooms    int  `json:"rooms"`    // rooms of this kind that it holds
	MaxRooms int  `json:"maxRooms"` // the most that it would hold
	Holds    bool `json:"holds"`    // it holds the room that was asked for
}

// Rank orders the peers that offer rooms of a kind by how well they suit a room, the best
// first. All peers that know the same offers find the same order without asking a server:
// this is rendezvous hashing, weighted by what each peer offers. When a peer joins or
// leaves, only the rooms that it gets or had move. See Schindelhauer and Schomaker,
// Weighted Distributed Hash Tables, 2005.
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

// share returns a pseudo-random number between 0 and 1, both excluded.
func share(kind, room string, p peer.ID) float64 {
	var text []byte
	for _, part := range []string{kind, room, string(p)} {
		text = appendBytes(text, part)
	}
	sum := sha256.Sum256(text)
	return (float64(binary.BigEndian.Uint64(sum[:])>>11) + 0.5) / (1 << 53)
}
