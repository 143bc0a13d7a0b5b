package stack

import (
	"context"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/transport/tcpreuse"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

const (
	// prefixBytes is how many bytes tell the port's protocols apart: see tcpreuse.
	prefixBytes = 3
	// prefixTimeout is how long a client has to send them.
	prefixTimeout = 10 * time.Second
)

// front is in front of the TCP ports of a host. libp2p tells the protocols on a port
// apart by their first bytes. It waits for those of 64 connections at a time, and not at
// all for those of further ones. The front passes to libp2p only connections that have
// sent them, and lets as many wait as admission allows.
type front struct {
	admission *admission
	proxies   []netip.Prefix // that are trusted to report client addresses

	once  sync.Once
	ports *tcpreuse.ConnMgr
}

// shared returns the ports that all transports over TCP listen on.
func (f *front) shared(u transport.Upgrader) *tcpreuse.ConnMgr {
	f.once.Do(func() { f.ports = tcpreuse.NewConnMgr(tcpreuse.EnvReuseportVal, fronted{u, f}) })
	return f.ports
}

// fronted is an upgrader that puts a front before its listeners.
type fronted struct {
	transport.Upgrader
	front *front
}

func (u fronted) GateMaListener(l manet.Listener) transport.GatedMaListener {
	return newFrontListener(u.Upgrader.GateMaListener(l), u.front.admission, u.front.proxies)
}

// frontListener accepts connections whose first bytes have arrived.
type frontListener struct {
	transport.GatedMaListener
	admission *admission
	proxies   []netip.Prefix
	ready     chan arrival
	ended     chan struct{} // closed when err is set
	err       error
	running   sync.WaitGroup

	ctx       context.Context // ends with Close
	stop      context.CancelFunc
	closeOnce sync.Once
	closeErr  error
}

type arrival struct {
	conn  manet.Conn
	scope network.ConnManagementScope
}

func newFrontListener(l transport.GatedMaListener, a *admission, proxies []netip.Prefix) *frontListener {
	f := &frontListener{GatedMaListener: l, admission: a, proxies: proxies, ready: make(chan arrival), ended: make(chan struct{})}
	f.ctx, f.stop = context.WithCancel(context.Background())
	f.running.Go(f.run)
	return f
}

// run accepts until the listener below fails or is closed. It waits for no client.
func (f *frontListener) run() {
	defer close(f.ended)
	for {
		c, scope, err := f.GatedMaListener.Accept()
		if err != nil {
			f.err = err
			return
		}
		tcp, ok := c.(tcpConn)
		if !ok {
			scope.Done()
			_ = c.Close()
			continue
		}
		n := f.admission.add(c.RemoteMultiaddr(), func() {
			_ = tcp.Close()
			scope.Done()
		})
		f.running.Go(func() { f.hear(tcp, &admitted{scope, n}) })
	}
}

// hear waits for the first bytes of a connection and passes it on.
func (f *frontListener) hear(c tcpConn, scope *admitted) {
	h := &heardConn{tcpConn: c, applicant: scope.applicant}
	unwatch := context.AfterFunc(f.ctx, func() { _ = c.Close() })
	_ = c.SetReadDeadline(time.Now().Add(prefixTimeout))
	err := h.hear(f.proxies)
	_ = c.SetReadDeadline(time.Time{})
	if unwatch() && err == nil {
		h.applicant.progress()
		select {
		case f.ready <- arrival{h, scope}:
			return
		case <-f.ctx.Done():
		}
	}
	_ = c.Close()
	scope.Done()
}

func (f *frontListener) Accept() (manet.Conn, network.ConnManagementScope, error) {
	select {
	case a := <-f.ready:
		return a.conn, a.scope, nil
	case <-f.ended:
		return nil, nil, f.err
	}
}

// Close closes the listener and the connections that nobody has accepted, and waits for
// its goroutines.
func (f *frontListener) Close() error {
	f.closeOnce.Do(func() {
		f.stop()
		f.closeErr = f.GatedMaListener.Close()
	})
	f.running.Wait()
	return f.closeErr
}

// tcpConn is a *net.TCPConn with multiaddrs: the methods that libp2p needs of a
// connection on a shared port.
type tcpConn interface {
	manet.Conn
	syscall.Conn
	CloseRead() error
	CloseWrite() error
	SetLinger(sec int) error
	SetKeepAlive(keepalive bool) error
	SetKeepAlivePeriod(d time.Duration) error
	SetNoDelay(noDelay bool) error
	MultipathTCP() (bool, error)
	io.ReaderFrom
	io.WriterTo
}

// heardConn is a connection whose first bytes were read.
type heardConn struct {
	tcpConn
	applicant *applicant
	head      []byte // read ahead, and not returned by Read yet

	// The client's address that a trusted proxy reported; nil if the connection is not from
	// a proxy.
	from          *net.TCPAddr
	fromMultiaddr ma.Multiaddr
}

var _ net.Conn = (*heardConn)(nil)

func (c *heardConn) Read(b []byte) (int, error) {
	c.applicant.progress()
	if len(c.head) > 0 {
		n := copy(b, c.head)
		if c.head = c.head[n:]; len(c.head) == 0 {
			c.head = nil
		}
		return n, nil
	}
	n, err := c.tcpConn.Read(b)
	if n > 0 {
		c.applicant.progress()
	}
	return n, err
}

func (c *heardConn) Write(b []byte) (int, error) {
	c.applicant.progress()
	return c.tcpConn.Write(b)
}

// WriteTo reads until the end with Read, because the method of tcpConn does not know
// about head.
func (c *heardConn) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{c})
}
