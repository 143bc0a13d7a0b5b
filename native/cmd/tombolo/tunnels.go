package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/native/command"
	"github.com/tombolo-net/tombolo/native/control"
	"github.com/tombolo-net/tombolo/native/tunnels"
)

func usage(format string, args ...any) error {
	return &command.UsageError{Err: fmt.Errorf(format, args...)}
}

// limitFlags are the limits of a listener.
type limitFlags struct {
	MaxStreams        *int      `help:"Maximum number of concurrent streams (0: no limit)." placeholder:"N"`
	MaxStreamsPerPeer *int      `help:"Maximum number of concurrent streams per peer (0: no limit)." placeholder:"N"`
	Rate              *byteSize `help:"Maximum bytes per second in each direction, for all streams together, for example 500K or 10MiB (0: no limit)." placeholder:"BYTES"`
}

// byteSize is a number of bytes as a person writes it: 500K, 10MiB.
type byteSize int64

var sizeSuffix = regexp.MustCompile(`(?i)^([0-9]+)([KMGT]?)(i?B)?$`)

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *byteSize) UnmarshalText(text []byte) error {
	parts := sizeSuffix.FindSubmatch(text)
	if parts == nil {
		return fmt.Errorf("%q is not a size; write it like 500K or 10MiB", text)
	}
	n, err := strconv.ParseInt(string(parts[1]), 10, 64)
	shift := 0
	if len(parts[2]) > 0 {
		shift = 10 * (1 + strings.Index("KMGT", strings.ToUpper(string(parts[2]))))
	}
	if err != nil || n > math.MaxInt64>>shift {
		return fmt.Errorf("%q is too many bytes", text)
	}
	*b = byteSize(n << shift)
	return nil
}

type tunnelFlags struct {
	Foreground          bool `short:"f" help:"Run in the foreground, and close the tunnel on Ctrl-C."`
	Ephemeral           bool `help:"Drop the tunnel when the daemon stops (by default it is restored)."`
	AllowCustomProtocol bool `help:"Allow a protocol name that does not begin with /x/."`
}

type listenCmd struct {
	clientFlags
	outputFlags
	tunnelFlags
	limitFlags
	Allow        []peerFlag  `help:"Allow only these peers. Repeatable. Default: any peer." placeholder:"PEER"`
	Deny         []peerFlag  `help:"Refuse these peers. Repeatable." placeholder:"PEER"`
	Announce     string      `help:"Announce the service to peers with this description. Default: not announced." placeholder:"TEXT"`
	ReportPeerID bool        `name:"report-peer-id" help:"Send the peer ID and a newline to the target first."`
	Protocol     protocol.ID `arg:"" help:"Name that peers use, for example /x/ssh."`
	Target       string      `arg:"" help:"Target of the streams: host:port, a multiaddr, unix:/path, or file:DIR for a read-only site."`
}

// Run offers a local service to peers.
func (c *listenCmd) Run(ctx context.Context) error {
	target, err := absolute(c.Target)
	if err != nil {
		return err
	}
	spec := tunnels.ListenSpec{Protocol: c.Protocol, Target: target, Ephemeral: c.Ephemeral, ListenConfig: bridge.ListenConfig{
		CustomProtocol: c.AllowCustomProtocol,
		ReportPeer:     c.ReportPeerID,
		Announce:       c.Announce,
		Access:         bridge.Access{Allow: ids(c.Allow), Deny: ids(c.Deny)},
		Limits:         c.limits(),
	}}
	if c.Foreground {
		return foreground(ctx, c.clientFlags, c.outputFlags, control.VerbListenForeground, "listen", spec, func(l tunnels.Listener) string {
			return fmt.Sprintf("%s forwards to %s; peers reach it at %s", l.Protocol, l.Target, l.Listen)
		})
	}
	l, err := call(ctx, c.clientFlags, control.VerbListen, spec)
	if err != nil {
		return err
	}
	return say(c.outputFlags, l, "%s forwards to %s", l.Protocol, l.Target)
}

func (f limitFlags) limits() (l bridge.Limits) {
	if f.MaxStreams != nil {
		l.Streams = *f.MaxStreams
	}
	if f.MaxStreamsPerPeer != nil {
		l.StreamsPerPeer = *f.MaxStreamsPerPeer
	}
	if f.Rate != nil {
		l.Rate = int64(*f.Rate)
	}
	return l
}

type forwardCmd struct {
	clientFlags
	outputFlags
	tunnelFlags
	Protocol protocol.ID `arg:"" help:"Name of the peer's service, for example /x/ssh."`
	Listen   string      `arg:"" help:"Address to listen on: host:port, a multiaddr or unix:/path; or - for standard input and output."`
	Peer     string      `arg:"" help:"Peer ID, a multiaddr that ends in /p2p/<id>, or /dnsaddr/<name>."`
}

// Run forwards local connections to a peer's service.
func (c *forwardCmd) Run(ctx context.Context) error {
	if c.Listen == "-" {
		return joinStdio(ctx, c.clientFlags, control.DialCall{Peer: c.Peer, Protocol: c.Protocol, CustomProtocol: c.AllowCustomProtocol})
	}
	listen, err := absolute(c.Listen)
	if err != nil {
		return err
	}
	spec := tunnels.ForwardSpec{Protocol: c.Protocol, Listen: listen, Peer: c.Peer, CustomProtocol: c.AllowCustomProtocol, Ephemeral: c.Ephemeral}
	if c.Foreground {
		return foreground(ctx, c.clientFlags, c.outputFlags, control.VerbForwardForeground, "forward", spec, func(f tunnels.Forward) string {
			return fmt.Sprintf("%s forwards to %s at %s", f.Listen, f.Protocol, f.Target)
		})
	}
	f, err := call(ctx, c.clientFlags, control.VerbForward, spec)
	if err != nil {
		return err
	}
	return say(c.outputFlags, f, "%s forwards to %s at %s", f.Listen, f.Protocol, f.Target)
}

// foreground keeps a tunnel until it is closed elsewhere, the daemon or ctx ends, or the
// reader of standard output has ended.
func foreground[Q, A any](
	ctx context.Context, f clientFlags, out outputFlags, verb control.ContinuingVerb[Q, A], name string, spec Q, text func(A) string,
) error {
	set := false
	ended, err := follow(ctx, f, verb, name, spec, func(info A) error {
		set = true
		if out.json() {
			return printLine(info)
		}
		return command.Line(os.Stdout, "%s; Ctrl-C closes it", text(info))
	})
	if set && ended {
		_ = command.Line(os.Stderr, "tombolo: it was closed, or the daemon ended")
	}
	return err
}

type lsCmd struct {
	clientFlags
	outputFlags
	Verbose bool `short:"v" help:"The same as -o wide."`
}

// row is a listener or a forward in the table.
type row struct {
	protocol             protocol.ID
	listen, target, live string
	note                 string
	access               string
	ephemeral            bool
}

// Run lists listeners and forwards.
func (c *lsCmd) Run(ctx context.Context) error {
	list, err := call(ctx, c.clientFlags, control.VerbLs, control.None{})
	if err != nil {
		return err
	}
	if c.json() {
		return printJSON(list)
	}
	if c.Verbose {
		c.Output = "wide"
	}
	var rows []row
	for _, l := range list.Listeners {
		rows = append(rows, row{l.Protocol, l.Listen, l.Target, strconv.Itoa(l.Live), state(l.Waiting, ""), access(l.Access), l.Ephemeral})
	}
	for _, f := range list.Forwards {
		rows = append(rows, row{f.Protocol, f.Listen, f.Target, strconv.Itoa(f.Live), state(f.Waiting, f.Error), "", f.Ephemeral})
	}
	return show(c.outputFlags, rows, []column[row]{
		{"protocol", false, func(r row) string { return string(r.protocol) }},
		{"listen", false, func(r row) string { return r.listen }},
		{"target", false, func(r row) string { return r.target }},
		{"streams", false, func(r row) string { return r.live }},
		{"kept", true, func(r row) string { return map[bool]string{true: "no", false: "yes"}[r.ephemeral] }},
		{"access", true, func(r row) string { return orDash(r.access) }},
		{"state", false, func(r row) string { return r.note }},
	})
}

// state returns the condition of a tunnel that a person should know about.
func state(waiting, failed string) string {
	switch {
	case waiting != "":
		return "waiting: " + waiting
	case failed != "":
		return "last failed: " + failed
	}
	return "ready"
}

func access(a bridge.Access) string {
	list := func(word string, peers []peer.ID) string {
		if len(peers) == 0 {
			return ""
		}
		var names []string
		for _, p := range peers {
			names = append(names, p.String())
		}
		return word + " " + strings.Join(names, ",") + " "
	}
	return strings.TrimSpace(list("allow", a.Allow) + list("deny", a.Deny))
}

type closeCmd struct {
	clientFlags
	outputFlags
	All      bool        `short:"a" help:"Close every listener and forward."`
	Protocol protocol.ID `short:"p" help:"Close the tunnels of this protocol." placeholder:"PROTO"`
	Listen   string      `short:"l" help:"Close the forwards that listen on this address." placeholder:"ADDR"`
	Target   string      `short:"t" help:"Close the tunnels with this target." placeholder:"ADDR"`
}

// Run closes listeners and forwards. Their open streams stay open.
func (c *closeCmd) Run(ctx context.Context) error {
	match := tunnels.Match{All: c.All, Protocol: c.Protocol}
	var err error
	if match.Listen, err = absolute(c.Listen); err != nil {
		return err
	}
	if match.Target, err = absolute(c.Target); err != nil {
		return err
	}
	closed, err := call(ctx, c.clientFlags, control.VerbClose, match)
	if err != nil {
		return err
	}
	if closed.Closed == 0 && !c.All {
		return fmt.Errorf("close: no tunnel matches %s; tombolo ls lists them", given(match))
	}
	return say(c.outputFlags, closed, "closed %d", closed.Closed)
}

// given writes a match as the options of close.
func given(m tunnels.Match) string {
	var options []string
	for _, o := range [][2]string{{"-p", string(m.Protocol)}, {"-l", m.Listen}, {"-t", m.Target}} {
		if o[1] != "" {
			options = append(options, o[0]+" "+o[1])
		}
	}
	return strings.Join(options, " ")
}

type accessCmd struct {
	clientFlags
	outputFlags
	limitFlags
	Anyone   bool        `help:"Empty both lists first."`
	Allow    []peerFlag  `help:"Add these peers to the allow list. Repeatable." placeholder:"PEER"`
	Deny     []peerFlag  `help:"Add these peers to the deny list. Repeatable." placeholder:"PEER"`
	Remove   []peerFlag  `help:"Remove these peers from both lists. Repeatable." placeholder:"PEER"`
	Protocol protocol.ID `arg:"" help:"Protocol of the listener."`
}

// Run changes the access list and the limits of a listener, from the next stream on.
func (c *accessCmd) Run(ctx context.Context) error {
	l, err := call(ctx, c.clientFlags, control.VerbAccess, control.AccessCall{
		Protocol:       c.Protocol,
		Anyone:         c.Anyone,
		Allow:          ids(c.Allow),
		Deny:           ids(c.Deny),
		Remove:         ids(c.Remove),
		Streams:        c.MaxStreams,
		StreamsPerPeer: c.MaxStreamsPerPeer,
		Rate:           (*int64)(c.Rate),
	})
	if err != nil {
		return err
	}
	who := access(l.Access)
	if who == "" {
		who = "any peer"
	}
	return say(c.outputFlags, l, "%s: %s", l.Protocol, who)
}
