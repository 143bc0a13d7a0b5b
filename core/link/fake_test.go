package link_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/link"
)

// Tests that depend on time, or on what is still queued, run in a synctest bubble. A bubble
// cannot contain a real network, so the hosts in it are connected by streams in memory.
// Everything else is tested with real hosts.

// window is how much unread data a stream of a fakeNet holds, in bytes.
const window = 100 << 10

// fakeNet connects the hosts of one bubble.
type fakeNet struct {
	mu    sync.Mutex
	hosts map[peer.ID]*fakeHost
	opens int // attempts to open a stream
}

// inBubble runs a test in a synctest bubble with its own fakeNet.
func inBubble(t *testing.T, f func(t *testing.T, n *fakeNet)) {
	synctest.Test(t, func(t *testing.T) { f(t, &fakeNet{hosts: make(map[peer.ID]*fakeHost)}) })
}

// node makes a host with links.
func (n *fakeNet) node(t *testing.T, id peer.ID, opts link.Options) *node {
	t.Helper()
	h := n.host(id)
	if opts.Open == nil {
		opts.Open = func(ctx context.Context, p peer.ID, _ protocol.ID) (network.Stream, error) { return h.open(ctx, p) }
	}
	return withLinks(t, h, opts)
}

func (n *fakeNet) host(id peer.ID) *fakeHost {
	h := &fakeHost{id: id, net: n, conns: make(map[peer.ID]bool), streams: make(map[*fakeStream]struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[id] = h
	return h
}

func (n *fakeNet) opened() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.opens
}

var errDown = errors.New("nobody is there")

// fakeHost implements those parts of a host that links need.
type fakeHost struct {
	host.Host
	id  peer.ID
	net *fakeNet

	mu      sync.Mutex
	handler network.StreamHandler
	notif   network.Notifiee
	conns   map[peer.ID]bool
	streams map[*fakeStream]struct{} // opened or accepted
	down    bool
}

func (h *fakeHost) ID() peer.ID              { return h.id }
func (h *fakeHost) Network() network.Network { return fakeNetwork{h: h} }
func (h *fakeHost) Close() error             { return nil }

func (h *fakeHost) SetStreamHandler(_ protocol.ID, f network.StreamHandler) { h.set(f) }
func (h *fakeHost) RemoveStreamHandler(protocol.ID)                         { h.set(nil) }

func (h *fakeHost) set(f network.StreamHandler) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.handler = f
}

type fakeNetwork struct {
	network.Network
	h *fakeHost
}

func (n fakeNetwork) Notify(notif network.Notifiee) {
	n.h.mu.Lock()
	defer n.h.mu.Unlock()
	n.h.notif = notif
}

func (n fakeNetwork) StopNotify(network.Notifiee) { n.Notify(nil) }

func (n fakeNetwork) ConnsToPeer(p peer.ID) []network.Conn {
	h := n.h
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.conns[p] {
		return []network.Conn{fakeConn{remote: p}}
	}
	return nil
}

// setDown sets whether opening streams to h fails.
func (h *fakeHost) setDown(down bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.down = down
}

// open opens a stream to p.
func (h *fakeHost) open(ctx context.Context, p peer.ID) (network.Stream, error) {
	h.net.mu.Lock()
	h.net.opens++
	to := h.net.hosts[p]
	h.net.mu.Unlock()
	if to == nil {
		<-ctx.Done() // as for a peer whose address does not answer
		return nil, ctx.Err()
	}
	to.mu.Lock()
	handler, down := to.handler, to.down
	to.mu.Unlock()
	if down || handler == nil {
		return nil, errDown
	}
	there, back := newPipe(), newPipe()
	near := &fakeStream{host: h, conn: fakeConn{remote: p}, out: there, in: back}
	far := &fakeStream{host: to, conn: fakeConn{remote: h.id}, out: back, in: there}
	h.add(near)
	to.add(far)
	go handler(far)
	return near, nil
}

func (h *fakeHost) add(s *fakeStream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.streams[s] = struct{}{}
	h.conns[s.conn.remote] = true
}

// live returns how many streams h has.
func (h *fakeHost) live() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.streams)
}

// disconnect ends the connection to p, and with it all streams.
func (h *fakeHost) disconnect(p peer.ID) {
	h.net.mu.Lock()
	to := h.net.hosts[p]
	h.net.mu.Unlock()
	for _, end := range []struct {
		h *fakeHost
		p peer.ID
	}{{h, p}, {to, h.id}} {
		end.h.mu.Lock()
		end.h.conns[end.p] = false
		notif := end.h.notif
		var all []*fakeStream
		for s := range end.h.streams {
			if s.conn.remote == end.p {
				all = append(all, s)
			}
		}
		end.h.mu.Unlock()
		for _, s := range all {
			_ = s.Reset()
		}
		if notif != nil {
			notif.Disconnected(end.h.Network(), fakeConn{remote: end.p})
		}
	}
}

type fakeConn struct {
	network.Conn
	remote peer.ID
}

func (c fakeConn) RemotePeer() peer.ID           { return c.remote }
func (c fakeConn) RemoteMultiaddr() ma.Multiaddr { return nil }

// fakeStream is one end of a stream.
type fakeStream struct {
	network.Stream
	host    *fakeHost
	conn    fakeConn
	in, out *pipe
}

func (s *fakeStream) Conn() network.Conn          { return s.conn }
func (s *fakeStream) Read(b []byte) (int, error)  { return s.in.read(b) }
func (s *fakeStream) Write(b []byte) (int, error) { return s.out.write(b) }
func (s *fakeStream) CloseWrite() error           { s.out.end(io.EOF); return nil }

func (s *fakeStream) Close() error {
	s.out.end(io.EOF)
	s.in.end(network.ErrReset) // its own reading ends; a writer at the other end gets the error
	s.forget()
	return nil
}

func (s *fakeStream) Reset() error {
	s.out.end(network.ErrReset)
	s.in.end(network.ErrReset)
	s.forget()
	return nil
}

func (s *fakeStream) forget() {
	s.host.mu.Lock()
	defer s.host.mu.Unlock()
	delete(s.host.streams, s)
}

// pipe is one direction of a stream.
type pipe struct {
	mu    sync.Mutex
	moved sync.Cond
	buf   []byte
	why   error // why it ended: io.EOF or network.ErrReset
}

func newPipe() *pipe {
	p := new(pipe)
	p.moved.L = &p.mu
	return p
}

func (p *pipe) read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.buf) == 0 && p.why == nil {
		p.moved.Wait()
	}
	if len(p.buf) == 0 || p.why == network.ErrReset {
		return 0, p.why
	}
	n := copy(b, p.buf)
	p.buf = p.buf[n:]
	p.moved.Broadcast()
	return n, nil
}

func (p *pipe) write(b []byte) (n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(b) > 0 {
		for len(p.buf) >= window && p.why == nil {
			p.moved.Wait()
		}
		if p.why != nil {
			return n, network.ErrReset
		}
		some := min(len(b), window-len(p.buf))
		p.buf = append(p.buf, b[:some]...)
		b, n = b[some:], n+some
		p.moved.Broadcast()
	}
	return n, nil
}

func (p *pipe) end(why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.why == nil || p.why == io.EOF {
		p.why = why
	}
	p.moved.Broadcast()
}

// raw opens a stream to p and returns its near end. The test then plays the role of the
// peer from.
func (n *fakeNet) raw(t *testing.T, from, to peer.ID) network.Stream {
	t.Helper()
	n.mu.Lock()
	h := n.hosts[from]
	n.mu.Unlock()
	s, err := h.open(t.Context(), to)
	require.NoError(t, err)
	return s
}

// deaf is a peer that accepts streams and reads nothing from them. A test can take the
// streams from the channel and read them, for example with read.
type deaf struct {
	*fakeHost
	streams chan network.Stream
}

func (n *fakeNet) deaf(id peer.ID) *deaf {
	d := &deaf{fakeHost: n.host(id), streams: make(chan network.Stream, 100)}
	d.SetStreamHandler(link.Protocol, func(s network.Stream) { d.streams <- s })
	return d
}
