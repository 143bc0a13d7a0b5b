package main

import (
	"context"
	"os"
	"time"

	"github.com/tombolo-net/tombolo/native/command"
	"github.com/tombolo-net/tombolo/native/control"
)

type peersCmd struct {
	clientFlags
	outputFlags
}

// Run lists the connected peers.
func (c *peersCmd) Run(ctx context.Context) error {
	peers, err := call(ctx, c.clientFlags, control.VerbPeers, control.None{})
	if err != nil {
		return err
	}
	return show(c.outputFlags, peers, []column[control.Peer]{
		{"peer", false, func(p control.Peer) string { return p.ID.String() }},
		{"transport", false, func(p control.Peer) string { return p.Transport }},
		{"rtt", false, func(p control.Peer) string { return rtt(p.RTT) }},
		{"age", false, func(p control.Peer) string { return age(p.Since) }},
		{"agent", false, func(p control.Peer) string { return p.Agent }},
		{"direction", true, func(p control.Peer) string { return p.Direction }},
		{"relay", true, func(p control.Peer) string { return string(orDash(p.Relay.String())) }},
		{"address", true, func(p control.Peer) string { return p.Addr }},
	})
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func rtt(ms float64) string {
	if ms == 0 {
		return "-"
	}
	return time.Duration(ms * float64(time.Millisecond)).Round(10 * time.Microsecond).String()
}

type connectCmd struct {
	clientFlags
	outputFlags
	Peer string `arg:"" help:"Peer ID, or a multiaddr that ends in /p2p/<id>."`
}

// Run connects to a peer.
func (c *connectCmd) Run(ctx context.Context) error {
	p, err := call(ctx, c.clientFlags, control.VerbConnect, control.PeerCall{Peer: c.Peer})
	if err != nil {
		return err
	}
	return say(c.outputFlags, p, "connected %s via %s %s", p.ID, p.Transport, p.Addr)
}

type disconnectCmd struct {
	clientFlags
	outputFlags
	Peer string `arg:"" help:"Peer ID."`
}

// Run closes the connections to a peer.
func (c *disconnectCmd) Run(ctx context.Context) error {
	closed, err := call(ctx, c.clientFlags, control.VerbDisconnect, control.PeerCall{Peer: c.Peer})
	if err != nil {
		return err
	}
	return say(c.outputFlags, closed, "closed %d connections", closed.Closed)
}

type pingCmd struct {
	clientFlags
	JSON  bool   `help:"Print one JSON object per line."`
	Count int    `short:"c" help:"Number of pings (0: until interrupted)." default:"4" placeholder:"N"`
	Peer  string `arg:"" help:"Peer ID, or a multiaddr that ends in /p2p/<id>."`
}

// pingInterval is the time between two round trips.
const pingInterval = time.Second

// Run measures round trips.
func (c *pingCmd) Run(ctx context.Context) error {
	if c.Count < 0 {
		return usage("--count %d is negative", c.Count)
	}
	for i := 0; c.Count == 0 || i < c.Count; i++ {
		if i > 0 {
			select {
			case <-time.After(pingInterval):
			case <-ctx.Done():
				return nil
			}
		}
		pong, err := call(ctx, c.clientFlags, control.VerbPing, control.PeerCall{Peer: c.Peer})
		if err != nil {
			return interrupted(ctx, err)
		}
		if c.JSON {
			if err := printLine(pong); err != nil {
				return err
			}
			continue
		}
		if err := command.Line(os.Stdout, "%s rtt %s", pong.Peer, rtt(pong.RTT)); err != nil {
			return err
		}
	}
	return nil
}
