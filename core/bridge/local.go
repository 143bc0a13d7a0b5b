package bridge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Local is a stream on this machine, for example a connection. One goroutine may call Read
// while another calls Write; any goroutine may call the other methods.
type Local interface {
	io.Reader
	io.Writer
	// CloseWrite closes the writing half: the other end reads EOF after what was written.
	CloseWrite() error
	// Close ends both directions; what was written is still delivered.
	Close() error
	// Reset ends both directions at once and, if the platform can, shows the other end
	// that the stream failed (TCP: RST). Calls in progress return.
	Reset() error
	// String returns the address of the other end, as a multiaddr if it has one.
	String() string
}

// Acceptor is a source of local streams. One goroutine at a time calls Accept. After
// Close it returns an error that wraps net.ErrClosed; any other error is a failure that
// may pass.
type Acceptor interface {
	Accept() (Local, error)
	Close() error
	// String returns the listen address, as a multiaddr if it has one, with the real
	// port.
	String() string
}

// Target handles the streams of a listener.
type Target interface {
	// Serve handles one stream and returns when it has finished with it. If it returns
	// nil, the bridge closes the stream. If it returns an error, the bridge resets the
	// stream and gives the peer the error's Reason, or TargetFailed if the error has
	// none. ctx ends when the node closes.
	Serve(ctx context.Context, c *Conn) error
	// String returns the target as a person writes it.
	String() string
}

// Func returns a target that calls a function of this program for each stream, in a
// separate goroutine. The connection is closed when the function returns; a panic resets
// it. The remote address of the connection names the peer: see Addr.
func Func(f func(ctx context.Context, c net.Conn)) Target { return funcTarget(f) }

type funcTarget func(context.Context, net.Conn)

func (f funcTarget) String() string { return "func" }

func (f funcTarget) Serve(ctx context.Context, c *Conn) error {
	f(ctx, c)
	return nil
}

// DialTarget returns a target that dials a new local stream for each stream of a peer,
// and splices the two. name is the target as a person writes it. An error of dial gets
// the reason TargetRefused, or TargetTimedOut if time ran out, unless it has a Reason
// itself.
func DialTarget(name string, dial func(context.Context) (Local, error)) Target {
	return &dialTarget{name, dial}
}

type dialTarget struct {
	name string
	dial func(context.Context) (Local, error)
}

func (t *dialTarget) String() string { return t.name }

func (t *dialTarget) Serve(ctx context.Context, c *Conn) error {
	dialling, cancel := context.WithTimeout(ctx, c.bridge.opts.Timeouts.Target)
	defer cancel()
	local, err := t.dial(dialling)
	if err != nil {
		reason := reasonOf(err, TargetRefused)
		if timedOut(err) || errors.Is(dialling.Err(), context.DeadlineExceeded) {
			reason = TargetTimedOut
		}
		return &Error{Reason: reason, Err: err}
	}
	if c.reportPeer {
		stop := context.AfterFunc(dialling, func() { _ = local.Reset() }) // if the target does not read
		_, err := fmt.Fprintf(local, "%s\n", c.peer)
		if !stop() || err != nil {
			_ = local.Reset()
			return &Error{Reason: TargetFailed, Err: fmt.Errorf("tell it the peer: %w", errors.Join(dialling.Err(), err))}
		}
	}
	cancel()
	return c.Splice(local)
}

// Addr is the address of one end of a Conn: the peer and the protocol.
type Addr struct {
	Peer     peer.ID
	Protocol string
}

var _ net.Addr = Addr{}

// Network returns "libp2p".
func (Addr) Network() string { return "libp2p" }

// String returns /p2p/<id>.
func (a Addr) String() string { return "/p2p/" + a.Peer.String() }
