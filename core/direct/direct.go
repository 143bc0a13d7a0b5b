// Package direct decides which peers that are reached through a relay get a direct
// connection: those with which data is exchanged, not all known ones. The connections are
// those of package core/webrtc.
//
// New streams use the direct connection as soon as it exists, and links move to it; other
// open streams stay where they are. A circuit beside a direct connection is closed after
// it has carried nothing for a while. When the peer no longer answers on the direct
// connection, a circuit carries everything; if it was closed, it is made again. After a
// while another direct connection is tried.
//
// Between two peers that both have libp2p's hole punching, DCUtR, the policy retries that
// if the first attempt failed, or came too early.
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
	// Auto makes a direct connection to a peer that has streams over a circuit.
	Auto = "auto"
	// Never neither makes nor accepts direct connections.
	Never = "never"
)

// ParseMode parses a mode; empty means Never.
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
	// DefaultGrace is how long a circuit beside a direct connection must carry nothing
	// before it is closed.
	DefaultGrace = 15 * time.Second
	// lookEvery is how often the policy checks the connections.
	lookEvery = time.Second
	// dialLimit bounds one attempt.
	dialLimit = 30 * time.Second
	// maxDials bounds the attempts in progress.
	maxDials = 4
	// firstPause and lastPause bound the pause between two attempts for a peer.
	firstPause = 10 * time.Second
	lastPause  = 30 * time.Minute
	// maxPauses bounds the peers whose pauses are remembered.
	maxPauses = 1024
)

// dcutr is libp2p's hole punching. If both ends have it, no WebRTC connection is made.
const dcutr protocol.ID = "/libp2p/dcutr"

// Options configure a Policy. The zero value is usable.
type Options struct {
	// Upkeep reports whether connected peers keep a stream of a protocol by themselves,
	// without anyone asking for it. If nil, every stream counts as data.
	Upkeep func(protocol.ID) bool
	// Connect connects again, through a relay, to a peer whose direct connection was
	// lost. If nil, the next call that opens a stream to the peer connects.
	Connect func(context.Context, peer.ID) error
	// Punch tries libp2p's hole punching with a peer that has dialled this end through a
	// relay. It returns nil when there is a direct connection, and an error when the
	// attempt has failed or ctx ends. If nil, the policy does not punch holes.
	Punch func(context.Context, peer.ID) error
	// Never keeps the policy from making WebRTC connections. It still punches holes and
	// closes circuits.
	Never bool
	// Max bounds the direct connections. If zero, DefaultMax.
	Max int
	// Grace is how long a circuit beside a direct connection must carry nothing before it
	// is closed. If zero, DefaultGrace.
	Grace time.Duration
	// Logger receives the results of attempts. If nil, nothing is logged.
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
	idle   map[network.Conn]time.Time // circuits that carry nothing, and since when; used by Run only

	mu     sync.Mutex
	pauses map[peer.ID]*pause
	dials  int
	counts Stats
}

// pause is the time during which a peer is not tried again.
type pause struct {
	dialling bool
	until    time.Time
	length   time.Duration // of the last pause
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

// Spoke reports that a stream was opened on a circuit, because the stream may have ended
// when the policy next checks. It does not block.
func (p *Policy) Spoke(to peer.ID) {
	select {
	case p.spoken <- to:
	default: // a stream that stays open is noticed at the next check
	}
}

// Run makes connections direct until ctx ends, and waits for the attempts in progress.
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

// consider starts an attempt for a peer that has only circuits, if one is due. spoke
// means that a stream to the peer was just opened.
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

// carries reports whether a connection has a stream that is not mere upkeep.
func (p *Policy) carries(c network.Conn) bool {
	return slices.ContainsFunc(c.GetStreams(), func(s network.Stream) bool {
		return s.Protocol() != "" && s.Protocol() != webrtc.Protocol && !p.opts.Upkeep(s.Protocol())
	})
}

func isCircuit(c network.Conn) bool {
	_, err := c.RemoteMultiaddr().ValueForProtocol(ma.P_CIRCUIT)
	return err == nil
}

// circuitsOnly returns the connections to a peer; none if one of them is direct.
func (p *Policy) circuitsOnly(id peer.ID) []network.Conn {
	conns := slices.DeleteFunc(p.host.Network().ConnsToPeer(id), network.Conn.IsClosed)
	if slices.ContainsFunc(conns, func(c network.Conn) bool { return !isCircuit(c) }) {
		return nil
	}
	return conns
}

// way is how this end makes a direct connection to a peer.
type way int

const (
	notByUs way = iota // the other end has to make it, or neither can
	byWebRTC
	byPunching
)

// wayTo returns how this end has to make a direct connection to a peer with these
// circuits. The specifications require that the end that dialled the circuit starts
// /webrtc, and the other end starts DCUtR, which takes precedence.
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

// begin reports whether an attempt for the peer may start now, and if so records that it
// does.
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

// open returns the number of open WebRTC connections.
func (p *Policy) open() (n int) {
	for _, c := range p.host.Network().Conns() {
		if c.RemoteMultiaddr().Equal(webrtc.Addr) {
			n++
		}
	}
	return n
}

// dropPauses forgets the pauses that are over, and reports whether there were any.
func (p *Policy) dropPauses(now time.Time) bool {
	n := len(p.pauses)
	for id, pause := range p.pauses {
		if !pause.dialling && now.After(pause.until) {
			delete(p.pauses, id)
		}
	}
	return len(p.pauses) < n
}

// attempt makes one attempt, and records the result.
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
		pause.length = firstPause // a connection that ends soon is not made again at once
		p.log.Info("direct connection made", "peer", id, "took", time.Since(begun).Round(time.Millisecond))
	case errors.Is(ctx.Err(), context.Canceled):
	default:
		p.counts.Failed.count(err)
		pause.length = min(max(2*pause.length, firstPause), lastPause)
		p.log.Info("no direct connection: it goes on over the relay", "peer", id, "retry", pause.length, "error", err)
	}
	pause.until = time.Now().Add(pause.length)
}

// dial makes a WebRTC connection.
func (p *Policy) dial(ctx context.Context, id peer.ID) error {
	p.host.Peerstore().AddAddr(id, webrtc.Addr, peerstore.TempAddrTTL)
	defer p.host.Peerstore().SetAddr(id, webrtc.Addr, 0) // of no use to other dials
	_, err := p.host.Network().DialPeer(network.WithForceDirectDial(ctx, "direct connection"), id)
	return err
}
