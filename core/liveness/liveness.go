// Package liveness finds out which peers still answer: it closes the connections of a host
// whose peer is gone ([Ghosts]), measures the round trips to the others ([Pinger]), ends
// all connections of a node that is about to sleep ([Rest]), and notices that it slept, or
// that its machine is in another network ([WatchClocks], [WatchAddresses]).
package liveness

import (
	"context"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	"github.com/multiformats/go-multistream"
)

// asksAtOnce bounds the peers that are asked at the same time. A thousand that
// are silent take a thousand goroutines and, over TCP, 3.5 MiB of heap.
const asksAtOnce = 1024

// CloseSilent asks the far ends of connections, up to 1024 at once, for a sign of
// life: it takes as long as the timeout for each 1024 that give none. Those that
// give none within the timeout are closed, and returned. Any answer is one: a peer
// need not know the ping protocol, and may refuse the stream. It ends early with
// ctx, which closes none.
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

// answers says whether the far end of a connection gives a sign of life.
func answers(ctx context.Context, c network.Conn, timeout time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	s, err := c.NewStream(network.WithAllowLimitedConn(ctx, "a sign of life"))
	if err != nil {
		return true // nothing was asked: it has just ended, or allows no further stream
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	_ = multistream.SelectProtoOrFail(ping.ID, s)
	// However that ended before the time was up, the far end had it so, or the
	// connection has ended by itself.
	answered := stop()
	_ = s.Close()
	return answered
}
