package scale

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
)

// retransmit is the delay of a lost segment, in addition to a round trip: the smallest
// timeout of TCP on Linux. Later data on the same stream waits, too.
const retransmit = 200 * time.Millisecond

// noticed is how long a connection stays open whose other end has fallen silent: see
// docs/relay.md, "When a peer is lost".
const noticed = 40 * time.Second

var errLost = errors.New("the connection is lost")

// end is one end of connections: a relay, a real peer or a tab.
type end interface {
	ID() peer.ID
	base() *place
	// opened accepts a stream that the other end has opened.
	opened(s *stream)
	// lost is called when a connection has ended.
	lost(c *conn)
}

// place is an end's position in the network.
type place struct {
	addr ma.Multiaddr
	side int // of a partition: 0 or 1
	far  time.Duration
	sums *sums // nil: nothing is counted
}

// link is a connection, as both ends see it.
type link struct {
	w     *world
	ends  [2]*conn // the first has dialled
	delay time.Duration
	gone  chan struct{} // closed when it has ended

	mu      sync.Mutex
	streams map[*stream]struct{} // of both ends
	held    bool                 // by a partition
	closed  bool
}

// conn is a connection as one of its ends sees it.
type conn struct {
	network.Conn // nil: the meshes call none of its other methods
	link         *link
	local, other end
	dir          network.Direction
}

// connect joins two ends at once; the time to connect has passed already.
func (w *world) connect(from, to end) *link {
	l := &link{w: w, delay: w.delay(from, to), streams: make(map[*stream]struct{}), gone: make(chan struct{})}
	l.ends[0] = &conn{link: l, local: from, other: to, dir: network.DirOutbound}
	l.ends[1] = &conn{link: l, local: to, other: from, dir: network.DirInbound}
	w.mu.Lock()
	w.links[l] = struct{}{}
	w.mu.Unlock()
	return l
}

// delay returns how long a segment takes from one end to another.
func (w *world) delay(a, b end) time.Duration {
	return a.base().far + b.base().far
}

// arrival returns when data sent now arrives.
func (l *link) arrival(now time.Time) time.Time {
	d := l.delay + rand.N(l.delay/8+1)
	for l.w.opts.Loss > 0 && rand.Float64() < l.w.opts.Loss {
		d += 2*l.delay + retransmit
	}
	return now.Add(d)
}

// close ends a connection for both ends at once, as when a process ends and its system
// closes its connections.
func (l *link) close() {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return
	}
	l.closed = true
	streams := l.streams
	l.streams = nil
	l.mu.Unlock()
	l.w.mu.Lock()
	delete(l.w.links, l)
	l.w.mu.Unlock()
	for _, c := range l.ends {
		c.local.lost(c)
	}
	for s := range streams {
		s.in.fail(errLost)
	}
	close(l.gone)
}

// hold stops everything that travels on the link, until it is called again.
func (l *link) hold(held bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = held
	for s := range l.streams {
		s.in.hold(held, time.Now().Add(2*l.delay+retransmit))
	}
}

// open opens a stream from one end. It returns nil if the connection has ended.
func (c *conn) open(proto protocol.ID) *stream {
	l := c.link
	there := l.ends[0]
	if there == c {
		there = l.ends[1]
	}
	here, far := &stream{c: c, proto: proto, in: newPipe()}, &stream{c: there, proto: proto, in: newPipe()}
	here.peer, far.peer = far, here
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.streams[here], l.streams[far] = struct{}{}, struct{}{}
	here.in.held, far.in.held = l.held, l.held
	l.mu.Unlock()
	there.local.opened(far)
	return here
}

func (c *conn) LocalPeer() peer.ID            { return c.local.ID() }
func (c *conn) RemotePeer() peer.ID           { return c.other.ID() }
func (c *conn) LocalMultiaddr() ma.Multiaddr  { return c.local.base().addr }
func (c *conn) RemoteMultiaddr() ma.Multiaddr { return c.other.base().addr }
func (c *conn) Close() error                  { c.link.close(); return nil }
func (c *conn) Stat() network.ConnStats {
	return network.ConnStats{Stats: network.Stats{Direction: c.dir}}
}

func (c *conn) GetStreams() (all []network.Stream) {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	for s := range c.link.streams {
		if s.c == c {
			all = append(all, s)
		}
	}
	return all
}

// stream is one end of a stream.
type stream struct {
	network.Stream // nil: the meshes call none of its other methods
	c              *conn
	proto          protocol.ID
	in             *pipe
	peer           *stream
	hears          func(data []byte, at time.Time) // instead of in; at is when it arrives
}

func (s *stream) Read(b []byte) (int, error) { return s.in.read(b) }

func (s *stream) Write(b []byte) (int, error) {
	s.send(b, time.Now())
	return len(b), s.in.failed()
}

// send sends data that is ready at a given time, and counts it.
func (s *stream) send(b []byte, ready time.Time) {
	s.c.link.w.counted(s, b)
	at := s.c.link.arrival(ready)
	if hears := s.peer.hears; hears != nil {
		hears(b, at)
		return
	}
	s.peer.in.push(b, at)
}

func (s *stream) end() {
	l := s.c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.streams, s)
}

func (s *stream) CloseWrite() error { s.peer.in.push(nil, s.c.link.arrival(time.Now())); return nil }
func (s *stream) CloseRead() error  { return nil }
func (s *stream) Close() error      { _ = s.CloseWrite(); return nil }
func (s *stream) Reset() error {
	s.in.fail(network.ErrReset)
	s.peer.in.fail(network.ErrReset)
	s.end()
	s.peer.end()
	return nil
}
func (s *stream) ResetWithError(network.StreamErrorCode) error { return s.Reset() }
func (s *stream) SetReadDeadline(t time.Time) error            { s.in.until(t); return nil }
func (s *stream) SetDeadline(t time.Time) error                { return s.SetReadDeadline(t) }
func (s *stream) SetWriteDeadline(time.Time) error             { return nil }
func (s *stream) Conn() network.Conn                           { return s.c }
func (s *stream) Protocol() protocol.ID                        { return s.proto }
func (s *stream) ID() string                                   { return "" }
func (s *stream) Stat() network.Stats                          { return network.Stats{Direction: s.c.dir} }
func (s *stream) Scope() network.StreamScope                   { return &network.NullScope{} }

// pipe is the data that travels one way on a stream. It is not bounded: a reader of the
// simulation takes all that has arrived.
type pipe struct {
	wake chan struct{}

	mu       sync.Mutex
	queue    []segment
	err      error
	deadline time.Time
	held     bool
}

// segment is the data of one write; without data it is the end.
type segment struct {
	data []byte
	at   time.Time
}

func newPipe() *pipe { return &pipe{wake: make(chan struct{}, 1)} }

// push adds data that arrives at a given time, or after all data before it.
func (p *pipe) push(b []byte, at time.Time) {
	p.mu.Lock()
	if n := len(p.queue); n > 0 && at.Before(p.queue[n-1].at) {
		at = p.queue[n-1].at
	}
	p.queue = append(p.queue, segment{append([]byte(nil), b...), at})
	p.mu.Unlock()
	p.nudge()
}

func (p *pipe) fail(err error) {
	p.mu.Lock()
	if p.err == nil {
		p.err = err
	}
	p.mu.Unlock()
	p.nudge()
}

func (p *pipe) failed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

func (p *pipe) hold(held bool, again time.Time) {
	p.mu.Lock()
	p.held = held
	for i := range p.queue {
		if !held && p.queue[i].at.Before(again) {
			p.queue[i].at = again
		}
	}
	p.mu.Unlock()
	p.nudge()
}

func (p *pipe) until(t time.Time) {
	p.mu.Lock()
	p.deadline = t
	p.mu.Unlock()
	p.nudge()
}

func (p *pipe) nudge() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *pipe) read(b []byte) (int, error) {
	for {
		n, wait, err := p.take(b)
		if n > 0 || err != nil {
			return n, err
		}
		if wait == 0 {
			<-p.wake
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-p.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// take reads the data that has arrived, or returns how long to wait; 0: until something
// happens.
func (p *pipe) take(b []byte) (n int, wait time.Duration, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	switch {
	case p.err != nil:
		return 0, 0, p.err
	case !p.deadline.IsZero() && !p.deadline.After(now):
		return 0, 0, os.ErrDeadlineExceeded
	case !p.deadline.IsZero():
		wait = p.deadline.Sub(now)
	}
	if len(p.queue) == 0 || p.held {
		return 0, wait, nil
	}
	first := &p.queue[0]
	if first.at.After(now) {
		if due := first.at.Sub(now); wait == 0 || due < wait {
			wait = due
		}
		return 0, wait, nil
	}
	if len(first.data) == 0 {
		return 0, 0, io.EOF
	}
	n = copy(b, first.data)
	if first.data = first.data[n:]; len(first.data) == 0 {
		p.queue = p.queue[1:]
	}
	return n, 0, nil
}
