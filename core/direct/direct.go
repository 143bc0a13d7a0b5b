// Package direct decides which peers that are reached through a relay get a connection
// without it: those that speak, not all that are known. The connections are those of
// package core/webrtc.
//
// New streams take the direct connection as soon as it is there, and streams that are
// open stay where they are. The circuit stays, too: when the direct connection ends,
// what comes next goes over the circuit, and after a while another direct connection is
// tried.
package direct

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/tombolo-net/tombolo/core/webrtc"
)

// The modes of a node, as options and flags name them.
const (
	// Auto makes a direct connection to a peer that speaks over a circuit.
	Auto = "auto"
	// Never makes and takes none.
	Never = "never"
)

// ParseMode reads a mode; empty is Never.
func ParseMode(s string) (auto bool, err error) {
	switch s {
	case Auto:
		return true, nil
	case Never, "":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither %q nor %q", s, Auto, Never)
}

const (
	// DefaultMax is how many direct connections the policy makes at a time.
	DefaultMax = 32
	// lookEvery is the time between two looks for circuits that carry something.
	lookEvery = time.Second
	// dialLimit bounds one attempt.
	dialLimit = 30 * time.Second
	// maxDials bounds the attempts that are under way.
	maxDials = 4
	// firstPause and lastPause are the times between two attempts for a peer.
	firstPause = 10 * time.Second
	lastPause  = 30 * time.Minute
	// maxPauses bounds the peers whose pauses are remembered.
	maxPauses = 1024
)

// dcutr is libp2p's hole punching, which is left to those that both have it.
const dcutr protocol.ID = "/libp2p/dcutr"

// Options configure a Policy. The zero value is usable.
type Options struct {
	// Upkeep says whether connected peers have a stream of a protocol that nobody
	// asked for. If nil, all streams count as speaking.
	Upkeep func(protocol.ID) bool
	// Max bounds the direct connections. If zero, DefaultMax.
	Max int
	// Logger receives what comes of attempts. If nil, nothing is logged.
	Logger *slog.Logger
}

// Policy makes direct connections for a host that has the transport of package
// core/webrtc. Its methods may be called concurrently.
type Policy struct {
	host   host.Host
	opts   Options
	log    *slog.Logger
	spoken chan peer.ID

	mu     sync.Mutex
	pauses map[peer.ID]*pause
	dials  int
	counts Counts
}

// Counts are what became of the attempts since the policy began.
type Counts struct{ Tried, Made, Failed uint64 }

// pause is the time that a peer is left alone.
type pause struct {
	dialling bool
	until    time.Time
	length   time.Duration // of the last
}

// New makes a policy. It does nothing before Run.
func New(h host.Host, o Options) *Policy {
	p := &Policy{host: h, opts: o, log: o.Logger, spoken: make(chan peer.ID, 64), pauses: make(map[peer.ID]*pause)}
	p.opts.Max = cmp.Or(o.Max, DefaultMax)
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	if p.opts.Upkeep == nil {
		p.opts.Upkeep = func(protocol.ID) bool { return false }
	}
	return p
}

// Counts tells what became of the attempts so far.
func (p *Policy) Counts() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts
}

// Spoke tells that a stream was opened on a circuit, which may have ended before the
// policy looks. It does not block.
func (p *Policy) Spoke(to peer.ID) {
	select {
	case p.spoken <- to:
	default: // what goes on is seen at the next look
	}
}

// Run makes connections until ctx ends, and waits for the attempts under way.
func (p *Policy) Run(ctx context.Context) {
	var dials sync.WaitGroup
	defer dials.Wait()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		var speaking []peer.ID
		select {
		case id := <-p.spoken:
			speaking = append(speaking, id)
		case <-tick.C:
			speaking = p.speaking()
		case <-ctx.Done():
			return
		}
		for _, id := range speaking {
			if p.wants(id) && p.begin(id, time.Now()) {
				dials.Go(func() { p.dial(ctx, id) })
			}
		}
	}
}

// speaking are the peers with a stream on a circuit that is not mere upkeep.
func (p *Policy) speaking() []peer.ID {
	var ids []peer.ID
	for _, c := range p.host.Network().Conns() {
		if !isCircuit(c) || slices.Contains(ids, c.RemotePeer()) {
			continue
		}
		if slices.ContainsFunc(c.GetStreams(), func(s network.Stream) bool {
			return s.Protocol() != "" && s.Protocol() != webrtc.Protocol && !p.opts.Upkeep(s.Protocol())
		}) {
			ids = append(ids, c.RemotePeer())
		}
	}
	return ids
}

func isCircuit(c network.Conn) bool {
	_, err := c.RemoteMultiaddr().ValueForProtocol(ma.P_CIRCUIT)
	return err == nil
}

// wants says whether this end is to make a direct connection to the peer: it has
// dialled the circuit, as the specification has it, there is no direct connection, and
// the peer knows the protocol.
func (p *Policy) wants(id peer.ID) bool {
	dialled := false
	for _, c := range p.host.Network().ConnsToPeer(id) {
		switch {
		case c.IsClosed():
		case !isCircuit(c):
			return false
		case c.Stat().Direction == network.DirOutbound:
			dialled = true
		}
	}
	if !dialled {
		return false
	}
	known, err := p.host.Peerstore().SupportsProtocols(id, webrtc.Protocol, dcutr)
	if err != nil || !slices.Contains(known, webrtc.Protocol) {
		return false
	}
	return !slices.Contains(known, dcutr) || !slices.Contains(p.host.Mux().Protocols(), dcutr)
}

// begin says whether an attempt for the peer may begin now, and notes that it does.
func (p *Policy) begin(id peer.ID, now time.Time) bool {
	made := 0
	for _, c := range p.host.Network().Conns() {
		if c.RemoteMultiaddr().Equal(webrtc.Addr) {
			made++
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.pauses[id]
	if was != nil && (was.dialling || now.Before(was.until)) || p.dials >= maxDials || made+p.dials >= p.opts.Max {
		return false
	}
	if was == nil {
		if len(p.pauses) >= maxPauses && !p.dropPauses(now) {
			return false
		}
		was = new(pause)
		p.pauses[id] = was
	}
	was.dialling = true
	p.dials++
	p.counts.Tried++
	return true
}

// dropPauses forgets the pauses that are over, and says whether there were any.
func (p *Policy) dropPauses(now time.Time) bool {
	n := len(p.pauses)
	for id, pause := range p.pauses {
		if !pause.dialling && now.After(pause.until) {
			delete(p.pauses, id)
		}
	}
	return len(p.pauses) < n
}

func (p *Policy) dial(ctx context.Context, id peer.ID) {
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	begun := time.Now()
	p.host.Peerstore().AddAddr(id, webrtc.Addr, peerstore.TempAddrTTL)
	_, err := p.host.Network().DialPeer(network.WithForceDirectDial(ctx, "direct connection"), id)
	p.host.Peerstore().SetAddr(id, webrtc.Addr, 0) // of no use to other dials
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dials--
	pause := p.pauses[id]
	pause.dialling = false
	switch {
	case err == nil:
		p.counts.Made++
		pause.length = firstPause // if it ends soon, it is not made again at once
		p.log.Info("direct connection made", "peer", id, "took", time.Since(begun).Round(time.Millisecond))
	case errors.Is(ctx.Err(), context.Canceled):
	default:
		p.counts.Failed++
		pause.length = min(max(2*pause.length, firstPause), lastPause)
		p.log.Info("no direct connection: it goes on over the relay", "peer", id, "again", pause.length, "error", err)
	}
	pause.until = time.Now().Add(pause.length)
}
