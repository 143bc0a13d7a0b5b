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

// lineHeld bounds the bytes that are on their way in one direction of a connection,
// and the packets. It is more than any sender has under way, so that the line has a
// length and no width.
const (
	lineHeld    = 64 << 20
	linePackets = lineHeld / 1200
)

// serveLine is a long line to a target on this machine: what comes to its TCP and UDP
// port, which is the same, is there after half of a round trip, and so is what comes
// back. Nothing is lost, and there is no limit to how much passes. It is told apart
// from a real one by TCP, whose own window ends at the line: what is measured over it
// is what the peers themselves hold back.
func serveLine(roundTrip time.Duration, target string) (addr string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	at := l.Addr().(*net.TCPAddr).AddrPort()
	u, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		return "", nil, errors.Join(err, l.Close())
	}
	n := &longLine{delay: roundTrip / 2, target: target}
	go n.connections(l)
	go n.packets(u)
	return at.String(), func() { _, _ = l.Close(), u.Close() }, nil
}

type longLine struct {
	delay  time.Duration
	target string
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
			go n.carry(t.(*net.TCPConn), c.(*net.TCPConn))
			n.carry(c.(*net.TCPConn), t.(*net.TCPConn))
		}()
	}
}

// piece is what came at a time.
type piece struct {
	data []byte
	due  time.Time
}

// carry is one direction, with its end.
func (n *longLine) carry(to, from *net.TCPConn) {
	var mu sync.Mutex
	room := sync.NewCond(&mu)
	held, broken := 0, false
	pieces := make(chan piece, lineHeld/1024)
	go func() {
		defer close(pieces)
		for {
			b := make([]byte, 64<<10)
			m, err := from.Read(b)
			if err != nil {
				return
			}
			mu.Lock()
			for held > lineHeld && !broken {
				room.Wait()
			}
			held += m
			over := broken
			mu.Unlock()
			if over {
				_ = from.CloseRead()
				return
			}
			pieces <- piece{b[:m], time.Now().Add(n.delay)}
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

// packets carries those of each sender from a socket of its own.
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
					post(back, b[:m], time.Now().Add(n.delay))
				}
			}()
		}
		post(to, b[:m], time.Now().Add(n.delay))
	}
}

type replier struct {
	*net.UDPConn
	to netip.AddrPort
}

func (r replier) Write(b []byte) (int, error) { return r.WriteToUDPAddrPort(b, r.to) }

// late has packets written when they are due.
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

// post sends a copy of a packet on its way, or drops it where too many are on it.
func post(to chan piece, packet []byte, due time.Time) {
	select {
	case to <- piece{append([]byte(nil), packet...), due}:
	default:
	}
}

// throughLine is a multiaddr whose first port is led through a line.
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

// portOf is where the first port of a multiaddr on the loopback leads.
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
