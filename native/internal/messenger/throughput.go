package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/tombolo-net/tombolo/native/local"
)

// The services of a benchmark: the one sends so many bytes and ends, the other reads to
// the end and answers with 8 bytes.
const (
	pullProtocol protocol.ID = "/x/bench/pull"
	pushProtocol protocol.ID = "/x/bench/push"
)

// throughput (peer, bytes) measures TCP clients of forwards to the peer's two
// services, in MiB/s, and the same over plain TCP to services of this process.
func (m *messenger) throughput(a arguments) (any, error) {
	p, err := a.peer(0)
	if err != nil {
		return nil, err
	}
	var size int64
	if err := a.get(1, &size); err != nil {
		return nil, err
	}
	result := make(map[string]float64)
	for _, way := range []struct {
		name    string
		proto   protocol.ID
		measure func(addr string, size int64) error
		raw     func(c *net.TCPConn, size int64) error
	}{
		{"pull", pullProtocol, pull, func(c *net.TCPConn, size int64) error { return fill(c, size) }},
		{"push", pushProtocol, push, func(c *net.TCPConn, _ int64) error {
			_, err := io.Copy(io.Discard, c)
			_, writeErr := c.Write(make([]byte, 8))
			return errors.Join(err, writeErr)
		}},
	} {
		from, err := local.Listen(context.Background(), "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		f, err := m.node.Forward(context.Background(), way.proto, from, p)
		if err != nil {
			return nil, errors.Join(err, from.Close())
		}
		plain, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		go accept(plain, func(c *net.TCPConn) error { return way.raw(c, size) })
		tunnelled := "127.0.0.1:" + f.Addr()[strings.LastIndexByte(f.Addr(), '/')+1:]
		if result[way.name], err = rate(way.measure, tunnelled, size); err == nil {
			result["raw-"+way.name], err = rate(way.measure, plain.Addr().String(), size)
		}
		if err = errors.Join(err, f.Close(), plain.Close()); err != nil {
			return nil, fmt.Errorf("%s: %w", way.name, err)
		}
	}
	return result, nil
}

func rate(measure func(string, int64) error, addr string, size int64) (float64, error) {
	begun := time.Now()
	if err := measure(addr, size); err != nil {
		return 0, err
	}
	return float64(size) / (1 << 20) / time.Since(begun).Seconds(), nil
}

func pull(addr string, size int64) error {
	c, err := net.Dial("tcp4", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	n, err := io.Copy(io.Discard, c)
	if err == nil && n != size {
		err = fmt.Errorf("%d of %d bytes came", n, size)
	}
	return err
}

func push(addr string, size int64) error {
	dialled, err := net.Dial("tcp4", addr)
	if err != nil {
		return err
	}
	defer dialled.Close()
	c := dialled.(*net.TCPConn)
	if err := errors.Join(fill(c, size), c.CloseWrite()); err != nil {
		return err
	}
	answer, err := io.ReadAll(c)
	if err == nil && len(answer) != 8 {
		err = fmt.Errorf("%d bytes answer, not 8", len(answer))
	}
	return err
}

func fill(c *net.TCPConn, size int64) error {
	part := make([]byte, 256<<10)
	for size > 0 {
		n, err := c.Write(part[:min(size, int64(len(part)))])
		if err != nil {
			return err
		}
		size -= int64(n)
	}
	return nil
}
