package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// intrusion is what an intruder inserts into the data that a peer sends.
type intrusion struct {
	target string // host and port of the peer's WebSocket listener
	after  int64  // WebSocket messages of the peer that pass before it; with -1 it replaces the HTTP response
	bytes  []byte
	times  int64
	then   string // end closes the TCP connection after it; hold sends nothing more; pass continues
}

// newIntruder starts a TCP proxy in front of the WebSocket listener of a peer.
func newIntruder(q url.Values) (backend, error) {
	to, err := peer.AddrInfoFromString(q.Get("to"))
	if err != nil {
		return nil, fmt.Errorf("to=%q: %w", q.Get("to"), err)
	}
	if len(to.Addrs) != 1 {
		return nil, fmt.Errorf("to=%q has no address", q.Get("to"))
	}
	thin, _ := ma.SplitFunc(to.Addrs[0], func(c ma.Component) bool { return c.Protocol().Code == ma.P_WS })
	i := intrusion{then: cmp.Or(q.Get("then"), "pass"), after: -1}
	if !slices.Contains([]string{"end", "hold", "pass"}, i.then) {
		return nil, fmt.Errorf("then=%q: want end, hold or pass", i.then)
	}
	if _, i.target, err = manet.DialArgs(thin); err != nil {
		return nil, fmt.Errorf("to=%q: %w", q.Get("to"), err)
	}
	if i.bytes, err = hex.DecodeString(q.Get("bytes")); err != nil {
		return nil, fmt.Errorf("bytes=%q: %w", q.Get("bytes"), err)
	}
	if q.Get("after") != "-1" {
		if i.after, err = number(q, "after", 0); err != nil {
			return nil, err
		}
	}
	if i.times, err = number(q, "times", 1); err != nil {
		return nil, err
	}
	s, err := newServer()
	if err != nil {
		return nil, err
	}
	s.id = to.ID
	if err := s.listenIntruding(i); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *server) listenIntruding(i intrusion) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.addrs = []string{fmt.Sprintf("/ip4/127.0.0.1/tcp/%d/ws", l.Addr().(*net.TCPAddr).Port)}
	context.AfterFunc(s.ctx, func() { l.Close() })
	s.owned.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.owned.Go(func() { s.intrude(c, i) })
		}
	})
	return nil
}

// intrude serves one connection, until one side ends it.
func (s *server) intrude(client net.Conn, i intrusion) {
	s.accepted.Add(1)
	s.open.Add(1)
	defer s.open.Add(-1)
	defer client.Close()
	far, err := net.Dial("tcp", i.target)
	if err != nil {
		return
	}
	stop := context.AfterFunc(s.ctx, func() { client.Close() })
	defer stop()
	s.owned.Go(func() {
		io.Copy(far, client)
		far.Close()
	})
	_ = i.pass(client, bufio.NewReader(far))
	far.Close()
}

// pass forwards the peer's data to w, with the intrusion at its place.
func (i intrusion) pass(w io.Writer, far *bufio.Reader) error {
	response, err := http.ReadResponse(far, nil) // it has no body: what follows is frames
	if err != nil {
		return err
	}
	if i.after >= 0 {
		if err := response.Write(w); err != nil {
			return err
		}
	}
	for range i.after {
		if err := passFrame(w, far); err != nil {
			return err
		}
	}
	for range i.times {
		if _, err := w.Write(i.bytes); err != nil {
			return err
		}
	}
	switch i.then {
	case "end":
		return nil
	case "hold":
		w = io.Discard
	}
	_, err = io.Copy(w, far)
	return err
}

// passFrame forwards one frame of a server: RFC 6455, 5.2.
func passFrame(w io.Writer, far *bufio.Reader) error {
	head, err := far.Peek(2)
	if err != nil {
		return err
	}
	size := 2 + int64(head[1])
	switch head[1] {
	case 126:
		if head, err = far.Peek(4); err == nil {
			size = 4 + int64(binary.BigEndian.Uint16(head[2:]))
		}
	case 127:
		if head, err = far.Peek(10); err == nil {
			size = 10 + int64(binary.BigEndian.Uint64(head[2:]))
		}
	}
	if err != nil {
		return err
	}
	_, err = io.CopyN(w, far, size)
	return err
}
