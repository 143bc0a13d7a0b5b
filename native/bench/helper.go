package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	circuit "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	circuitrelay "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/native"
	"github.com/tombolo-net/tombolo/native/socket"
	"github.com/tombolo-net/tombolo/native/stack"
	"github.com/tombolo-net/tombolo/relay"
)

// helperWord as the first argument makes this program one process of a tunnel:
//
//	bench tunnel <kind> <transport> listen <target> [relay]
//	bench tunnel <kind> <transport> forward <peer>
//	bench tunnel <kind> <transport> relay
//	bench tunnel service
//
// kind is stock or ours, transport tcp, quic or circuit. It prints one line when
// it is ready, its address, and ends when its standard input does. The last is the measured service itself.
const helperWord = "tunnel"

const benchProtocol = "/x/bench"

func helper(args []string) int {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	address, stop, err := helperStart(ctx, args)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer stop()
	fmt.Println(address)
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

func helperStart(ctx context.Context, args []string) (address string, stop func(), err error) {
	if len(args) == 1 && args[0] == "service" {
		return serveService()
	}
	if len(args) < 3 {
		return "", nil, errors.New("usage: bench tunnel kind transport role …")
	}
	e := tunnelEnd{ours: args[0] == "ours", transport: args[1]}
	switch role, rest := args[2], args[3:]; {
	case role == "relay":
		return e.relay(ctx)
	case role == "listen" && len(rest) == 1:
		return e.listen(ctx, rest[0], "")
	case role == "listen" && len(rest) == 2:
		return e.listen(ctx, rest[0], rest[1])
	case role == "forward" && len(rest) == 1:
		return e.forward(ctx, rest[0])
	default:
		return "", nil, fmt.Errorf("there is no role %q with %d arguments", role, len(rest))
	}
}

type tunnelEnd struct {
	ours      bool
	transport string
}

// host makes a host that listens on the one transport, or nowhere if others are
// to come through a circuit.
func (e tunnelEnd) host(ctx context.Context, relays ...peer.AddrInfo) (host.Host, func(), error) {
	listen := []ma.Multiaddr{}
	switch e.transport {
	case "tcp":
		listen = stack.ListenOn(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0, -1)[:1]
	case "quic":
		listen = stack.ListenOn(netip.AddrFrom4([4]byte{127, 0, 0, 1}), -1, 0)[:1]
	}
	if e.ours {
		n, err := native.New(ctx, native.Options{Listen: listen, Relays: relays, NoMDNS: true, NoPortMapping: true})
		if err != nil {
			return nil, nil, err
		}
		return n.Host(), func() { _ = n.Close() }, nil
	}
	h, err := libp2p.New(libp2p.ListenAddrs(listen...))
	if err != nil {
		return nil, nil, err
	}
	return h, func() { _ = h.Close() }, nil
}

// relay passes circuits on, without limits.
func (e tunnelEnd) relay(ctx context.Context) (string, func(), error) {
	listen := stack.ListenOn(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0, -1)[:1]
	if e.ours {
		r, err := relay.New(ctx, relay.Options{Listen: listen, NoPortMapping: true, Limits: relay.Limits{PeerRate: -1}})
		if err != nil {
			return "", nil, err
		}
		return r.Node().Addrs()[0].String(), func() { _ = r.Close() }, nil
	}
	h, err := libp2p.New(libp2p.ListenAddrs(listen...), libp2p.ForceReachabilityPublic(),
		libp2p.EnableRelayService(circuitrelay.WithInfiniteLimits()))
	if err != nil {
		return "", nil, err
	}
	return addressOf(h), func() { _ = h.Close() }, nil
}

func addressOf(h host.Host) string { return fmt.Sprintf("%s/p2p/%s", h.Addrs()[0], h.ID()) }

// listen takes streams to the target, if there is a relay, through it.
func (e tunnelEnd) listen(ctx context.Context, target, through string) (string, func(), error) {
	var relays []peer.AddrInfo
	if through != "" {
		info, err := core.ParsePeer(through)
		if err != nil {
			return "", nil, err
		}
		relays = append(relays, info)
	}
	h, stop, err := e.host(ctx, relays...)
	if err != nil {
		return "", nil, err
	}
	h.SetStreamHandler(benchProtocol, func(s network.Stream) {
		c, err := net.Dial("tcp", target)
		if err != nil {
			_ = s.Reset()
			return
		}
		e.splice(c.(*net.TCPConn), s)
	})
	if through == "" {
		return addressOf(h), stop, nil
	}
	if e.ours {
		err = until(startLimit, func() bool { return strings.Contains(fmt.Sprint(h.Addrs()), "p2p-circuit") })
	} else if err = h.Connect(ctx, relays[0]); err == nil {
		_, err = circuit.Reserve(ctx, h, relays[0])
	}
	if err != nil {
		stop()
		return "", nil, fmt.Errorf("reserve: %w", err)
	}
	return fmt.Sprintf("%s/p2p-circuit/p2p/%s", through, h.ID()), stop, nil
}

// forward takes connections on the loopback to the peer.
func (e tunnelEnd) forward(ctx context.Context, to string) (string, func(), error) {
	info, err := core.ParsePeer(to)
	if err != nil {
		return "", nil, err
	}
	h, stop, err := e.host(ctx)
	if err != nil {
		return "", nil, err
	}
	if err := h.Connect(ctx, info); err != nil {
		stop()
		return "", nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		stop()
		return "", nil, err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				ctx := network.WithAllowLimitedConn(context.Background(), "bench")
				s, err := h.NewStream(ctx, info.ID, benchProtocol)
				if err != nil {
					c.Close()
					return
				}
				e.splice(c.(*net.TCPConn), s)
			}()
		}
	}()
	return l.Addr().String(), stop, nil
}

// splice joins the two until both directions have ended: stock as anybody would
// write it, ours as Tombolo's bridge does.
func (e tunnelEnd) splice(c *net.TCPConn, s network.Stream) {
	defer s.Close()
	defer c.Close()
	local, carry := net.Conn(c), io.Copy
	if e.ours {
		local, carry = socket.Wrap(c), copyLarge
	}
	var there sync.WaitGroup
	there.Go(func() {
		if _, err := carry(s, local); err != nil {
			_ = s.Reset()
			return
		}
		_ = s.CloseWrite()
	})
	_, _ = carry(local, s)
	_ = c.CloseWrite()
	there.Wait()
}

// largeSize is a frame of yamux as native/stack makes them. Larger buffers cost
// more CPU, not less: what is in them leaves the cache before it is sent.
const largeSize = 60 << 10

var large = sync.Pool{New: func() any { return new([largeSize]byte) }}

func copyLarge(to io.Writer, from io.Reader) (int64, error) {
	b := large.Get().(*[largeSize]byte)
	defer large.Put(b)
	for n := int64(0); ; {
		m, err := from.Read(b[:])
		if m > 0 {
			if _, err := to.Write(b[:m]); err != nil {
				return n, err
			}
			n += int64(m)
		}
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}
