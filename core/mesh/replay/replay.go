// Package replay is what a mesh remembers: a bounded [History] of the signed
// broadcasts of a type, and a [Service] through which a peer that was away gets
// from any other peer what it missed.
//
// It rests on how publishers number what they say. An ID is an epoch (one run
// of the publisher) and a number in it, which begins at 1 and goes up by one
// with each broadcast of a type. A history therefore knows exactly which
// broadcasts it never had, and says so: what cannot be had is a [Gap] with its
// first and last number, never silence. What no numbering shows is how an epoch
// ended and whether another lay between two: that is an [Unknown].
//
// A replayed broadcast bears its publisher's signature, so it does not matter
// who hands it over; who hands over anything else is refused by name.
//
// The way of a message: mesh -> History.Add -> another peer's Service.Sync ->
// signature and order checked -> its History -> Ask.Deliver.
package replay

import (
	"errors"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/message"
)

// Bounds on what is remembered of one publisher, which chooses its numbers.
const (
	// MaxEpochs is how many epochs of a publisher are told apart. What belongs
	// to an older one is let go and no longer taken.
	MaxEpochs = 8
	// MaxRanges is how many ranges of numbers are remembered of a publisher,
	// over all epochs. Beyond, the earliest gap is given up for lost.
	MaxRanges = 64

	// mostPublishers bounds the publishers of a type of whom anything is
	// remembered, so that what one of them says twice is known to be so. Beyond,
	// the one that has been silent for longest is forgotten.
	mostPublishers = 1024
	// mostMissing bounds what one broadcast may say is missing before it, whatever
	// its publisher pretends.
	mostMissing = 1 << 20
)

// ErrClosed is returned after Close.
var ErrClosed = errors.New("replay is closed")

// Entry is one broadcast as its publisher signed it.
type Entry struct {
	Publisher peer.ID
	ID        message.ID
	// Replayed says that it came from a peer's history, and not by itself.
	Replayed bool
	// Received is when this node got it; of a replayed one, when the first peer
	// did that handed it on, as far as those peers say. Age counts from here.
	Received time.Time
	// Signed is the GossipSub message exactly as signed, marshalled. It is
	// shared by all who read it and must not be changed.
	Signed []byte
}
