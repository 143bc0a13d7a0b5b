package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/tombolo-net/tombolo/native/command"
	"github.com/tombolo-net/tombolo/native/control"
	"github.com/tombolo-net/tombolo/native/datadir"
)

type doctorCmd struct {
	clientFlags
	outputFlags
}

// finding is the result of a check.
type finding struct {
	Check  string `json:"check"`
	Result string `json:"result"` // ok, warning, failed
	Found  string `json:"found"`
	Advice string `json:"advice,omitempty"` // what to do, unless ok
}

const (
	fine    = "ok"
	warning = "warning"
	failed  = "failed"
)

const (
	probeTimeout = 3 * time.Second
	clockSlack   = 90 * time.Second // certificates and reservations tolerate less than minutes
)

// Run makes all checks in turn and prints what to do. The exit code is 1 if a check
// failed.
func (c *doctorCmd) Run(ctx context.Context) error {
	findings := c.examine(ctx)
	if c.json() {
		if err := printJSON(findings); err != nil {
			return err
		}
	} else {
		for _, f := range findings {
			err := command.Line(os.Stdout, "%-8s %-12s %s", f.Result, f.Check, f.Found)
			if f.Advice != "" {
				err = command.Line(os.Stdout, "%-8s %-12s -> %s", "", "", f.Advice)
			}
			if err != nil {
				return err
			}
		}
	}
	bad := 0
	for _, f := range findings {
		if f.Result == failed {
			bad++
		}
	}
	if bad > 0 {
		return fmt.Errorf("doctor: %d of %d checks failed", bad, len(findings))
	}
	return nil
}

func (c *doctorCmd) examine(ctx context.Context) []finding {
	findings := []finding{c.identity()}
	status, err := call(ctx, c.clientFlags, control.VerbStatus, control.None{})
	if err != nil {
		advice := "start one with tombolo up --data-dir " + c.DataDir
		if !errors.Is(err, control.ErrNoDaemon) {
			advice = "restart the daemon; if that does not help, run it with --log-level debug"
		}
		return append(findings, finding{"daemon", failed, err.Error(), advice})
	}
	findings = append(findings, finding{"daemon", fine,
		fmt.Sprintf("process %d, version %s, up %s, network %s", status.PID, status.Version, age(status.Started), status.Network), ""})
	findings = append(findings, ports(ctx, status)...)
	findings = append(findings, relays(ctx, status)...)
	findings = append(findings, reservations(status))
	findings = append(findings, nat(ctx, status)...)
	findings = append(findings, peers(status))
	return append(findings, c.tunnels(ctx)...)
}

func (c *doctorCmd) identity() finding {
	_, err := datadir.ReadKey(c.DataDir)
	switch {
	case errors.Is(err, datadir.ErrNoIdentity):
		return finding{"identity", warning, "there is none yet in " + c.DataDir, "tombolo up creates one"}
	case err != nil:
		return finding{"identity", failed, err.Error(), "restore the key, do not delete it: other peers know this node by it"}
	}
	return finding{"identity", fine, "in " + c.DataDir, ""}
}

// ports connects to the TCP ports of this machine that the daemon listens on.
func ports(ctx context.Context, s control.Status) []finding {
	var findings []finding
	seen := make(map[string]bool)
	listens := false
	for _, text := range s.Addrs {
		addr, err := ma.NewMultiaddr(text)
		if err != nil || strings.Contains(text, "/p2p-circuit") {
			continue
		}
		listens = true
		network, hostPort, err := manet.DialArgs(firstTwo(addr))
		if err != nil || !strings.HasPrefix(network, "tcp") || seen[hostPort] {
			continue
		}
		seen[hostPort] = true
		if err := probe(ctx, network, hostPort); err != nil {
			findings = append(findings, portFinding(hostPort, err))
			continue
		}
		findings = append(findings, finding{"port", fine, "TCP " + hostPort + " answers from this machine", ""})
	}
	if !listens {
		return []finding{{"port", warning, "the daemon does not listen on any port", "peers can reach it only through a relay"}}
	}
	return findings
}

// portFinding returns the finding for a port that does not answer from this machine. If
// the address is an announced one, of a router or a proxy, that need not be a fault.
func portFinding(hostPort string, err error) finding {
	found := fmt.Sprintf("TCP %s does not answer from this machine: %v", hostPort, err)
	if !isOurs(hostPort) {
		return finding{"port", warning, found, "it is not an address of this machine: test from another network that it is forwarded here"}
	}
	return finding{"port", failed, found, "a firewall of this machine may block it; allow it, or choose another with --listen"}
}

// isOurs reports whether an interface of this machine has the address.
func isOurs(hostPort string) bool {
	host, _, _ := net.SplitHostPort(hostPort)
	addrs, err := net.InterfaceAddrs()
	return err == nil && slices.ContainsFunc(addrs, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		return ok && n.IP.Equal(net.ParseIP(host))
	})
}

func firstTwo(a ma.Multiaddr) ma.Multiaddr {
	if len(a) > 2 {
		return a[:2]
	}
	return a
}

func probe(ctx context.Context, network, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return err
	}
	return c.Close()
}

// relays requests the pages of the relays, which shows that they run, and what time it
// is.
func relays(ctx context.Context, s control.Status) []finding {
	if len(s.Relays) == 0 {
		return []finding{{"relay", warning, "none is configured", "browsers and peers behind a router need one to reach this node: tombolo up --relay"}}
	}
	var order []string // of the relays' IDs
	answered, failures := make(map[string]string), make(map[string][]string)
	clock := finding{"clock", warning, "no relay reports the time over HTTP", "check it with timedatectl"}
	var findings []finding
	for _, text := range s.Relays {
		if strings.Contains(text, "://") {
			findings = append(findings, finding{"relay", failed, text + " has not answered with its addresses", "check that it runs, and that this network lets you reach it"})
			continue
		}
		whole, err := ma.NewMultiaddr(text)
		if err != nil {
			continue
		}
		addr, id := peer.SplitAddr(whole)
		network, hostPort, err := manet.DialArgs(firstTwo(addr))
		if err != nil || !strings.HasPrefix(network, "tcp") || answered[id.String()] != "" {
			continue
		}
		if !slices.Contains(order, id.String()) {
			order = append(order, id.String())
		}
		if err := probe(ctx, network, hostPort); err != nil {
			failures[id.String()] = append(failures[id.String()], fmt.Sprintf("%s does not answer: %v", hostPort, err))
			continue
		}
		answered[id.String()] = hostPort
		if skew, ok := clockSkew(ctx, text, hostPort); ok {
			clock = clockFinding(skew, hostPort)
		}
	}
	for _, id := range order {
		findings = append(findings, relayFinding(id, answered[id], failures[id]))
	}
	if len(findings) == 0 {
		findings = []finding{{"relay", warning, "none has a TCP address to test", "give one with --relay, for networks that block UDP"}}
	}
	return append(findings, clock)
}

// relayFinding returns the finding for a relay. One address that answers is enough.
func relayFinding(id, answered string, failures []string) finding {
	if answered != "" {
		return finding{"relay", fine, fmt.Sprintf("%s answers at %s", id, answered), ""}
	}
	return finding{"relay", failed, id + ": " + strings.Join(slices.Compact(failures), "; "), "check that it runs, and that this network lets you reach it"}
}

func clockFinding(skew time.Duration, where string) finding {
	if skew.Abs() > clockSlack {
		return finding{"clock", failed, fmt.Sprintf("it differs from the clock of %s by %s", where, skew.Round(time.Second)),
			"set it (timedatectl set-ntp true): certificates and reservations look expired, or not yet valid"}
	}
	return finding{"clock", fine, "it agrees with the clock of " + where, ""}
}

// clockSkew returns how far this clock is ahead of a relay's.
func clockSkew(ctx context.Context, addr, hostPort string) (time.Duration, bool) {
	scheme := "http"
	if strings.Contains(addr, "/wss") || strings.Contains(addr, "/tls/") {
		scheme = "https"
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, scheme+"://"+hostPort+"/healthz", nil)
	if err != nil {
		return 0, false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, false
	}
	_ = resp.Body.Close()
	theirs, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return 0, false
	}
	return time.Since(theirs), true
}

func reservations(s control.Status) finding {
	switch {
	case len(s.Reservations) > 0:
		r := s.Reservations[0]
		return finding{"reservation", fine, fmt.Sprintf("%d held; on %s until %s", len(s.Reservations), r.Relay, r.Expires.Local().Format(time.TimeOnly)), ""}
	case len(s.Relays) > 0:
		return finding{"reservation", failed, "there is none, so no peer can reach this node through its relays", "see the log of the relay; it may be full"}
	}
	return finding{"reservation", warning, "there is none, because no relay is configured", "give one with --relay, if peers in other networks should reach this node"}
}

func peers(s control.Status) finding {
	if s.Peers == 0 {
		return finding{"peers", warning, "none is connected", "connect to one with tombolo connect, or wait"}
	}
	return finding{"peers", fine, fmt.Sprintf("%d connected", s.Peers), ""}
}

// tunnels reports the tunnels that do not work.
func (c *doctorCmd) tunnels(ctx context.Context) []finding {
	list, err := call(ctx, c.clientFlags, control.VerbLs, control.None{})
	if err != nil {
		return []finding{{"tunnels", failed, err.Error(), "restart the daemon"}}
	}
	var findings []finding
	check := func(proto protocol.ID, waiting, lastError string) {
		switch {
		case waiting != "":
			findings = append(findings, finding{"tunnel", failed, waiting, "correct that, and the daemon sets it up; or tombolo close -p " + string(proto)})
		case lastError != "":
			findings = append(findings, finding{"tunnel", warning, "the last connection failed: " + lastError, "the next connection tries again"})
		}
	}
	for _, l := range list.Listeners {
		check(l.Protocol, l.Waiting, "")
	}
	for _, f := range list.Forwards {
		check(f.Protocol, f.Waiting, f.Error)
	}
	if len(findings) == 0 {
		return []finding{{"tunnels", fine, fmt.Sprintf("%d listeners, %d forwards", len(list.Listeners), len(list.Forwards)), ""}}
	}
	return findings
}
