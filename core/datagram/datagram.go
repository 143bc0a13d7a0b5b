// Package datagram carries packets that may get lost, over connections that have
// datagrams: QUIC ([RFC 9221]) and WebTransport, not those through a relay. Nothing
// waits for a lost packet: it is for data that is of no use when it comes late.
//
// Several users share the datagrams of a connection: each has a [Lane]. A datagram
// begins with the number of its lane, which is twice the id that both ends know, and
// one more where the end that opened the lane sends it.
//
// [RFC 9221]: https://www.rfc-editor.org/rfc/rfc9221
package datagram

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/libp2p/go-libp2p/core/network"
)

// MaxSize bounds what one datagram carries, in bytes. It fits into what every path of
// QUIC has to carry, with all headers.
const MaxSize = 1100

var (
	// ErrNone is returned for a connection that has no datagrams.
	ErrNone = errors.New("the connection has no datagrams")
	// ErrBusy is returned for a datagram that was not sent because others wait.
	ErrBusy = errors.New("the connection takes no more datagrams now")
)

// session is the connection below: a *quic.Conn or a WebTransport session. It has no
// type of its own, so that a connection's As can give one without this package.
type session = interface {
	SendDatagram(data []byte) error
	ReceiveDatagram(ctx context.Context) ([]byte, error)
}

// Role says which end of a lane this is.
type Role uint64

// The ends of a lane.
const (
	Opened   Role = iota // the lane was opened by the other end
	Opening              // it was opened by this one
	numRoles = 2
)

// Lane is one end of a lane. All methods may be called concurrently.
type Lane struct {
	port *port
	key  uint64 // the number in the datagrams that this end receives
	head []byte // the number that it sends, encoded
}

// Open opens an end of the lane that both ends know by an id. receive is called with
// what comes, by one goroutine for all lanes of the connection, and must not block. It
// may keep the data. The error is ErrNone if the connection has no datagrams.
func Open(c network.Conn, id uint32, role Role, receive func([]byte)) (*Lane, error) {
	l := &Lane{
		key:  uint64(id)*numRoles + uint64(1-role),
		head: binary.AppendUvarint(nil, uint64(id)*numRoles+uint64(role)),
	}
	ports.mu.Lock()
	defer ports.mu.Unlock()
	p := ports.of[c]
	if p == nil {
		s := sessionOf(c)
		if s == nil {
			return nil, ErrNone
		}
		p = &port{conn: c, session: s, lanes: make(map[uint64]func([]byte)), out: make(chan *packet, mostWaiting)}
		p.ctx, p.stop = context.WithCancel(context.Background())
		ports.of[c] = p
		go p.receive()
		go p.send()
	}
	if _, taken := p.lanes[l.key]; taken {
		return nil, fmt.Errorf("the connection has a lane %d already", id)
	}
	l.port, p.lanes[l.key] = p, receive
	return l, nil
}

// Send sends at most MaxSize bytes, of which it keeps a copy. It does not wait. The
// error is ErrBusy, or says that the connection has ended; what is lost on the way is
// none.
func (l *Lane) Send(data []byte) error {
	if len(data) > MaxSize {
		return fmt.Errorf("a datagram of %d bytes; at most %d may be", len(data), MaxSize)
	}
	if l.port.ctx.Err() != nil {
		return fmt.Errorf("send a datagram: %w", net.ErrClosed)
	}
	p := packets.Get().(*packet)
	p.size = copy(p.bytes[:], l.head)
	p.size += copy(p.bytes[p.size:], data)
	select {
	case l.port.out <- p:
		return nil
	default:
		packets.Put(p)
		return ErrBusy
	}
}

// packet is a datagram that waits to be sent.
type packet struct {
	size  int
	bytes [MaxSize + binary.MaxVarintLen64]byte
}

var packets = sync.Pool{New: func() any { return new(packet) }}

// mostWaiting bounds the datagrams of a connection that wait to be sent.
const mostWaiting = 32

// Close closes this end. A call of receive that is under way may outlast it. It may be
// called again.
func (l *Lane) Close() {
	ports.mu.Lock()
	defer ports.mu.Unlock()
	p := l.port
	delete(p.lanes, l.key)
	if len(p.lanes) == 0 {
		p.end()
	}
}

// ports are the connections that have lanes: whoever receives the datagrams of one has
// to be the only one, whichever parts of the program use them.
var ports = struct {
	mu sync.Mutex
	of map[network.Conn]*port
}{of: make(map[network.Conn]*port)}

// port is a connection that has lanes.
type port struct {
	conn    network.Conn
	session session
	ctx     context.Context // ends with the connection, or the last lane
	stop    context.CancelFunc
	out     chan *packet
	lanes   map[uint64]func([]byte) // by number; guarded by ports.mu
}

// end is called with ports.mu held.
func (p *port) end() {
	p.stop()
	if ports.of[p.conn] == p {
		delete(ports.of, p.conn)
	}
}

// send sends what waits. It may be held up, by a peer that acknowledges nothing, until
// the connection ends; nobody waits for it.
func (p *port) send() {
	for {
		select {
		case next := <-p.out:
			_ = p.session.SendDatagram(next.bytes[:next.size]) // receive hears of an end
			packets.Put(next)
		case <-p.ctx.Done():
			return
		}
	}
}

// receive hands out what comes until the connection or the last lane ends. What comes
// for no lane is on its way since before one was closed, or a stranger's.
func (p *port) receive() {
	for {
		data, err := p.session.ReceiveDatagram(p.ctx)
		if err != nil {
			ports.mu.Lock()
			p.end()
			ports.mu.Unlock()
			return
		}
		key, n := binary.Uvarint(data)
		if n <= 0 {
			continue
		}
		ports.mu.Lock()
		receive := p.lanes[key]
		ports.mu.Unlock()
		if receive != nil {
			receive(data[n:])
		}
	}
}
