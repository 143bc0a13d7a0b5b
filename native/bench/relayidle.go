package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/native"
)

// The load on an idle relay.
const (
	idleClients = 1000
	idleNodes   = 300
	joinAtOnce  = 32
	idleRest    = 5 * time.Second // before memory is measured
)

// relayIdle measures what an idle client with a reservation costs the relay: memory, and
// the CPU time of joining.
func relayIdle(transport string) func(int) ([]*figure, error) {
	return func(rounds int) ([]*figure, error) {
		memory := newFigure("relay-idle/"+transport, "KB", "ours", "stock")
		cpu := newFigure("relay-idle/"+transport+"-join", "ms", "ours", "stock")
		err := eachRelay(min(rounds, 2), func(ctx context.Context, kind string, r *bareRelay) error {
			var mu sync.Mutex
			var hosts []host.Host
			defer func() {
				for _, h := range hosts {
					_ = h.Close()
				}
			}()
			return r.cost(kind, idleClients, memory, cpu, func() error {
				h, err := r.join(ctx, transport)
				if err == nil {
					mu.Lock()
					hosts = append(hosts, h)
					mu.Unlock()
				}
				return err
			})
		})
		return []*figure{memory, cpu}, err
	}
}

// relayNodes measures the same for Tombolo nodes that are all on one type of message.
func relayNodes(transport string) func(int) ([]*figure, error) {
	return func(rounds int) ([]*figure, error) { return measureNodes(transport, rounds) }
}

func measureNodes(transport string, rounds int) ([]*figure, error) {
	memory := newFigure("relay-idle/nodes-"+transport, "KB", "ours")
	cpu := newFigure("relay-idle/nodes-"+transport+"-join", "ms", "ours")
	for range min(rounds, 2) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		err := func() error {
			r, err := startBareRelay(ctx, "ours")
			if err != nil {
				return err
			}
			defer r.stop()
			var mu sync.Mutex
			var nodes []*core.Node
			defer func() {
				for _, n := range nodes {
					_ = n.Close()
				}
			}()
			return r.cost("ours", idleNodes, memory, cpu, func() error {
				n, err := native.New(ctx, native.Options{Listen: []ma.Multiaddr{}, NoMDNS: true, Relays: []peer.AddrInfo{r.over(transport)}})
				if err != nil {
					return err
				}
				mu.Lock()
				nodes = append(nodes, n)
				mu.Unlock()
				if _, err := n.Subscribe("bench"); err != nil {
					return err
				}
				return until(time.Minute, func() bool { return len(n.Reservations()) == 1 })
			})
		}()
		cancel()
		if err != nil {
			return []*figure{memory, cpu}, err
		}
	}
	return []*figure{memory, cpu}, nil
}

// cost measures what the given number of clients, made by join, several at a time, cost the
// relay.
func (r *bareRelay) cost(kind string, clients int, memory, cpu *figure, join func() error) error {
	if err := join(); err != nil { // a first client, so that what is made only once does not count
		return err
	}
	all := []*process{r.process}
	rssBefore, cpuBefore := rssOf(all), cpuOf(all)
	errs := make(chan error, clients)
	places := make(chan struct{}, joinAtOnce)
	for range clients {
		places <- struct{}{}
		go func() {
			errs <- join()
			<-places
		}()
	}
	var failed error
	for range clients {
		failed = errors.Join(failed, <-errs)
	}
	if failed != nil {
		return failed
	}
	used := cpuOf(all) - cpuBefore
	time.Sleep(idleRest)
	memory.add(kind, float64(rssOf(all)-rssBefore)/float64(clients)/1024)
	cpu.add(kind, float64(used)/float64(time.Millisecond)/float64(clients))
	return nil
}
