// Package direct decides which peers that are reached through a relay get a connection
// without it: those that speak, not all that are known. The connections are those of
// package core/webrtc.
//
// New streams take the direct connection as soon as it is there, links move to it, and
// other streams that are open stay where they are. A circuit beside a direct connection
// is closed once it has carried nothing for a while. When the peer does not answer on the
// direct connection any more, a circuit carries everything, which is made again if it was
// closed, and after a while another direct connection is tried.
//
// Between two peers that have libp2p's hole punching, DCUtR, the policy has that tried
// again where the first attempt failed, or came too early.
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
	// DefaultGrace is how long a circuit beside a direct connection carries nothing
	// before it is closed.
	DefaultGrace = 15 * time.Second
	// lookEvery is the time between two looks at the connections.
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
	// Connect connects to a peer again, through a relay, whose direct connection was
	// lost. If nil, the next call that speaks to the peer connects.
	Connect func(context.Context, peer.ID) error
	// Punch tries libp2p's hole punching with a peer that has dialled this end through a
	// relay. It returns when there is a direct connection, with nil, or when the attempt
	// has failed or ctx ends. If nil, the policy punches no holes.
	Punch func(context.Context, peer.ID) error
	// Never makes the policy make no connections of WebRTC. It still punches holes and
	// closes circuits.
	Never bool
	// Max bounds the direct connections. If zero, DefaultMax.
	Max int
	// Grace is how long a circuit beside a direct connection carries nothing before it is
	// closed. If zero, DefaultGrace.
	Grace time.Duration
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
	lost   chan peer.ID
	idle   map[network.Conn]time.Time // circuits that carry nothing, since when; of Run

	mu     sync.Mutex
	pauses map[peer.ID]*pause
	dials  int
	counts Stats
}

// pause is the time that a peer is left alone.
type pause struct {
	dialling bool
	until    time.Time
	length   time.Duration // of the last
}

// New makes a policy. It does nothing before Run.
func New(h host.Host, o Options) *Policy {
	p := &Policy{
		host: h, opts: o, log: o.Logger, pauses: make(map[peer.ID]*pause), idle: make(map[network.Conn]time.Time),
		spoken: make(chan peer.ID, 64), lost: make(chan peer.ID, 64),
	}
	p.opts.Max = cmp.Or(o.Max, DefaultMax)
	p.opts.Grace = cmp.Or(o.Grace, DefaultGrace)
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	if p.opts.Upkeep == nil {
		p.opts.Upkeep = func(protocol.ID) bool { return false }
	}
	return p
}

// Spoke tells that a stream was opened on a circuit, which may have ended before the
// policy looks. It does not block.
func (p *Policy) Spoke(to peer.ID) {
	select {
	case p.spoken <- to:
	default: // what goes on is seen at the next look
	}
}

// Run keeps connections direct until ctx ends, and waits for the attempts under way.
func (p *Policy) Run(ctx context.Context) {
	notify := &network.NotifyBundle{DisconnectedF: func(_ network.Network, c network.Conn) { p.disconnected(c) }}
	p.host.Network().Notify(notify)
	defer p.host.Network().StopNotify(notify)
	var dials sync.WaitGroup
	defer dials.Wait()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case id := <-p.spoken:
			p.consider(ctx, id, true, &dials)
		case id := <-p.lost:
			dials.Go(func() { p.connectAgain(ctx, id) })
		case now := <-tick.C:
			p.closeIdle(now)
			for _, id := range p.host.Network().Peers() {
				p.consider(ctx, id, false, &dials)
			}
		case <-ctx.Done():
			return
		}
	}
}

// consider begins an attempt for a peer that has circuits only, if one is due. spoke says
// that it has just had a stream.
func (p *Policy) consider(ctx context.Context, id peer.ID, spoke bool, dials *sync.WaitGroup) {
	circuits := p.circuitsOnly(id)
	if len(circuits) == 0 {
		return
	}
	var try func(context.Context, peer.ID) error
	switch p.wayTo(id, circuits) {
	case byWebRTC:
		if p.opts.Never || !spoke && !slices.ContainsFunc(circuits, p.carries) {
			return
		}
		try = p.dial
	case byPunching:
		try = p.opts.Punch
	}
	if try != nil && p.begin(id, time.Now()) {
		dials.Go(func() { p.attempt(ctx, id, try) })
	}
}

// carries says whether a connection has a stream that is not mere upkeep.
func (p *Policy) carries(c network.Conn) bool {
	return slices.ContainsFunc(c.GetStreams(), func(s network.Stream) bool {
		return s.Protocol() != "" && s.Protocol() != webrtc.Protocol && !p.opts.Upkeep(s.Protocol())
	})
}

func isCircuit(c network.Conn) bool {
	_, err := c.RemoteMultiaddr().ValueForProtocol(ma.P_CIRCUIT)
	return err == nil
}

// circuitsOnly are the connections to a peer; none if one of them is direct.
func (p *Policy) circuitsOnly(id peer.ID) []network.Conn {
	conns := slices.DeleteFunc(p.host.Network().ConnsToPeer(id), network.Conn.IsClosed)
	if slices.ContainsFunc(conns, func(c network.Conn) bool { return !isCircuit(c) }) {
		return nil
	}
	return conns
}

// How this end gets a direct connection to a peer.
type way int

const (
	notByUs way = iota // the other end is to make it, or neither can
	byWebRTC
	byPunching
)

// wayTo says how this end is to make a direct connection to a peer that has these
// circuits. As the specifications have it, /webrtc is begun by the end that dialled the
// circuit, and DCUtR, which goes before, by the other.
func (p *Policy) wayTo(id peer.ID, circuits []network.Conn) way {
	known, err := p.host.Peerstore().SupportsProtocols(id, webrtc.Protocol, dcutr)
	if err != nil {
		return notByUs
	}
	both := slices.Contains(known, dcutr) && slices.Contains(p.host.Mux().Protocols(), dcutr)
	is := func(d network.Direction) bool {
		return slices.ContainsFunc(circuits, func(c network.Conn) bool { return c.Stat().Direction == d })
	}
	switch {
	case both && is(network.DirInbound):
		return byPunching
	case !both && slices.Contains(known, webrtc.Protocol) && is(network.DirOutbound):
		return byWebRTC
	}
	return notByUs
}

// begin says whether an attempt for the peer may begin now, and notes that it does.
func (p *Policy) begin(id peer.ID, now time.Time) bool {
	open := p.open()
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.pauses[id]
	if was != nil && (was.dialling || now.Before(was.until)) || p.dials >= maxDials || open+p.dials >= p.opts.Max {
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

// open is how many connections of WebRTC there are.
func (p *Policy) open() (n int) {
	for _, c := range p.host.Network().Conns() {
		if c.RemoteMultiaddr().Equal(webrtc.Addr) {
			n++
		}
	}
	return n
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

// attempt makes one, and notes what came of it.
func (p *Policy) attempt(ctx context.Context, id peer.ID, try func(context.Context, peer.ID) error) {
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	begun := time.Now()
	err := try(ctx, id)
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
		p.counts.Failed.count(err)
		pause.length = min(max(2*pause.length, firstPause), lastPause)
		p.log.Info("no direct connection: it goes on over the relay", "peer", id, "retry", pause.length, "error", err)
	}
	pause.until = time.Now().Add(pause.length)
}

// dial makes a connection of WebRTC.
func (p *Policy) dial(ctx context.Context, id peer.ID) error {
	p.host.Peerstore().AddAddr(id, webrtc.Addr, peerstore.TempAddrTTL)
	defer p.host.Peerstore().SetAddr(id, webrtc.Addr, 0) // of no use to other dials
	_, err := p.host.Network().DialPeer(network.WithForceDirectDial(ctx, "direct connection"), id)
	return err
}
