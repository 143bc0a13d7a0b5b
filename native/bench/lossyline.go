package main

import (
	"errors"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// lossyLine carries IP packets between two networks and is the only route between them. In
// each direction, a packet arrives after the delay, in order, or is lost independently of
// the others. The throughput is not limited.
//
// Unlike longLine, it does not end TCP connections: the time that TCP takes to resend lost
// packets is a part of the measurement.
type lossyLine struct {
	delay time.Duration // of one direction
	loss  atomic.Value  // float64, the share of packets that are lost
	near  *os.File      // the devices
	far   *os.File

	down    atomic.Uint64 // bytes of all packets from far to near, lost ones included
	carries sync.WaitGroup
}

// The addresses of the ends.
var (
	lossyNear = netip.AddrFrom4([4]byte{10, 99, 0, 1})
	lossyFar  = netip.AddrFrom4([4]byte{10, 99, 0, 2})
)

// openLossyLine makes a line from this network to a new one and calls far in the new one.
// The line loses nothing until lose is called. end ends the line; programs started by far
// must be stopped before.
func openLossyLine(delay time.Duration, seed uint64, far func() error) (l *lossyLine, end func(), err error) {
	l = &lossyLine{delay: delay}
	l.loss.Store(0.0)
	if l.near, err = openTUN(lossyNear, lossyFar); err != nil {
		return nil, nil, err
	}
	leave, err := inOtherNetwork(func() (err error) {
		if l.far, err = openTUN(lossyFar, lossyNear); err == nil {
			err = far()
		}
		return err
	})
	if err != nil {
		_ = l.near.Close()
		if l.far != nil {
			_ = l.far.Close()
		}
		return nil, nil, err
	}
	var up atomic.Uint64
	l.carries.Go(func() { l.carry(l.far, l.near, rand.New(rand.NewPCG(seed, 0)), &up) })
	l.carries.Go(func() { l.carry(l.near, l.far, rand.New(rand.NewPCG(seed, 1)), &l.down) })
	return l, func() {
		_ = errors.Join(l.near.Close(), l.far.Close())
		l.carries.Wait()
		leave()
	}, nil
}

// lose sets the share of packets that the line loses in each direction from now on.
func (l *lossyLine) lose(share float64) { l.loss.Store(share) }

// carry carries one direction, until the device it reads from is closed.
func (l *lossyLine) carry(to io.Writer, from io.Reader, random *rand.Rand, sent *atomic.Uint64) {
	pieces := make(chan piece, linePackets)
	l.carries.Go(func() {
		for p := range pieces {
			time.Sleep(time.Until(p.due))
			_, _ = to.Write(p.data)
		}
	})
	defer close(pieces)
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		if n == 0 || b[0]>>4 != 4 {
			continue // IPv6 sends router solicitations by itself
		}
		sent.Add(uint64(n))
		if random.Float64() < l.loss.Load().(float64) {
			continue
		}
		post(pieces, b[:n], time.Now().Add(l.delay))
	}
}
