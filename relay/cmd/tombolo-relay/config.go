package main

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"reflect"
	"strconv"

	"github.com/alecthomas/kong"

	"github.com/tombolo-net/tombolo/native/address"
	"github.com/tombolo-net/tombolo/native/command"
	"github.com/tombolo-net/tombolo/native/stack"
	"github.com/tombolo-net/tombolo/relay"
)

// peerCount is a flag for a number of peers to size limits for.
type peerCount uint32

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *peerCount) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 10, 32)
	if err != nil {
		return fmt.Errorf("%q is not a number of peers: %w", text, err)
	}
	*p = peerCount(n)
	return stack.CheckPeers(int(n))
}

// admissionURL is a flag for the URL of an admission service.
type admissionURL string

// UnmarshalText implements encoding.TextUnmarshaler.
func (u *admissionURL) UnmarshalText(text []byte) error {
	*u = admissionURL(text)
	return relay.CheckAdmission(string(text))
}

// domain is a flag for a name or IP address to get a certificate for.
type domain string

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *domain) UnmarshalText(text []byte) error {
	*d = domain(text)
	return relay.CheckDomain(string(text))
}

func domains(flags []domain) (names []string) {
	for _, d := range flags {
		names = append(names, string(d))
	}
	return names
}

// proxyRange is a flag for an IP address or a range.
type proxyRange netip.Prefix

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *proxyRange) UnmarshalText(text []byte) error {
	r, err := address.Range(string(text))
	*p = proxyRange(r)
	return err
}

func ranges(flags []proxyRange) (all []netip.Prefix) {
	for _, p := range flags {
		all = append(all, netip.Prefix(p))
	}
	return all
}

// BeforeResolve reads the configuration.
func (c *cli) BeforeResolve(ctx *kong.Context, trace *kong.Path) (err error) {
	c.file, err = command.ReadConfig(ctx, trace.Node())
	return err
}

// reread parses the configuration again and passes the result to apply.
func (c *cli) reread(apply func(relay.Options) error, setLevel func(slog.Level)) error {
	next := &cli{}
	if err := program(next).Parse(os.Args[1:]); err != nil {
		return err
	}
	if flag := c.restart(next); flag != "" {
		return next.fault(flag, fmt.Errorf("%s cannot change while the relay runs: restart it", flag))
	}
	if next.Peers > c.Peers {
		return next.fault("peers", fmt.Errorf("peers cannot be more than the %d that the relay was started with: restart it", c.Peers))
	}
	o, err := next.options()
	if err != nil {
		return err
	}
	if err := apply(o); err != nil {
		return err
	}
	setLevel(next.LogLevel)
	return nil
}

// fault adds the place of a flag in the configuration to an error.
func (c *cli) fault(flag string, err error) error {
	if c.file == nil {
		return err // the file no longer exists
	}
	return fmt.Errorf("%s: %w", c.file.Place(flag), err)
}

// restart returns the name of a flag that has changed and requires a restart; empty if
// there is none.
func (c *cli) restart(next *cli) string {
	before, after := reflect.ValueOf(c).Elem(), reflect.ValueOf(next).Elem()
	for i := range before.NumField() {
		if flag := before.Type().Field(i).Tag.Get("restart"); flag != "" && !reflect.DeepEqual(before.Field(i).Interface(), after.Field(i).Interface()) {
			return flag
		}
	}
	return ""
}
