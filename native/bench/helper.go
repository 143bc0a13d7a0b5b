package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	circuit "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	circuitrelay "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/native"
	"github.com/tombolo-net/tombolo/native/local"
	"github.com/tombolo-net/tombolo/native/stack"
	"github.com/tombolo-net/tombolo/relay"
)

// helperWord as the first argument makes this program one process of a measurement:
//
//	bench tunnel <kind> <transport> listen <target> [relay]
//	bench tunnel <kind> <transport> forward <peer>
//	bench tunnel <kind> <transport> relay
//	bench tunnel line <round trip> <target>
//	bench tunnel room <players> <radius>
//	bench tunnel lossy check | <contender> <percent> <seed>
//	bench tunnel lossy-room <transport>
//	bench tunnel moving-room <standby>
//	bench tunnel walking-room <name> [neighbour]
//	bench tunnel centrifuge <radius>
//	bench tunnel bare-relay ours | stock
//	bench tunnel quiet <address>
//	bench tunnel service
//
// kind is stock or ours; transport is tcp, quic, circuit (through a relay reached over TCP)
// or circuit-quic. The process prints one line, its address, when it is ready, and ends
// when its standard input does. Only lossy prints its results instead, and ends by itself.
// The last is the measured service itself.
const helperWord = "tunnel"

const benchProtocol = "/x/bench"

func helper(args []string) int {
	if len(args) > 0 && args[0] == "lossy" {
		return lossyHelper(args[1:])
	}
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
	if len(args) == 3 && args[0] == "room" {
		return serveRoom(ctx, args[1], args[2])
	}
	if len(args) == 2 && args[0] == "moving-room" {
		return serveMovingRoom(ctx, args[1])
	}
	if len(args) >= 2 && args[0] == "walking-room" {
		return serveWalkingRoom(ctx, args[1], args[2:])
	}
	if len(args) == 2 && args[0] == "lossy-room" {
		return serveLossyRoom(ctx, args[1])
	}
	if len(args) == 2 && args[0] == "bare-relay" {
		return serveBareRelay(ctx, args[1])
	}
	if len(args) == 2 && args[0] == "quiet" {
		return quietPair(ctx, args[1])
	}
	if len(args) == 2 && args[0] == "centrifuge" {
		return serveCentrifuge(args[1])
	}
	if (len(args) == 3 || len(args) == 4) && args[0] == "line" {
		trip, err := time.ParseDuration(args[1])
		if err != nil {
			return "", nil, err
		}
		rate := 0
		if len(args) == 4 {
			if rate, err = strconv.Atoi(args[3]); err != nil {
				return "", nil, err
			}
		}
		return serveLine(trip, rate, args[2])
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

func isCircuit(transport string) bool { return strings.HasPrefix(transport, "circuit") }

type tunnelEnd struct {
	ours      bool
	transport string
}

// addrs returns the addresses that an end listens on: one of its transport, or none if
// others reach it through a circuit.
func (e tunnelEnd) addrs() []ma.Multiaddr {
	switch e.transport {
	case "tcp":
		return stack.ListenOn(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0, -1)[:1]
	case "quic":
		return stack.ListenOn(netip.AddrFrom4([4]byte{127, 0, 0, 1}), -1, 0)[:1]
	}
	return []ma.Multiaddr{}
}

func (e tunnelEnd) node(ctx context.Context, relays ...peer.AddrInfo) (*core.Node, func(), error) {
	n, err := native.New(ctx, native.Options{Listen: e.addrs(), Relays: relays, NoMDNS: true, NoPortMapping: true})
	if err != nil {
		return nil, nil, err
	}
	return n, func() { _ = n.Close() }, nil
}

func (e tunnelEnd) stockHost() (host.Host, func(), error) {
	h, err := libp2p.New(libp2p.ListenAddrs(e.addrs()...))
	if err != nil {
		return nil, nil, err
	}
	return h, func() { _ = h.Close() }, nil
}

// relay runs a relay whose circuits have no limits.
func (e tunnelEnd) relay(ctx context.Context) (string, func(), error) {
	listen := stack.ListenOn(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0, -1)[:1]
	if e.transport == "circuit-quic" {
		listen = stack.ListenOn(netip.AddrFrom4([4]byte{127, 0, 0, 1}), -1, 0)[:1]
	}
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

// listen forwards streams to the target, through the relay if there is one.
func (e tunnelEnd) listen(ctx context.Context, target, through string) (string, func(), error) {
	var relays []peer.AddrInfo
	if through != "" {
		info, err := core.ParsePeer(through)
		if err != nil {
			return "", nil, err
		}
		relays = append(relays, info)
	}
	serve := e.listenStock
	if e.ours {
		serve = e.listenOurs
	}
	h, stop, err := serve(ctx, target, relays)
	if err != nil {
		return "", nil, err
	}
	if through == "" {
		return addressOf(h), stop, nil
	}
	return fmt.Sprintf("%s/p2p-circuit/p2p/%s", through, h.ID()), stop, nil
}

// listenOurs does what tombolo listen does.
func (e tunnelEnd) listenOurs(ctx context.Context, target string, relays []peer.AddrInfo) (host.Host, func(), error) {
	n, stop, err := e.node(ctx, relays...)
	if err != nil {
		return nil, nil, err
	}
	to, err := local.Target(target)
	if err == nil {
		_, err = n.Listen(ctx, benchProtocol, to)
	}
	if err == nil && len(relays) > 0 {
		err = until(startLimit, func() bool { return len(n.Reservations()) > 0 })
	}
	if err != nil {
		stop()
		return nil, nil, err
	}
	return n.Host(), stop, nil
}

func (e tunnelEnd) listenStock(ctx context.Context, target string, relays []peer.AddrInfo) (host.Host, func(), error) {
	h, stop, err := e.stockHost()
	if err != nil {
		return nil, nil, err
	}
	h.SetStreamHandler(benchProtocol, func(s network.Stream) {
		c, err := net.Dial("tcp", target)
		if err != nil {
			_ = s.Reset()
			return
		}
		spliceStock(c.(*net.TCPConn), s)
	})
	for _, relay := range relays {
		if err = h.Connect(ctx, relay); err == nil {
			_, err = circuit.Reserve(ctx, h, relay)
		}
		if err != nil {
			stop()
			return nil, nil, fmt.Errorf("reserve: %w", err)
		}
	}
	return h, stop, nil
}

// forward forwards connections on the loopback to the peer.
func (e tunnelEnd) forward(ctx context.Context, to string) (string, func(), error) {
	info, err := core.ParsePeer(to)
	if err != nil {
		return "", nil, err
	}
	if e.ours {
		return e.forwardOurs(ctx, info)
	}
	return e.forwardStock(ctx, info)
}

// forwardOurs does what tombolo forward does.
func (e tunnelEnd) forwardOurs(ctx context.Context, to peer.AddrInfo) (string, func(), error) {
	n, stop, err := e.node(ctx)
	if err != nil {
		return "", nil, err
	}
	err = n.ConnectPeer(ctx, to)
	var from bridge.Acceptor
	if err == nil {
		from, err = local.Listen(ctx, "127.0.0.1:0")
	}
	if err == nil {
		_, err = n.Forward(ctx, benchProtocol, from, to.ID)
	}
	var addr ma.Multiaddr
	if err == nil {
		addr, err = ma.NewMultiaddr(from.String())
	}
	var bound net.Addr
	if err == nil {
		bound, err = manet.ToNetAddr(addr)
	}
	if err != nil {
		stop()
		return "", nil, err
	}
	return bound.String(), stop, nil
}

func (e tunnelEnd) forwardStock(ctx context.Context, to peer.AddrInfo) (string, func(), error) {
	h, stop, err := e.stockHost()
	if err != nil {
		return "", nil, err
	}
	err = h.Connect(ctx, to)
	var l net.Listener
	if err == nil {
		l, err = net.Listen("tcp", "127.0.0.1:0")
	}
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
				s, err := h.NewStream(ctx, to.ID, benchProtocol)
				if err != nil {
					c.Close()
					return
				}
				spliceStock(c.(*net.TCPConn), s)
			}()
		}
	}()
	return l.Addr().String(), stop, nil
}

// spliceStock copies between the two until both directions have ended, in the obvious way.
func spliceStock(c *net.TCPConn, s network.Stream) {
	defer s.Close()
	defer c.Close()
	var there sync.WaitGroup
	there.Go(func() {
		if _, err := io.Copy(s, c); err != nil {
			_ = s.Reset()
			return
		}
		_ = s.CloseWrite()
	})
	_, _ = io.Copy(c, s)
	_ = c.CloseWrite()
	there.Wait()
}
