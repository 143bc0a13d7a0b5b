package discovery

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// The parameters of a lookup, with Kademlia's names.
const (
	bucketSize  = 20  // k: how many of the nearest servers are asked before giving up
	parallel    = 3   // alpha: how many are asked at once
	maxAsked    = 128 // bounds a lookup among liars, which always name a nearer server
	maxTries    = 16  // bounds the dials that liars cause
	maxRelays   = 3   // how many relays are asked first, near or not
	namedInText = 3   // how many of the servers asked an error names

	// maxTime bounds a lookup, whatever its caller allows, because many servers may not
	// answer.
	maxTime = time.Minute

	// patience is how long a question, or a dial of the target, may take before other
	// servers are asked meanwhile.
	patience = time.Second
)

// ErrNotFound is returned when none of the servers asked knows the peer, or when the peer
// does not answer at the addresses that they named. It is wrapped in a *NotFoundError
// that lists the servers asked.
var ErrNotFound = errors.New("not found in the mesh")

// NotFoundError describes an unsuccessful search for a peer.
type NotFoundError struct {
	Peer   peer.ID
	Asked  []peer.ID // servers that answered
	Silent []peer.ID // servers that could not be asked
	Dials  []error   // why dials at the addresses found failed, if any
}

// Unwrap makes errors.Is(err, ErrNotFound) hold.
func (e *NotFoundError) Unwrap() []error { return append([]error{ErrNotFound}, e.Dials...) }

func (e *NotFoundError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "peer %s: ", e.Peer)
	switch {
	case len(e.Dials) > 0:
		fmt.Fprintf(&b, "found, but it answers at no address: %v", e.Dials[len(e.Dials)-1])
	case len(e.Asked)+len(e.Silent) == 0:
		return b.String() + ErrNotFound.Error() + ": there was nobody to ask; connect to a relay first"
	default:
		b.WriteString(ErrNotFound.Error())
	}
	fmt.Fprintf(&b, "; asked %d", len(e.Asked))
	for i, p := range e.Asked[:min(len(e.Asked), namedInText)] {
		b.WriteString([]string{": ", ", "}[min(i, 1)] + p.String())
	}
	if len(e.Asked) > namedInText {
		b.WriteString(", …")
	}
	if len(e.Silent) > 0 {
		fmt.Fprintf(&b, "; %d did not answer", len(e.Silent))
	}
	return b.String()
}

// FindPeer asks the mesh for a peer and returns the first addresses named, including
// circuits through relays. If the peer is connected, it returns the known addresses
// without asking. Addresses from the mesh are hearsay: only a connection shows that the
// peer is there (see Connect).
//
// The error wraps a *NotFoundError, ErrClosed or both, and also the error of ctx if that
// has ended.
func (d *Discovery) FindPeer(ctx context.Context, p peer.ID) (peer.AddrInfo, error) {
	if d.host.Network().Connectedness(p) != network.NotConnected {
		return d.host.Peerstore().PeerInfo(p), nil
	}
	found := make(chan peer.AddrInfo, 1)
	err := d.find(ctx, p, func(_ context.Context, info peer.AddrInfo) error {
		select {
		case found <- info:
		default: // another was faster
		}
		return nil
	})
	if err != nil {
		return peer.AddrInfo{}, err
	}
	return <-found, nil
}

// Connect asks the mesh for a peer and connects to it, through a relay if there is no
// other way. It dials addresses as soon as they are named; while none answers, it asks
// other servers. If the peer is connected already, it returns at once.
//
// Errors are those of FindPeer.
func (d *Discovery) Connect(ctx context.Context, p peer.ID) error {
	if d.host.Network().Connectedness(p) != network.NotConnected {
		return nil
	}
	ctx = network.WithAllowLimitedConn(ctx, "tombolo")
	return d.find(ctx, p, d.host.Connect)
}

// find looks p up and calls use with addresses as they are named, only new ones each
// time, until use returns nil. Calls may overlap.
func (d *Discovery) find(ctx context.Context, p peer.ID, use func(context.Context, peer.AddrInfo) error) error {
	if err := p.Validate(); err != nil {
		return fmt.Errorf("find peer: %w", err)
	}
	ctx, leave, err := d.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	d.count.lookups.Add(1)
	l := newLookup(d, p, bucketSize, use)
	found := l.run(ctx)
	// All servers in a routing table may have left while a relay is back already. Either
	// contact connects to it, or the keeper has done so meanwhile.
	if !found && ctx.Err() == nil && len(l.in(answered)) == 0 && (d.contact(ctx) || d.knowsServer()) {
		l = newLookup(d, p, bucketSize, use)
		found = l.run(ctx)
	}
	if found {
		d.count.found.Add(1)
		return nil
	}
	err = &NotFoundError{Peer: p, Asked: l.in(answered), Silent: l.in(silent), Dials: l.failed}
	if d.isClosed() {
		return errors.Join(ErrClosed, err)
	}
	if ctx.Err() != nil {
		return errors.Join(ctx.Err(), err)
	}
	return err
}

// lookup is one iterative search of Kademlia. It belongs to one goroutine, which receives
// the results of those that ask and dial.
// Paper: Maymounkov, Mazières: Kademlia, 2002. Spec:
// https://github.com/libp2p/specs/tree/master/kad-dht#peer-routing
type lookup struct {
	d       *Discovery
	target  peer.ID
	key     [sha256.Size]byte
	width   int // how many of the nearest servers must have been asked
	use     func(context.Context, peer.AddrInfo) error
	nearest []*candidate // in the order in which to ask
	known   map[peer.ID]*candidate
	asked   int

	results chan result
	late    chan *candidate     // servers that have not answered within patience
	asking  int                 // questions under way
	waiting int                 // those of them that are late
	using   int                 // calls of use under way
	used    map[string]struct{} // addresses that use was called with
	failed  []error             // what use returned
	hold    <-chan time.Time    // while not nil, no other server is asked
}

// candidate is a server that may be asked.
type candidate struct {
	peer.AddrInfo
	first    bool // asked first, however far it is
	late     bool // asked, and has not answered within patience
	distance [sha256.Size]byte
	state    state
}

type state int

const (
	heard state = iota
	asked
	answered
	silent
)

// result is the outcome of one question, or of one call of use.
type result struct {
	from  *candidate // nil for a call of use
	peers []peer.AddrInfo
	err   error
}

func newLookup(d *Discovery, target peer.ID, width int, use func(context.Context, peer.AddrInfo) error) *lookup {
	l := &lookup{
		d:       d,
		target:  target,
		key:     sha256.Sum256([]byte(target)),
		width:   width,
		use:     use,
		known:   make(map[peer.ID]*candidate),
		results: make(chan result),
		late:    make(chan *candidate, maxAsked), // of this capacity, so that no sender waits for the reader
		used:    make(map[string]struct{}),
	}
	for _, p := range d.relays() {
		l.add(peer.AddrInfo{ID: p}, true)
	}
	for _, p := range d.nearest(target) {
		l.add(peer.AddrInfo{ID: p}, false)
	}
	return l
}

// run asks servers until use has succeeded, all the nearest have been asked, maxTime has
// passed or ctx ends. It reports whether use has succeeded, and waits for all goroutines
// that it has started.
func (l *lookup) run(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, maxTime)
	defer func() {
		cancel()
		for range l.asking + l.using {
			<-l.results
		}
	}()
	for {
		l.ask(ctx)
		if l.asking+l.using == 0 {
			return false
		}
		select {
		case <-l.hold:
			l.hold = nil
		case c := <-l.late:
			if c.state == asked {
				c.late = true
				l.waiting++
			}
		case r := <-l.results:
			if r.from == nil {
				l.using--
				if r.err == nil {
					return true
				}
				l.failed, l.hold = append(l.failed, r.err), nil
				continue
			}
			l.asking--
			l.take(ctx, r)
		}
	}
}

// ask asks as many servers as may be asked now.
func (l *lookup) ask(ctx context.Context) {
	for l.hold == nil && l.asking-l.waiting < parallel && l.asked < maxAsked && ctx.Err() == nil {
		c := l.next()
		if c == nil {
			return
		}
		c.state = asked
		l.asking++
		l.asked++
		go func() {
			defer time.AfterFunc(patience, func() { l.late <- c }).Stop()
			peers, err := ask(ctx, l.d.host, l.d.protocol, c.AddrInfo, l.target)
			l.results <- result{from: c, peers: peers, err: err}
		}()
	}
}

// next returns the server to ask now, one that was not asked yet and is among the nearest
// that did not fail, or nil.
func (l *lookup) next() *candidate {
	width := l.width
	for _, c := range l.nearest {
		switch {
		case c.state == heard && l.spares(c):
			continue
		case c.state == heard:
			return c
		case c.state == silent || c.first:
			continue
		}
		if width--; width == 0 {
			return nil
		}
	}
	return nil
}

// spares reports whether an announcement need not reach a server. If there are so few
// servers that every search asks them all, those already connected are enough.
func (l *lookup) spares(c *candidate) bool {
	return l.use == nil && len(l.nearest) < bucketSize && l.d.host.Network().Connectedness(c.ID) == network.NotConnected
}

// take handles an answer.
func (l *lookup) take(ctx context.Context, r result) {
	if r.from.late {
		l.waiting--
	}
	if r.err != nil {
		r.from.state = silent
		if ctx.Err() == nil {
			l.d.count.unanswered.Add(1)
		}
		return
	}
	r.from.state = answered
	l.d.count.answers.Add(1)
	for _, p := range r.peers {
		if p.ID != l.target {
			l.add(p, false)
		} else if l.use != nil {
			l.try(ctx, p)
		}
	}
}

// try calls use with the addresses that are new.
func (l *lookup) try(ctx context.Context, p peer.AddrInfo) {
	if len(l.failed)+l.using == maxTries {
		return // do not remember what liars keep naming, either
	}
	p.Addrs = slices.DeleteFunc(p.Addrs, func(a ma.Multiaddr) bool {
		_, known := l.used[string(a.Bytes())]
		l.used[string(a.Bytes())] = struct{}{}
		return known
	})
	if len(p.Addrs) == 0 {
		return
	}
	l.using++
	l.hold = time.After(patience)
	go func() { l.results <- result{err: l.use(ctx, p)} }()
}

// add inserts a server by its distance, or adds to the addresses of a known one.
func (l *lookup) add(p peer.AddrInfo, first bool) {
	if p.ID == l.d.host.ID() {
		return
	}
	if c := l.known[p.ID]; c != nil {
		if c.state == heard && len(c.Addrs) < maxPeerAddrs {
			c.Addrs = append(slices.Clip(c.Addrs), p.Addrs...)
		}
		return
	}
	c := &candidate{AddrInfo: p, first: first, distance: sha256.Sum256([]byte(p.ID))}
	for i := range c.distance {
		c.distance[i] ^= l.key[i]
	}
	at, _ := slices.BinarySearchFunc(l.nearest, c, func(a, b *candidate) int {
		if a.first != b.first {
			if a.first {
				return -1
			}
			return 1
		}
		return slices.Compare(a.distance[:], b.distance[:])
	})
	if at >= maxAsked {
		return // enough servers are nearer
	}
	l.known[p.ID] = c
	l.nearest = slices.Insert(l.nearest, at, c)
	if last := l.nearest[len(l.nearest)-1]; len(l.nearest) > maxAsked && last.state == heard {
		delete(l.known, last.ID)
		l.nearest = l.nearest[:len(l.nearest)-1]
	}
}

// in lists the servers in a state.
func (l *lookup) in(s state) []peer.ID {
	var ids []peer.ID
	for _, c := range l.nearest {
		if c.state == s {
			ids = append(ids, c.ID)
		}
	}
	slices.SortFunc(ids, cmp.Compare)
	return ids
}
