package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
)

// startHosts starts hosts that listen over TCP on the loopback and are all connected to
// each other.
func startHosts(ctx context.Context, n int) (hosts []host.Host, stop func(), err error) {
	stop = func() {
		for _, h := range hosts {
			_ = h.Close()
		}
	}
	for range n {
		h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.Transport(tcp.NewTCPTransport),
			libp2p.DisableRelay())
		if err != nil {
			stop()
			return nil, nil, err
		}
		for _, other := range hosts {
			if err = h.Connect(ctx, peer.AddrInfo{ID: other.ID(), Addrs: other.Addrs()}); err != nil {
				err = fmt.Errorf("connect: %w", err)
				break
			}
		}
		hosts = append(hosts, h)
		if err != nil {
			stop()
			return nil, nil, err
		}
	}
	return hosts, stop, nil
}

var errLate = errors.New("it took too long")

// until calls ok every few milliseconds until it returns true, for at most limit.
func until(limit time.Duration, ok func() bool) error {
	for end := time.Now().Add(limit); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			return errLate
		}
	}
	return nil
}
