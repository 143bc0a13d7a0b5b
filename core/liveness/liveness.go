// Package liveness finds out which peers still answer: it closes the connections of a
// host whose peer is gone ([Ghosts]), measures the round-trip times to the others
// ([Pinger]), closes all connections of a node that is about to sleep ([Rest]), and
// notices that the machine slept, or that it is in another network ([WatchClocks],
// [WatchAddresses]).
package liveness

import (
	"context"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	"github.com/multiformats/go-multistream"
)

// asksAtOnce bounds the connections that are checked at the same time. A thousand silent
// ones take a thousand goroutines and, over TCP, 3.5 MiB of heap.
const asksAtOnce = 1024

// CloseSilent asks the peers of connections for an answer, up to 1024 at once, and closes
// and returns the connections on which none comes within the timeout. Each 1024 silent
// connections take as long as the timeout. Any answer counts: a peer need not know the
// ping protocol, and may refuse the stream. When ctx ends, CloseSilent returns early and
// closes no more connections.
func CloseSilent(ctx context.Context, conns []network.Conn, timeout time.Duration) []network.Conn {
	var mu sync.Mutex
	var silent []network.Conn
	var asking sync.WaitGroup
	slots := make(chan struct{}, asksAtOnce)
	for _, c := range conns {
		slots <- struct{}{}
		asking.Go(func() {
			defer func() { <-slots }()
			if answers(ctx, c, timeout) || ctx.Err() != nil || c.IsClosed() {
				return
			}
			mu.Lock()
			silent = append(silent, c)
			mu.Unlock()
			_ = c.Close()
		})
	}
	asking.Wait()
	return silent
}

// answers reports whether the peer of a connection answers.
func answers(ctx context.Context, c network.Conn, timeout time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	s, err := c.NewStream(network.WithAllowLimitedConn(ctx, "a sign of life"))
	if err != nil {
		return true // nothing was asked: the connection has just ended, or allows no further stream
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	_ = multistream.SelectProtoOrFail(ping.ID, s)
	// If that ended in time, for whatever reason, the peer has answered, or the
	// connection has ended by itself.
	answered := stop()
	_ = s.Close()
	return answered
}
