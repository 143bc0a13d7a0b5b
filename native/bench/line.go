package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// lineHeld and linePackets bound the bytes and the packets under way in one direction of a
// connection. They are more than any sender has under way, so the line adds delay but does
// not limit the throughput.
const (
	lineHeld    = 64 << 20
	linePackets = lineHeld / 1200
)

// queued bounds the bytes of a connection that wait for a line with a rate, besides those
// under way: the buffer of a router is as small.
const queued = 32 << 10

// serveLine simulates a long line to a target on this machine. It listens on the same TCP
// and UDP port, and delays data by half a round trip in each direction. rate bounds the
// throughput in each direction, in bits per second, of all connections together; 0 means no
// limit. No byte of a connection is lost. Unlike on a real line, TCP connections end at the
// line and start at full speed, so only the peers' own flow control is measured over it.
func serveLine(roundTrip time.Duration, rate int, target string) (addr string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	at := l.Addr().(*net.TCPAddr).AddrPort()
	u, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		return "", nil, errors.Join(err, l.Close())
	}
	n := &longLine{delay: roundTrip / 2, target: target, there: width{rate: rate}, back: width{rate: rate}, held: lineHeld, chunk: 64 << 10}
	if rate > 0 {
		n.held = int(n.delay.Seconds()*float64(rate)/8) + queued
		n.chunk = 4 << 10
	}
	go n.connections(l)
	go n.packets(u)
	return at.String(), func() { _, _ = l.Close(), u.Close() }, nil
}

type longLine struct {
	delay       time.Duration
	target      string
	there, back width
	held        int // maximum bytes of a connection under way in one direction
	chunk       int // bytes that pass in one piece
}

// width limits the throughput in one direction.
type width struct {
	rate int // bits per second; 0: no limit
	mu   sync.Mutex
	free time.Time
}

// pass returns when the last of n bytes that arrive now has passed.
func (w *width) pass(n int) time.Time {
	now := time.Now()
	if w.rate == 0 {
		return now
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.free.Before(now) {
		w.free = now
	}
	w.free = w.free.Add(time.Duration(float64(n*8) / float64(w.rate) * float64(time.Second)))
	return w.free
}

func (n *longLine) connections(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			time.Sleep(2 * n.delay) // its handshake
			t, err := net.Dial("tcp", n.target)
			if err != nil {
				c.Close()
				return
			}
			go n.carry(t.(*net.TCPConn), c.(*net.TCPConn), &n.there)
			n.carry(c.(*net.TCPConn), t.(*net.TCPConn), &n.back)
		}()
	}
}

// piece is data that arrived together.
type piece struct {
	data []byte
	due  time.Time
}

// carry carries one direction, including its end.
func (n *longLine) carry(to, from *net.TCPConn, through *width) {
	var mu sync.Mutex
	room := sync.NewCond(&mu)
	held, broken := 0, false
	pieces := make(chan piece, lineHeld/1024)
	go func() {
		defer close(pieces)
		for {
			b := make([]byte, n.chunk)
			m, err := from.Read(b)
			if err != nil {
				return
			}
			mu.Lock()
			for held > n.held && !broken {
				room.Wait()
			}
			held += m
			over := broken
			mu.Unlock()
			if over {
				_ = from.CloseRead()
				return
			}
			pieces <- piece{b[:m], through.pass(m).Add(n.delay)}
		}
	}()
	for p := range pieces {
		time.Sleep(time.Until(p.due))
		_, err := to.Write(p.data)
		mu.Lock()
		held -= len(p.data)
		broken = broken || err != nil
		mu.Unlock()
		room.Signal()
	}
	time.Sleep(n.delay)
	_ = to.CloseWrite()
}

// packets carries packets, with a separate socket to the target for each sender.
func (n *longLine) packets(u *net.UDPConn) {
	target, err := netip.ParseAddrPort(n.target)
	if err != nil {
		return
	}
	out := make(map[netip.AddrPort]chan piece)
	b := make([]byte, 64<<10)
	for {
		m, from, err := u.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		to := out[from]
		if to == nil {
			t, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(target))
			if err != nil {
				continue
			}
			to = n.late(t)
			out[from] = to
			back := n.late(replier{u, from})
			go func() {
				defer close(back)
				b := make([]byte, 64<<10)
				for {
					m, err := t.Read(b)
					if err != nil {
						return
					}
					post(back, b[:m], n.back.pass(m).Add(n.delay))
				}
			}()
		}
		post(to, b[:m], n.there.pass(m).Add(n.delay))
	}
}

type replier struct {
	*net.UDPConn
	to netip.AddrPort
}

func (r replier) Write(b []byte) (int, error) { return r.WriteToUDPAddrPort(b, r.to) }

// late starts a goroutine that writes packets when they are due.
func (n *longLine) late(w io.Writer) chan piece {
	pieces := make(chan piece, linePackets)
	go func() {
		for p := range pieces {
			time.Sleep(time.Until(p.due))
			_, _ = w.Write(p.data)
		}
	}()
	return pieces
}

// post queues a copy of a packet, or drops the packet if too many are under way.
func post(to chan piece, packet []byte, due time.Time) {
	select {
	case to <- piece{append([]byte(nil), packet...), due}:
	default:
	}
}

// throughLine returns address with its first port replaced by the line's.
func throughLine(address, line string) (string, error) {
	at, err := netip.ParseAddrPort(line)
	if err != nil {
		return "", err
	}
	before, _, after, err := cutPort(address)
	if err != nil {
		return "", err
	}
	return fmt.Sprint(before, at.Port(), after), nil
}

// portOf returns the loopback address of the first port of a multiaddr.
func portOf(address string) (string, error) {
	_, port, _, err := cutPort(address)
	return "127.0.0.1:" + port, err
}

func cutPort(address string) (before, port, after string, err error) {
	for _, name := range []string{"/tcp/", "/udp/"} {
		if host, rest, ok := strings.Cut(address, name); ok {
			port, _, _ = strings.Cut(rest, "/")
			return host + name, port, rest[len(port):], nil
		}
	}
	return "", "", "", fmt.Errorf("%s has no port", address)
}
