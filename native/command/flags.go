package command

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/alecthomas/kong"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/native/address"
	"github.com/tombolo-net/tombolo/native/stack"
)

// builtin has kong's own mappers.
var builtin = kong.NewRegistry().RegisterDefaults()

// withoutEmpty is the mapper of a flag that takes several values. It refuses an empty
// one: kong drops it, so that --allow "$PEER" with an unset PEER would allow everyone.
type withoutEmpty struct{ kong.Mapper }

// Decode implements kong.Mapper.
func (m withoutEmpty) Decode(ctx *kong.DecodeContext, target reflect.Value) error {
	text, ok := ctx.Scan.Peek().Value.(string)
	sep := ctx.Value.Tag.Sep
	if ok && ctx.Value.Flag != nil && slices.Contains(kong.SplitEscaped(text+string(sep), sep), "") {
		return errors.New("a value is empty: give one, or leave out the flag, its variable or its line")
	}
	return m.Mapper.Decode(ctx, target)
}

// notNegative is the mapper of a duration. No flag has a meaning for one below zero.
type notNegative struct{ kong.Mapper }

// Decode implements kong.Mapper.
func (m notNegative) Decode(ctx *kong.DecodeContext, target reflect.Value) error {
	err := m.Mapper.Decode(ctx, target)
	if d := time.Duration(target.Int()); err == nil && d < 0 {
		return fmt.Errorf("%s is below zero: give a time such as 30s", d)
	}
	return err
}

// Listen is a flag for where to listen: a multiaddr, or host:port for every transport
// there.
type Listen []ma.Multiaddr

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *Listen) UnmarshalText(text []byte) (err error) {
	*l, err = stack.ParseListen(string(text))
	return err
}

// Addrs joins the addresses of several flags; nil if there are none.
func Addrs(flags []Listen) (addrs []ma.Multiaddr) {
	for _, f := range flags {
		addrs = append(addrs, f...)
	}
	return addrs
}

// Multiaddr is a flag for one multiaddr.
type Multiaddr struct{ ma.Multiaddr }

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *Multiaddr) UnmarshalText(text []byte) (err error) {
	if m.Multiaddr, err = ma.NewMultiaddr(string(text)); err != nil {
		return fmt.Errorf("%q is not a multiaddr (%w): write one like /dns4/relay.example/tcp/443/tls/ws", text, err)
	}
	if _, err := m.ValueForProtocol(ma.P_P2P); err == nil {
		return fmt.Errorf("%q: leave out the /p2p/<id> of an address to announce: it is added automatically", text)
	}
	return nil
}

// Multiaddrs returns the multiaddrs of flags.
func Multiaddrs(flags []Multiaddr) (addrs []ma.Multiaddr) {
	for _, f := range flags {
		addrs = append(addrs, f.Multiaddr)
	}
	return addrs
}

// Peer is a flag for a peer with an address: a multiaddr that ends in /p2p/<id>.
type Peer string

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Peer) UnmarshalText(text []byte) error {
	*p = Peer(text)
	_, err := Peers([]Peer{*p})
	return err
}

// Peers returns the peers of flags, each once with all its addresses.
func Peers(flags []Peer) ([]peer.AddrInfo, error) {
	addrs := make([]string, len(flags))
	for i, f := range flags {
		addrs[i] = string(f)
	}
	return core.ParsePeers(addrs)
}

// HostPort is a flag for a TCP address of this machine; the host may be empty, for every
// interface.
type HostPort string

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *HostPort) UnmarshalText(text []byte) error {
	*h = HostPort(text)
	if _, _, err := address.HostPort(string(text)); err != nil {
		return fmt.Errorf("%q is not host:port: %w", text, err)
	}
	return nil
}
