// Package replay is the memory of a mesh: a bounded [History] of the signed broadcasts of
// a type, and a [Service] with which a peer that was offline gets the broadcasts that it
// missed from any other peer.
//
// It relies on the IDs that publishers give their broadcasts. An ID is an epoch (one run
// of the publisher) and a number within it, which begins at 1 and goes up by one with
// each broadcast of a type. A history therefore knows exactly which broadcasts it never
// received, and reports them: what cannot be recovered is a [Gap] with its first and last
// number. Numbers do not show how an epoch ended, and whether another one lay between
// two: that is an [Unknown].
//
// A replayed broadcast bears its publisher's signature, so it does not matter which peer
// hands it over. If a peer hands over anything else, it is refused, and the error names
// the peer.
//
// A message travels: mesh -> History.Add -> another peer's Service.Sync -> signature and
// order are checked -> its History -> Ask.Deliver.
package replay

import (
	"errors"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/message"
)

// Bounds on what is remembered of one publisher, because the publisher chooses its
// numbers.
const (
	// MaxEpochs is the number of epochs that are remembered per publisher. Broadcasts of
	// older epochs are dropped and no longer accepted.
	MaxEpochs = 8
	// MaxRanges is the number of ranges of numbers that are remembered per publisher,
	// over all epochs. If there are more, the earliest gap is given up.
	MaxRanges = 64

	// mostPublishers bounds the publishers of a type that are remembered, so that
	// repeated broadcasts are recognized. If there are more, the one that has been silent
	// for longest is forgotten.
	mostPublishers = 1024
	// mostMissing bounds how many broadcasts may count as missing before a single one,
	// whatever its publisher claims.
	mostMissing = 1 << 20
)

// ErrClosed is returned after Close.
var ErrClosed = errors.New("replay is closed")

// Entry is one broadcast as its publisher signed it.
type Entry struct {
	Publisher peer.ID
	ID        message.ID
	// Replayed reports that the entry came from a peer's history, and not as a broadcast.
	Replayed bool
	// Received is when this node received the entry. For a replayed one, it is when the
	// first peer that handed it on received it, as far as those peers say. Its age counts
	// from then.
	Received time.Time
	// Signed is the marshalled GossipSub message exactly as it was signed. All readers
	// share it, and must not change it.
	Signed []byte
}
