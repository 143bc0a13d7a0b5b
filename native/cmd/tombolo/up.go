package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/alecthomas/kong"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/core/direct"
	"github.com/tombolo-net/tombolo/native"
	"github.com/tombolo-net/tombolo/native/command"
	"github.com/tombolo-net/tombolo/native/control"
)

type upCmd struct {
	dataDirFlag
	Relay    []relayFlag         `help:"Relay to make reservations on: a multiaddr ending in /p2p/<id>, or the http(s):// address of its page, without a path. Repeatable." placeholder:"MADDR|URL"`
	Token    string              `help:"Token of the relays' operator, for relays that take only peers with one." placeholder:"TOKEN"`
	Listen   []command.Listen    `help:"Address to listen on: host:port for all transports, or a multiaddr for one. Repeatable. Default: any port of every interface." placeholder:"MADDR"`
	Announce []command.Multiaddr `help:"Additional address to announce to peers. Repeatable." placeholder:"MADDR"`
	Network  string              `help:"Name of the mesh to join." default:"${network}"`
	NoMDNS   bool                `name:"no-mdns" help:"Do not use mDNS to find peers on the local network or to announce this one."`
	MapPorts bool                `help:"Ask the router, by UPnP or NAT-PMP, to forward the ports." default:"true" negatable:""`
	Direct   string              `help:"Connections without the relay, by WebRTC, to peers that speak over one: auto or never." enum:"auto,never" default:"never"`
	Gateway  command.HostPort    `help:"Serve the HTTP services of peers under /p2p/<peer>/x/<name>/http/ on this local address." placeholder:"HOST:PORT"`

	GatewayHost []gatewayHost `help:"Additional host name or IP address for the gateway, such as that of a router before it; *.NAME if all names below it resolve to this machine. Repeatable." placeholder:"NAME"`

	OpenTimeout   time.Duration `help:"Time that a forward tries to reach its peer for a connection." default:"${openTimeout}" placeholder:"TIME"`
	TargetTimeout time.Duration `help:"Time that the target of a listener may take to accept a connection." default:"${targetTimeout}" placeholder:"TIME"`
	DrainTimeout  time.Duration `help:"Time that a half-closed stream may be idle." default:"${drainTimeout}" placeholder:"TIME"`
	IdleTimeout   time.Duration `help:"Time that any stream may be idle. Default: no limit." placeholder:"TIME"`

	Config command.ConfigFlag `help:"TOML file with values for these flags, by their names. Default: config.toml in the data directory, if it exists." placeholder:"FILE" type:"path"`
	command.LogFlags
}

// BeforeResolve reads the configuration.
func (c *upCmd) BeforeResolve(ctx *kong.Context, trace *kong.Path) error {
	_, err := command.ReadConfig(ctx, trace.Node())
	return err
}

// Run runs a peer in the foreground. It prints events on standard output as long as
// somebody reads it.
func (c *upCmd) Run(ctx context.Context) (err error) {
	command.OutliveReaders()
	if _, err := control.SocketPath(c.DataDir); err != nil {
		return err // before anything is started in vain
	}
	log := c.Logger()
	given := make([]string, len(c.Relay))
	for i, r := range c.Relay {
		given[i] = string(r)
	}
	relays, urls, err := core.ParseRelays(given)
	if err != nil {
		return err
	}
	node, err := native.New(ctx, native.Options{
		DataDir:       c.DataDir,
		Relays:        relays,
		RelayURLs:     urls,
		Token:         c.Token,
		Listen:        command.Addrs(c.Listen),
		Announce:      command.Multiaddrs(c.Announce),
		Network:       c.Network,
		NoPortMapping: !c.MapPorts,
		NoMDNS:        c.NoMDNS,
		Direct:        c.Direct == direct.Auto,
		Streams:       bridge.Timeouts{Open: c.OpenTimeout, Target: c.TargetTimeout, Drain: c.DrainTimeout, Idle: c.IdleTimeout},
		Logger:        log,
	})
	if err != nil {
		return interrupted(ctx, explain(err))
	}
	d := &daemon{node: node}
	defer func() { err = errors.Join(err, command.CloseInTime(d, log)) }()
	if err := d.start(ctx, c, log); err != nil {
		return interrupted(ctx, explain(err))
	}

	news := node.Events()
	defer news.Close()
	report := newReporter(node, os.Stdout)
	ready := fmt.Sprintln("id", node.ID())
	for _, r := range node.Reservations() { // made before the events began
		report.reserved[r.Relay] = r.Expires
		ready += reservedLine(r.Relay, r.Expires) + "\n"
	}
	for _, a := range node.Addrs() {
		ready += fmt.Sprintln("listening", a)
	}
	if d.gatewayURL != "" {
		ready += fmt.Sprintln("gateway", d.gatewayURL)
	}
	command.Ready()
	reported := make(chan struct{})
	go func() {
		defer close(reported)
		fmt.Print(ready) // in one piece, so that whoever reads a line of it need not wait for others
		report.run(ctx, news)
	}()
	select {
	case <-reported:
	case <-ctx.Done(): // the reporter hangs as long as the reader of its output does
	}
	return nil
}

// interrupted drops an error that the user's own interrupt caused.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// reporter prints a node's events as lines for a person.
type reporter struct {
	node       *core.Node
	out        io.Writer
	unmeasured map[peer.ID]struct{}  // connected, but round trip not yet printed
	reserved   map[peer.ID]time.Time // printed before the events began: when they expire
}

// measureCheck is how often the reporter checks for a first round trip.
const measureCheck = 200 * time.Millisecond

func newReporter(node *core.Node, out io.Writer) *reporter {
	return &reporter{node: node, out: out, unmeasured: make(map[peer.ID]struct{}), reserved: make(map[peer.ID]time.Time)}
}

func reservedLine(relay peer.ID, expires time.Time) string {
	return fmt.Sprintf("reserved on %s until %s", relay, expires.Format(time.TimeOnly))
}

// run reports until ctx ends or the node closes.
func (r *reporter) run(ctx context.Context, news *core.Events) {
	for {
		wait, cancel := ctx, context.CancelFunc(func() {})
		if len(r.unmeasured) > 0 {
			wait, cancel = context.WithTimeout(ctx, measureCheck)
		}
		ev, err := news.Next(wait)
		cancel()
		switch {
		case err == nil:
			r.report(ev)
		case ctx.Err() != nil || errors.Is(err, core.ErrClosed):
			return
		}
		if len(r.unmeasured) > 0 {
			r.reportMeasured()
		}
	}
}

func (r *reporter) report(ev core.Event) {
	switch ev.Type {
	case core.PeerConnected:
		r.unmeasured[ev.Peer] = struct{}{}
		r.printf("peer connected %s%s", ev.Peer, r.way(ev.Peer))
	case core.PeerDisconnected:
		delete(r.unmeasured, ev.Peer)
		r.printf("peer disconnected %s", ev.Peer)
	case core.PeerDirect, core.PeerRelayed:
		r.printf("%s %s%s", ev.Type, ev.Peer, r.way(ev.Peer))
	case core.ReservationMade:
		if r.reserved[ev.Peer].Equal(ev.Expires) {
			return // it was printed with the addresses
		}
		r.printf("%s", reservedLine(ev.Peer, ev.Expires))
		for _, a := range ev.Addrs {
			r.printf("listening %s/p2p/%s", a, r.node.ID())
		}
	case core.ReservationLost:
		r.printf("reservation lost on %s: %v", ev.Peer, ev.Err)
	case core.ReservationFailed:
		r.printf("no reservation on %s: %v", cmp.Or(ev.Peer.String(), ev.URL), ev.Err)
	case core.EchoAnswered:
		r.printf("echoed %d bytes for %s", ev.Bytes, ev.Peer)
	case core.EventsMissed:
		r.printf("missed %d events", ev.Missed)
	default:
		r.printf("%s %s", ev.Type, ev.Peer)
	}
}

// reportMeasured prints the round trips that have become known.
func (r *reporter) reportMeasured() {
	for _, p := range r.node.Peers() {
		if _, ok := r.unmeasured[p.ID]; ok && p.RTT > 0 {
			delete(r.unmeasured, p.ID)
			r.printf("peer measured %s rtt %s%s", p.ID, p.RTT.Round(time.Microsecond), way(p))
		}
	}
}

func (r *reporter) way(id peer.ID) string {
	for _, p := range r.node.Peers() {
		if p.ID == id {
			return way(p)
		}
	}
	return "" // disconnected already
}

func way(p core.Peer) string {
	if p.Relayed {
		return fmt.Sprintf(" via %s (relayed)", p.Transport)
	}
	return " via " + p.Transport
}

func (r *reporter) printf(format string, args ...any) {
	_ = command.Line(r.out, format, args...) // whether or not anybody reads it
}
