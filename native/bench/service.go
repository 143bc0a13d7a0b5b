package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// Every measurement uses the same service and the same client, on the loopback, with or
// without a tunnel between them. A client sends nine bytes: the operation and a number of
// bytes.
const (
	push = 'p' // the client sends, the service answers with the number of bytes received
	pull = 'g' // the service sends
	echo = 'e' // the service sends everything back, until the client closes

	echoSize     = 64
	serviceChunk = 256 << 10
	// serviceLimit is how long one connection to the service may take.
	serviceLimit = 3 * time.Minute
)

// startService starts the service in a separate process.
func startService(ctx context.Context) (addr string, stop func(), err error) {
	p, addr, err := startHelper(ctx, "service")
	if err != nil {
		return "", nil, err
	}
	return addr, p.stop, nil
}

// serveService listens on the loopback until stop is called.
func serveService() (addr string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
	return l.Addr().String(), func() { _ = l.Close() }, nil
}

func serve(c net.Conn) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(serviceLimit))
	var ask [9]byte
	if _, err := io.ReadFull(c, ask[:]); err != nil {
		return
	}
	n := int64(binary.BigEndian.Uint64(ask[1:]))
	switch ask[0] {
	case push:
		got := drain(c, n)
		_, _ = c.Write(binary.BigEndian.AppendUint64(nil, uint64(got)))
	case pull:
		_ = fill(c, n)
	case echo:
		b := make([]byte, echoSize)
		for {
			if _, err := io.ReadFull(c, b); err != nil {
				return
			}
			if _, err := c.Write(b); err != nil {
				return
			}
		}
	}
}

// drain reads up to n bytes and returns how many came.
func drain(c net.Conn, n int64) (got int64) {
	b := make([]byte, serviceChunk)
	for got < n {
		m, err := c.Read(b[:min(n-got, serviceChunk)])
		got += int64(m)
		if err != nil {
			break
		}
	}
	return got
}

func fill(c net.Conn, n int64) error {
	b := make([]byte, serviceChunk)
	for n > 0 {
		m, err := c.Write(b[:min(n, serviceChunk)])
		if err != nil {
			return err
		}
		n -= int64(m)
	}
	return nil
}

func ask(addr string, what byte, n int64) (net.Conn, error) {
	c, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(serviceLimit))
	if _, err := c.Write(binary.BigEndian.AppendUint64([]byte{what}, uint64(n))); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// transfer moves the given number of bytes, in all, over conns connections at once and
// returns how long it took. Missing bytes are an error.
func transfer(addr string, what byte, conns int, bytes int64) (time.Duration, error) {
	errs := make([]error, conns)
	var all sync.WaitGroup
	from := time.Now()
	for i := range conns {
		all.Go(func() { errs[i] = transferOne(addr, what, bytes/int64(conns)) })
	}
	all.Wait()
	return time.Since(from), errors.Join(errs...)
}

func transferOne(addr string, what byte, n int64) error {
	c, err := ask(addr, what, n)
	if err != nil {
		return err
	}
	defer c.Close()
	got := n
	if what == pull {
		got = drain(c, n)
	} else {
		if err := fill(c, n); err != nil {
			return err
		}
		var count [8]byte
		if _, err := io.ReadFull(c, count[:]); err != nil {
			return fmt.Errorf("no answer to what was sent: %w", err)
		}
		got = int64(binary.BigEndian.Uint64(count[:]))
	}
	if got != n {
		return fmt.Errorf("%d of %d bytes came", got, n)
	}
	return nil
}

// roundTrips makes n echoes, one after the other on one connection, and returns the time
// of each, sorted.
func roundTrips(addr string, n int) ([]time.Duration, error) {
	c, err := ask(addr, echo, 0)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	took := make([]time.Duration, 0, n)
	const warm = 100
	for i := range warm + n {
		d, err := roundTrip(c)
		if err != nil {
			return nil, err
		}
		if i >= warm {
			took = append(took, d)
		}
	}
	slices.Sort(took)
	return took, nil
}

func roundTrip(c net.Conn) (time.Duration, error) {
	b := make([]byte, echoSize)
	from := time.Now()
	if _, err := c.Write(b); err != nil {
		return 0, err
	}
	_, err := io.ReadFull(c, b)
	return time.Since(from), err
}

// connects makes n connections with one echo each and returns the time of each, sorted.
func connects(addr string, n int) ([]time.Duration, error) {
	took := make([]time.Duration, 0, n)
	for range n {
		from := time.Now()
		c, err := ask(addr, echo, 0)
		if err != nil {
			return nil, err
		}
		_, err = roundTrip(c)
		took = append(took, time.Since(from))
		c.Close()
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(took)
	return took, nil
}
