package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	circuit "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	circuitrelay "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/libp2p/go-libp2p/p2p/transport/websocket"
	webtransport "github.com/libp2p/go-libp2p/p2p/transport/webtransport"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/tombolo-net/tombolo/native/stack"
	"github.com/tombolo-net/tombolo/relay"
)

// The load on the relays.
const (
	silentClients = 1000
	stormClients  = 1000
	pushers       = 20
	quietTime     = 10 * time.Second // for a pair that sends every quietEvery
	quietEvery    = 20 * time.Millisecond
	joinProbes    = 40
)

// serveBareRelay runs a relay on every transport: ours with its program's defaults, or
// go-libp2p's without limits.
func serveBareRelay(ctx context.Context, kind string) (string, func(), error) {
	listen := stack.ListenOn(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0, 0)
	var h host.Host
	var stop func()
	if kind == "ours" {
		r, err := relay.New(ctx, relay.Options{Listen: listen, NoPortMapping: true})
		if err != nil {
			return "", nil, err
		}
		h, stop = r.Node().Host(), func() { _ = r.Close() }
	} else {
		var err error
		h, err = libp2p.New(libp2p.ListenAddrs(listen[:4]...), libp2p.ShareTCPListener(), libp2p.ForceReachabilityPublic(),
			libp2p.ResourceManager(&network.NullResourceManager{}),
			libp2p.EnableRelayService(circuitrelay.WithResources(circuitrelay.Resources{
				ReservationTTL: time.Hour, MaxReservations: 1 << 20, MaxReservationsPerIP: 1 << 20, MaxReservationsPerASN: 1 << 20,
				MaxCircuits: 1 << 20, BufferSize: 2048,
			})))
		if err != nil {
			return "", nil, err
		}
		stop = func() { _ = h.Close() }
	}
	var all []string
	for _, a := range h.Addrs() {
		all = append(all, a.String())
	}
	return h.ID().String() + " " + strings.Join(all, " "), stop, nil
}

// bareRelay is a relay that runs in a separate process.
type bareRelay struct {
	*process
	peer.AddrInfo
}

func startBareRelay(ctx context.Context, kind string) (*bareRelay, error) {
	p, said, err := startHelper(ctx, "bare-relay", kind)
	if err != nil {
		return nil, err
	}
	r := &bareRelay{process: p}
	id, addrs, _ := strings.Cut(said, " ")
	if r.ID, err = peer.Decode(id); err != nil {
		p.stop()
		return nil, err
	}
	for a := range strings.FieldsSeq(addrs) {
		r.Addrs = append(r.Addrs, ma.StringCast(a))
	}
	return r, nil
}

// over returns the relay's ID and its addresses of one transport.
func (r *bareRelay) over(transport string) peer.AddrInfo {
	return peer.AddrInfo{ID: r.ID, Addrs: slices.DeleteFunc(slices.Clone(r.Addrs), func(a ma.Multiaddr) bool {
		names := a.Protocols()
		last := ""
		for _, p := range names {
			if p.Code != ma.P_CERTHASH {
				last = p.Name
			}
		}
		return last != transport
	})}
}

func bareClient(transport string) (host.Host, error) {
	made := map[string]libp2p.Option{
		"tcp": libp2p.Transport(tcp.NewTCPTransport), "ws": libp2p.Transport(websocket.New),
		"quic-v1": libp2p.Transport(quic.NewTransport), "webtransport": libp2p.Transport(webtransport.New),
	}[transport]
	return libp2p.New(libp2p.NoListenAddrs, made, libp2p.DisableMetrics(), libp2p.EnableRelay(), libp2p.ResourceManager(&network.NullResourceManager{}))
}

// join returns a client with a reservation.
func (r *bareRelay) join(ctx context.Context, transport string) (host.Host, error) {
	h, err := bareClient(transport)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err = h.Connect(ctx, r.over(transport)); err == nil {
		_, err = circuit.Reserve(ctx, h, peer.AddrInfo{ID: r.ID})
	}
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// eachRelay measures each relay once a round.
func eachRelay(rounds int, measure func(ctx context.Context, kind string, r *bareRelay) error) error {
	for range rounds {
		for _, kind := range []string{"ours", "stock"} {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
			r, err := startBareRelay(ctx, kind)
			if err == nil {
				err = measure(ctx, kind, r)
				r.stop()
			}
			cancel()
			if err != nil {
				return fmt.Errorf("%s: %w", kind, err)
			}
		}
	}
	return nil
}

// relayStorm measures how many of 1,000 clients that arrive at once get a reservation at
// their only attempt.
func relayStorm(transport string) func(int) ([]*figure, error) {
	return func(rounds int) ([]*figure, error) {
		in := newFigure("relay-storm/"+transport, "%", "ours", "stock")
		in.more = true
		last := newFigure("relay-storm/"+transport+"-last", "s", "ours", "stock")
		err := eachRelay(min(rounds, 2), func(ctx context.Context, kind string, r *bareRelay) error {
			hosts := make([]host.Host, stormClients)
			var err error
			for i := range hosts {
				if hosts[i], err = bareClient(transport); err != nil {
					return err
				}
				defer hosts[i].Close()
			}
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			began := time.Now()
			var joined atomic.Int64
			var joining sync.WaitGroup
			for _, h := range hosts {
				joining.Go(func() {
					if h.Connect(ctx, r.over(transport)) != nil {
						return
					}
					if _, err := circuit.Reserve(ctx, h, peer.AddrInfo{ID: r.ID}); err == nil {
						joined.Add(1)
					}
				})
			}
			joining.Wait()
			last.add(kind, time.Since(began).Seconds())
			in.add(kind, 100*float64(joined.Load())/stormClients)
			return nil
		})
		return []*figure{in, last}, err
	}
}

// relaySilent measures how long a client takes to get a reservation while the relay has
// 1,000 silent connections.
func relaySilent(rounds int) ([]*figure, error) {
	f := newFigure("relay-silent/p99", "ms", "ours", "stock")
	err := eachRelay(min(rounds, 2), func(ctx context.Context, kind string, r *bareRelay) error {
		at, err := r.over("tcp").Addrs[0].ValueForProtocol(ma.P_TCP)
		if err != nil {
			return err
		}
		held, stop := context.WithCancel(ctx)
		var holding sync.WaitGroup
		defer holding.Wait()
		defer stop()
		for range silentClients {
			holding.Go(func() {
				for held.Err() == nil {
					c, err := net.Dial("tcp", "127.0.0.1:"+at)
					if err != nil {
						time.Sleep(100 * time.Millisecond)
						continue
					}
					end := context.AfterFunc(held, func() { _ = c.Close() })
					_, _ = io.Copy(io.Discard, c)
					end()
					_ = c.Close()
				}
			})
		}
		time.Sleep(time.Second)
		var took []time.Duration
		for range joinProbes {
			began := time.Now()
			h, err := r.join(ctx, "ws")
			if err != nil {
				took = append(took, time.Minute)
				continue
			}
			took = append(took, time.Since(began))
			_ = h.Close()
			if time.Since(began) > 10*time.Second {
				break
			}
		}
		f.add(kind, quantile(took, 0.99))
		return nil
	})
	return []*figure{f}, err
}

const (
	sinkProtocol protocol.ID = "/bench/sink"
	echoProtocol protocol.ID = "/bench/echo"
)

// circuitPair returns two clients with a circuit between them.
func (r *bareRelay) circuitPair(ctx context.Context) (from, to host.Host, err error) {
	if to, err = r.join(ctx, "tcp"); err != nil {
		return nil, nil, err
	}
	to.SetStreamHandler(echoProtocol, func(s network.Stream) { _, _ = io.Copy(s, s) })
	if from, err = bareClient("tcp"); err != nil {
		return nil, nil, errors.Join(err, to.Close())
	}
	if err = from.Connect(ctx, r.over("tcp")); err == nil {
		through := r.over("tcp").Addrs[0].Encapsulate(ma.StringCast("/p2p/" + r.ID.String() + "/p2p-circuit"))
		err = from.Connect(ctx, peer.AddrInfo{ID: to.ID(), Addrs: []ma.Multiaddr{through}})
	}
	if err != nil {
		return nil, nil, errors.Join(err, to.Close(), from.Close())
	}
	return from, to, nil
}

// relayFair measures what 20 pairs that push as much as they can leave to one that sends
// little, and to each other.
func relayFair(rounds int) ([]*figure, error) {
	quiet := newFigure("relay-fair/quiet-p99", "times", "ours", "stock")
	spread := newFigure("relay-fair/most-to-least", "times", "ours", "stock")
	all := newFigure("relay-fair/all", "MiB/s", "ours", "stock")
	all.more = true
	err := eachRelay(min(rounds, 3), func(ctx context.Context, kind string, r *bareRelay) error {
		alone, err := r.quietP99(ctx)
		if err != nil {
			return err
		}
		pushing, stop := context.WithCancel(ctx)
		defer stop()
		sent := make([]atomic.Int64, pushers)
		for i := range sent {
			from, to, err := r.circuitPair(ctx)
			if err != nil {
				return err
			}
			defer to.Close()
			defer from.Close()
			// Counted by the receiver, because a sender is ahead by a window of megabytes.
			to.SetStreamHandler(sinkProtocol, func(s network.Stream) {
				for chunk := make([]byte, 64<<10); ; {
					n, err := s.Read(chunk)
					sent[i].Add(int64(n))
					if err != nil {
						return
					}
				}
			})
			s, err := from.NewStream(network.WithAllowLimitedConn(ctx, "bench"), to.ID(), sinkProtocol)
			if err != nil {
				return err
			}
			go func() {
				for chunk := make([]byte, 64<<10); pushing.Err() == nil; {
					if _, err := s.Write(chunk); err != nil {
						return
					}
				}
			}()
		}
		time.Sleep(3 * time.Second) // until the rates have settled
		before := make([]int64, pushers)
		for i := range sent {
			before[i] = sent[i].Load()
		}
		began := time.Now()
		busy, err := r.quietP99(ctx)
		if err != nil {
			return err
		}
		var rates []float64
		total := 0.0
		for i := range sent {
			rates = append(rates, float64(sent[i].Load()-before[i])/time.Since(began).Seconds()/(1<<20))
			total += rates[i]
		}
		quiet.add(kind, float64(busy)/float64(alone))
		spread.add(kind, slices.Max(rates)/slices.Min(rates))
		all.add(kind, total)
		return nil
	})
	return []*figure{quiet, spread, all}, err
}

// quietP99 returns the 99th percentile of a quiet pair's round trips. The pair is in a
// separate process, so that it waits only for the relay and not for the pairs that push.
func (r *bareRelay) quietP99(ctx context.Context) (time.Duration, error) {
	p, said, err := startHelper(ctx, "quiet", r.over("tcp").Addrs[0].String()+"/p2p/"+r.ID.String())
	if err != nil {
		return 0, err
	}
	p.stop()
	return time.ParseDuration(said)
}

// quietPair measures round trips of 64 bytes through a relay and returns their 99th
// percentile.
func quietPair(ctx context.Context, at string) (string, func(), error) {
	info, err := peer.AddrInfoFromString(at)
	if err != nil {
		return "", nil, err
	}
	from, to, err := (&bareRelay{AddrInfo: *info}).circuitPair(ctx)
	if err != nil {
		return "", nil, err
	}
	stop := func() { _ = errors.Join(from.Close(), to.Close()) }
	took, err := quietTrips(ctx, from, to.ID())
	if err != nil {
		stop()
		return "", nil, err
	}
	return time.Duration(quantile(took, 0.99) * float64(time.Millisecond)).String(), stop, nil
}

func quietTrips(ctx context.Context, from host.Host, to peer.ID) (took []time.Duration, err error) {
	s, err := from.NewStream(network.WithAllowLimitedConn(ctx, "bench"), to, echoProtocol)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	_ = s.SetDeadline(time.Now().Add(4 * time.Minute))
	for end := time.Now().Add(quietTime); time.Now().Before(end); time.Sleep(quietEvery) {
		began := time.Now()
		if _, err = s.Write(make([]byte, 64)); err == nil {
			_, err = io.ReadFull(s, make([]byte, 64))
		}
		if err != nil {
			return nil, err
		}
		took = append(took, time.Since(began))
	}
	return took, nil
}
