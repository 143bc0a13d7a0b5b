// Package datagram sends packets that may get lost, over connections that support
// datagrams: QUIC ([RFC 9221]) and WebTransport, but not circuits. No packet waits for a
// lost one, so it suits data that is useless if it arrives late.
//
// Several users share the datagrams of a connection: each has a [Lane]. A datagram begins
// with the number of its lane: twice the ID that both ends know, plus one if the end that
// opened the lane sends it.
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

// MaxSize is the maximum data of one datagram, in bytes. With all headers, it fits into a
// packet that every QUIC path must carry.
const MaxSize = 1100

var (
	// ErrNone is returned for a connection that has no datagrams.
	ErrNone = errors.New("the connection has no datagrams")
	// ErrBusy is returned for a datagram that was not sent because others wait.
	ErrBusy = errors.New("the connection takes no more datagrams now")
)

// session is the connection underneath: a *quic.Conn or a WebTransport session. It is an
// alias, so that the As of a connection can provide one without importing this package.
type session = interface {
	SendDatagram(data []byte) error
	ReceiveDatagram(ctx context.Context) ([]byte, error)
}

// Role says which end of a lane this is.
type Role uint64

// The ends of a lane.
const (
	Opened   Role = iota // the lane was opened by the other end
	Opening              // the lane was opened by this end
	numRoles = 2
)

// Lane is one end of a lane. All methods may be called concurrently.
type Lane struct {
	port    *port
	key     uint64 // the number in the datagrams that this end receives
	head    []byte // the number that it sends, encoded
	receive func([]byte)
}

// Open opens this end of the lane with the given ID, which both ends must know. receive
// is called with the data of each datagram, by one goroutine for all lanes of the
// connection, and must not block. It may keep the data. The error is ErrNone if the
// connection has no datagrams.
func Open(c network.Conn, id uint32, role Role, receive func([]byte)) (*Lane, error) {
	l := &Lane{
		key:     uint64(id)*numRoles + uint64(1-role),
		head:    binary.AppendUvarint(nil, uint64(id)*numRoles+uint64(role)),
		receive: receive,
	}
	ports.mu.Lock()
	defer ports.mu.Unlock()
	p := ports.of[c]
	if p == nil {
		s := sessionOf(c)
		if s == nil {
			return nil, ErrNone
		}
		p = &port{conn: c, session: s, lanes: make(map[uint64]*Lane), out: make(chan *packet, mostWaiting)}
		p.ctx, p.stop = context.WithCancel(context.Background())
		ports.of[c] = p
		go p.receive()
		go p.send()
	}
	if _, taken := p.lanes[l.key]; taken {
		return nil, fmt.Errorf("the connection has a lane %d already", id)
	}
	l.port, p.lanes[l.key] = p, l
	return l, nil
}

// Send sends at most MaxSize bytes, of which it keeps a copy. It does not wait. It
// returns ErrBusy if too many datagrams wait already, or an error if the connection has
// ended. A datagram that is lost on the way is not an error.
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

// Close closes this end of the lane. A call of receive that is under way may outlast it.
// Close may be called more than once.
func (l *Lane) Close() {
	ports.mu.Lock()
	defer ports.mu.Unlock()
	p := l.port
	if p.lanes[l.key] != l { // closed before: the number may be another lane's
		return
	}
	delete(p.lanes, l.key)
	if len(p.lanes) == 0 {
		p.end()
	}
}

// ports are the connections that have lanes. The whole program shares them, because only
// one goroutine may receive the datagrams of a connection.
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
	lanes   map[uint64]*Lane // by number; guarded by ports.mu
}

// end is called with ports.mu held.
func (p *port) end() {
	p.stop()
	if ports.of[p.conn] == p {
		delete(ports.of, p.conn)
	}
}

// send sends the waiting datagrams. A peer that acknowledges nothing may hold it up until
// the connection ends; nobody waits for it.
func (p *port) send() {
	for {
		select {
		case next := <-p.out:
			_ = p.session.SendDatagram(next.bytes[:next.size]) // receive notices when the connection ends
			packets.Put(next)
		case <-p.ctx.Done():
			return
		}
	}
}

// receive hands out datagrams until the connection or the last lane ends. It drops those
// of an unknown lane: they were sent before the lane was closed, or the peer made up the
// number.
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
		l := p.lanes[key]
		ports.mu.Unlock()
		if l != nil {
			l.receive(data[n:])
		}
	}
}
