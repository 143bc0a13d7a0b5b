package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"syscall"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/native/local"
)

// streamMethods are for tests of bridged streams: TCP services behind listeners, and TCP clients of forwards.
func (m *messenger) streamMethods() map[string]func(arguments) (any, error) {
	return map[string]func(arguments) (any, error){
		"listen":       m.listen,
		"update":       m.update,
		"unlisten":     m.unlisten,
		"forward":      m.forward,
		"exchange":     m.exchange,
		"throughput":   m.throughput,
		"heard":        m.heardBy,
		"services":     m.services,
		"streams":      func(arguments) (any, error) { return m.node.Bridge().Streams(), nil },
		"endedStreams": func(arguments) (any, error) { return m.node.Bridge().Ended(), nil },
		"disconnect":   m.disconnect,
	}
}

func (m *messenger) disconnect(a arguments) (any, error) {
	p, err := a.peer(0)
	if err != nil {
		return nil, err
	}
	return nil, m.node.Disconnect(p)
}

// access is the access list and the limit of a listener, as the tests give them.
type access struct {
	Allow      []string `json:"allow"`
	Deny       []string `json:"deny"`
	MaxStreams int      `json:"maxStreams"`
	Announce   string   `json:"announce"`
}

func (a access) parse() (out bridge.Access, err error) {
	for _, list := range []struct {
		from []string
		to   *[]peer.ID
	}{{a.Allow, &out.Allow}, {a.Deny, &out.Deny}} {
		for _, s := range list.from {
			p, err := peer.Decode(s)
			if err != nil {
				return out, err
			}
			*list.to = append(*list.to, p)
		}
	}
	return out, nil
}

// listen (protocol, service, access) announces a service to peers:
//
//	reply     TCP: reads to the end, then answers the count (8 bytes, big endian) and all it read
//	first     TCP: sends the pattern of 1 MiB and ends its side, then reads to the end; heard tells what
//	break     TCP: reads 64 KiB, then breaks off with a RST
//	closed    TCP, at a port that nobody listens on
//	silent    can never be reached
//
// or any other target in the form a person writes it, such as 127.0.0.1:80 or file:DIR.
func (m *messenger) listen(a arguments) (any, error) {
	var who access
	if err := a.get(2, &who); err != nil {
		return nil, err
	}
	allowed, err := who.parse()
	if err != nil {
		return nil, err
	}
	target, err := m.target(a.text(1))
	if err != nil {
		return nil, err
	}
	_, err = m.node.Listen(context.Background(), protocol.ID(a.text(0)), target, bridge.With(bridge.ListenConfig{
		Announce: who.Announce, Access: allowed, Limits: bridge.Limits{Streams: who.MaxStreams},
	}))
	return nil, err
}

func (m *messenger) target(service string) (bridge.Target, error) {
	if service == "silent" {
		return bridge.DialTarget("silent", func(ctx context.Context) (bridge.Local, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}), nil
	}
	serve, ok := map[string]func(*net.TCPConn) error{
		"reply": reply, "first": m.first, "break": breakOff, "closed": nil,
	}[service]
	if !ok {
		return local.Target(service)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	if serve == nil {
		l.Close()
	} else {
		go accept(l, serve)
	}
	return local.Target(l.Addr().String())
}

// accept serves until the process ends.
func accept(l net.Listener, serve func(*net.TCPConn) error) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			if err := serve(c.(*net.TCPConn)); err != nil {
				_ = c.(*net.TCPConn).SetLinger(0)
			}
		}()
	}
}

func reply(c *net.TCPConn) error {
	all, err := io.ReadAll(c)
	if err == nil {
		_, err = c.Write(append(binary.BigEndian.AppendUint64(nil, uint64(len(all))), all...))
	}
	return err
}

const firstSize = 1 << 20

func (m *messenger) first(c *net.TCPConn) error {
	pattern := make([]byte, firstSize)
	for i := range pattern {
		pattern[i] = byte(i % 251)
	}
	if _, err := c.Write(pattern); err != nil {
		return err
	}
	if err := c.CloseWrite(); err != nil {
		return err
	}
	sum := sha256.New()
	n, err := io.Copy(sum, c)
	m.heard.add(heardOf(n, sum, err))
	return err
}

func breakOff(c *net.TCPConn) error {
	_, err := io.ReadFull(c, make([]byte, 64<<10))
	return errors.Join(err, errors.New("it breaks off"))
}

func heardOf(n int64, sum hash.Hash, err error) map[string]any {
	said := map[string]any{"bytes": n, "sha256": hex.EncodeToString(sum.Sum(nil))}
	if err != nil {
		said["error"] = err.Error()
	}
	return said
}

// heardBy (count) returns what the services have read, once there are count entries.
func (m *messenger) heardBy(a arguments) (any, error) {
	var count int
	if err := a.get(0, &count); err != nil {
		return nil, err
	}
	return m.heard.until(func(all []any) bool { return len(all) >= count })
}

// update (protocol, access) changes the access list.
func (m *messenger) update(a arguments) (any, error) {
	var who access
	if err := a.get(1, &who); err != nil {
		return nil, err
	}
	allowed, err := who.parse()
	if err != nil {
		return nil, err
	}
	l, ok := m.node.Bridge().Listener(protocol.ID(a.text(0)))
	if !ok {
		return nil, fmt.Errorf("there is no listener of %s", a.text(0))
	}
	return nil, l.Update(func(access *bridge.Access, limits *bridge.Limits) {
		*access, limits.Streams = allowed, who.MaxStreams
	})
}

func (m *messenger) unlisten(a arguments) (any, error) {
	l, ok := m.node.Bridge().Listener(protocol.ID(a.text(0)))
	if !ok {
		return nil, fmt.Errorf("there is no listener of %s", a.text(0))
	}
	return nil, l.Close()
}

// forward (protocol, peer) listens on a TCP port that forwards to the peer, and returns its address.
func (m *messenger) forward(a arguments) (any, error) {
	p, err := a.peer(1)
	if err != nil {
		return nil, err
	}
	from, err := local.Listen(context.Background(), "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f, err := m.node.Forward(context.Background(), protocol.ID(a.text(0)), from, p)
	if err != nil {
		return nil, errors.Join(err, from.Close())
	}
	return f.Addr(), nil
}

// exchange (forward's address, bytes) sends random bytes through a forward and ends its side, then reads to the end. The answer
// is right if it is the count (8 bytes, big endian) and the bytes sent. A refusal may be a reset before the connection is
// reported as made.
func (m *messenger) exchange(a arguments) (any, error) {
	var size int
	if err := a.get(1, &size); err != nil {
		return nil, err
	}
	var port string
	if _, err := fmt.Sscanf(a.text(0), "/ip4/127.0.0.1/tcp/%s", &port); err != nil {
		return nil, err
	}
	dialled, err := net.Dial("tcp", "127.0.0.1:"+port)
	if errors.Is(err, syscall.ECONNRESET) {
		return map[string]any{"received": 0, "same": false, "error": err.Error()}, nil
	}
	if err != nil {
		return nil, err
	}
	defer dialled.Close()
	c := dialled.(*net.TCPConn)
	sent := make([]byte, size)
	if _, err := rand.Read(sent); err != nil {
		return nil, err
	}
	sending := make(chan error, 1)
	go func() {
		_, err := c.Write(sent)
		sending <- errors.Join(err, c.CloseWrite())
	}()
	got, err := io.ReadAll(c)
	wanted := append(binary.BigEndian.AppendUint64(nil, uint64(size)), sent...)
	answer := map[string]any{"received": len(got), "same": string(got) == string(wanted)}
	if err = errors.Join(err, <-sending); err != nil {
		answer["error"] = err.Error()
	}
	return answer, nil
}

func (m *messenger) services(a arguments) (any, error) {
	p, err := a.peer(0)
	if err != nil {
		return nil, err
	}
	ctx, cancel := bounded()
	defer cancel()
	return m.node.Services(ctx, p)
}
