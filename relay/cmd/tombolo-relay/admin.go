package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tombolo-net/tombolo/native/command"
	"github.com/tombolo-net/tombolo/relay"
)

// adminTimeout bounds one request to the relay.
const adminTimeout = 30 * time.Second

// adminCLI is the command line of the operator's commands. They use the socket of the
// relay that runs with the data directory.
type adminCLI struct {
	operated

	Peers    peersCmd  `cmd:"" help:"List the connected peers."`
	Top      topCmd    `cmd:"" help:"List the connected peers, those that have sent most through circuits first."`
	Limits   limitsCmd `cmd:"" help:"List the limits, how much of each is used, and what it has refused."`
	Rules    rulesCmd  `cmd:"" help:"List who is allowed and banned."`
	Kick     doCmd     `cmd:"" help:"Close the connections of a peer. It may come back."`
	Ban      doCmd     `cmd:"" help:"Ban a peer ID, an IP address or a range, and close its connections."`
	Unban    doCmd     `cmd:"" help:"Take a ban back."`
	Allow    doCmd     `cmd:"" help:"Allow a peer ID, an IP address or a range to use a relay with --closed."`
	Disallow doCmd     `cmd:"" help:"Take that back, and close its connections."`
	Drain    bareCmd   `cmd:"" help:"Have all peers move to other relays, and end the relay."`
	Reload   bareCmd   `cmd:"" help:"Read the configuration, the file of rules, and the folders of --page and --docs anew."`
}

// adminCommands are the words that select adminCLI.
var adminCommands = []string{"peers", "top", "limits", "rules", "kick", "ban", "unban", "allow", "disallow", "drain", "reload"}

// adminProgram returns the program of these commands.
func adminProgram() command.Program {
	c := &adminCLI{}
	c.Kick.verb, c.Ban.verb, c.Unban.verb, c.Allow.verb, c.Disallow.verb = "kick", "ban", "unban", "allow", "disallow"
	c.Drain.verb, c.Reload.verb = "drain", "reload"
	return command.Program{
		Name:        "tombolo-relay",
		Description: "See and steer the relay that runs with a data directory.",
		EnvPrefix:   "TOMBOLO_RELAY",
		Flags:       c,
	}
}

// operated selects the relay that runs with a data directory.
type operated struct {
	DataDir string `help:"Data directory of the relay. Default: ${default}." default:"~/.tombolo-relay" type:"path" placeholder:"DIR"`
}

// ask sends a request to the relay's socket.
func (c *operated) ask(ctx context.Context, method, path string, form url.Values) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	socket := filepath.Join(c.DataDir, relay.AdminSocket)
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	request, err := http.NewRequestWithContext(ctx, method, "http://relay/"+path, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask the relay of %s: %w (does it run? pass its --data-dir)", c.DataDir, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("ask the relay of %s: %w", c.DataDir, err)
	}
	if resp.StatusCode >= 300 {
		return nil, fmt.Errorf("%s: %s", path, bytes.TrimSpace(body))
	}
	return body, nil
}

// listing prints a list in columns, or as JSON.
type listing struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// print prints the relay's answer. row formats each element as a line below the heading.
func print[T any](l listing, body []byte, heading string, order func(a, b T) int, row func(T) string) error {
	var all []T
	if err := json.Unmarshal(body, &all); err != nil {
		return fmt.Errorf("read what the relay says: %w", err)
	}
	if order != nil {
		slices.SortStableFunc(all, order)
	}
	if l.JSON {
		return command.JSON(os.Stdout, "  ", all)
	}
	var text bytes.Buffer
	columns := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(columns, heading)
	for _, one := range all {
		fmt.Fprintln(columns, row(one))
	}
	_ = columns.Flush()
	for line := range strings.Lines(text.String()) {
		if err := command.Line(os.Stdout, "%s", strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

func printPeers(ctx context.Context, c *operated, l listing, order func(a, b relay.PeerStatus) int) error {
	body, err := c.ask(ctx, http.MethodGet, "peers", nil)
	if err != nil {
		return err
	}
	return print(l, body, "PEER\tFROM\tFOR\tRESERVED\tCIRCUITS\tBYTES\tSLOWED", order, func(p relay.PeerStatus) string {
		return fmt.Sprintf("%s\t%s\t%s\t%t\t%d\t%d\t%d", p.Peer, strings.Join(p.Addrs, ","),
			time.Since(p.Since).Round(time.Second), p.Reserved, p.Circuits, p.Bytes, p.Slowed)
	})
}

type peersCmd struct{ listing }

func (c *peersCmd) Run(ctx context.Context, a *adminCLI) error {
	return printPeers(ctx, &a.operated, c.listing, nil)
}

type topCmd struct{ listing }

func (c *topCmd) Run(ctx context.Context, a *adminCLI) error {
	return printPeers(ctx, &a.operated, c.listing, func(a, b relay.PeerStatus) int { return cmp.Compare(b.Bytes, a.Bytes) })
}

type limitsCmd struct{ listing }

func (c *limitsCmd) Run(ctx context.Context, a *adminCLI) error {
	body, err := a.ask(ctx, http.MethodGet, "limits", nil)
	if err != nil {
		return err
	}
	return print(c.listing, body, "LIMIT\tVALUE\tUSED\tREFUSED\tFLAG", nil, func(l relay.LimitStatus) string {
		return fmt.Sprintf("%s\t%d\t%d\t%d\t%s", l.Limit, l.Value, l.Used, l.Refused, l.Flag)
	})
}

type rulesCmd struct{ listing }

func (c *rulesCmd) Run(ctx context.Context, a *adminCLI) error {
	body, err := a.ask(ctx, http.MethodGet, "rules", nil)
	if err != nil {
		return err
	}
	return print(c.listing, body, "RULE", nil, func(line string) string { return line })
}

// bareCmd is a command about the relay as a whole.
type bareCmd struct{ verb string }

func (c *bareCmd) Run(ctx context.Context, a *adminCLI) error {
	_, err := a.ask(ctx, http.MethodPost, c.verb, nil)
	return err
}

// doCmd is a command about one peer or range.
type doCmd struct {
	verb string
	Who  string `arg:"" help:"A peer ID; for all but kick also an IP address or a range such as 192.0.2.0/24."`
}

func (c *doCmd) Run(ctx context.Context, a *adminCLI) error {
	_, err := a.ask(ctx, http.MethodPost, c.verb, url.Values{"who": {c.Who}})
	return err
}
