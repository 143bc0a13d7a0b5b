package bridge_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/bridge"
)

var errPipeReset = errors.New("the pipe was reset")

// pipeEnd is a local stream within the process. It buffers nothing, so a write shows that
// the other end reads, and a reset is visible on every platform.
type pipeEnd struct {
	*io.PipeReader
	*io.PipeWriter
}

var _ bridge.Local = pipeEnd{}

func pipe() (near, far pipeEnd) {
	r1, w1 := io.Pipe()
	r2, w2 := io.Pipe()
	return pipeEnd{r1, w2}, pipeEnd{r2, w1}
}

func (pipeEnd) String() string      { return "pipe" }
func (p pipeEnd) CloseWrite() error { return p.PipeWriter.Close() }

func (p pipeEnd) Close() error {
	_ = p.PipeReader.Close()
	return p.PipeWriter.Close()
}

func (p pipeEnd) Reset() error { return p.CloseWithError(errPipeReset) }

func (p pipeEnd) CloseWithError(err error) error {
	_ = p.PipeReader.CloseWithError(err)
	return p.PipeWriter.CloseWithError(err)
}

// pipeTarget returns a target and a channel that gets the far end of each of its streams.
func pipeTarget() (bridge.Target, <-chan pipeEnd) {
	dialled := make(chan pipeEnd, 16)
	return bridge.DialTarget("pipe", func(context.Context) (bridge.Local, error) {
		near, far := pipe()
		dialled <- far
		return near, nil
	}), dialled
}

// pipeAcceptor accepts the results that are sent to in.
type pipeAcceptor struct {
	in     chan acceptResult
	closed chan struct{}
	once   sync.Once
}

type acceptResult struct {
	local bridge.Local
	err   error
}

func newPipeAcceptor() *pipeAcceptor {
	return &pipeAcceptor{in: make(chan acceptResult), closed: make(chan struct{})}
}

func (*pipeAcceptor) String() string { return "pipes" }

func (a *pipeAcceptor) Accept() (bridge.Local, error) {
	select {
	case r := <-a.in:
		return r.local, r.err
	case <-a.closed:
		return nil, net.ErrClosed
	}
}

func (a *pipeAcceptor) Close() error {
	a.once.Do(func() { close(a.closed) })
	return nil
}

// dial makes the acceptor accept a connection and returns its far end.
func (a *pipeAcceptor) dial() pipeEnd {
	near, far := pipe()
	a.in <- acceptResult{local: near}
	return far
}

// fail makes an accept fail.
func (a *pipeAcceptor) fail(err error) { a.in <- acceptResult{err: err} }

var errNoFiles = &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}

// pipes connects two nodes by a forward from pipes to a target of pipes.
func pipes(t testing.TB, timeouts bridge.Timeouts) (here, there *core.Node, from *pipeAcceptor, dialled <-chan pipeEnd) {
	t.Helper()
	here, there = pair(t, timeouts)
	target, dialled := pipeTarget()
	listen(t, there, "/x/pipe", target)
	from = newPipeAcceptor()
	_, err := here.Forward(t.Context(), "/x/pipe", from, there.ID())
	require.NoError(t, err)
	return here, there, from, dialled
}

// joined opens one stream through pipes and sends a byte through it.
func joined(t testing.TB, from *pipeAcceptor, dialled <-chan pipeEnd) (client, target pipeEnd) {
	t.Helper()
	client = from.dial()
	_, err := client.Write([]byte{1})
	require.NoError(t, err)
	target = <-dialled
	_, err = io.ReadFull(target, make([]byte, 1))
	require.NoError(t, err)
	return client, target
}

// endedWith waits until n has no open streams and returns how the last one ended.
func endedWith(t testing.TB, n *core.Node) bridge.StreamInfo {
	t.Helper()
	eventually(t, func() bool { return len(n.Bridge().Streams()) == 0 && len(n.Bridge().Ended()) > 0 })
	ended := n.Bridge().Ended()
	return ended[len(ended)-1]
}

// dialFunc is a dial that cannot fail.
func dialFunc(f func() bridge.Local) func(context.Context) (bridge.Local, error) {
	return func(context.Context) (bridge.Local, error) { return f(), nil }
}
