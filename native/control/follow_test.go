package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/native/tunnels"
)

// echoing makes a peer with an echo under /x/echo, and connects the server to it.
func echoing(t *testing.T, c *Client) *core.Node {
	t.Helper()
	n := newNode(t)
	_, err := n.Listen(testContext(t), "/x/echo", bridge.Func(func(_ context.Context, c net.Conn) {
		_, _ = io.Copy(c, c)
		_ = c.(interface{ CloseWrite() error }).CloseWrite()
	}))
	require.NoError(t, err)
	require.NoError(t, c.call(testContext(t), "connect", PeerCall{n.Addrs()[0].String()}, nil))
	return n
}

func TestACallerThatGoesAwayLeavesNothing(t *testing.T) {
	s, c := newServer(t)
	n := echoing(t, c)
	empty := s.node.Stats().Dispatch.Subscriptions
	for verb, call := range map[string]any{
		"listen/foreground":  tunnels.ListenSpec{Protocol: "/x/a", Target: "127.0.0.1:22"},
		"forward/foreground": tunnels.ForwardSpec{Protocol: "/x/a", Listen: "127.0.0.1:0", Peer: away},
		"watch":              None{},
		"subscribe":          SubscribeCall{Type: "chat"},
	} {
		ctx, goAway := context.WithCancel(testContext(t))
		if verb == "watch" {
			go func() { // something for the watch to see
				for ctx.Err() == nil {
					_ = c.call(ctx, "listen", tunnels.ListenSpec{Protocol: "/x/noise", Target: "127.0.0.1:22", Ephemeral: true}, nil)
					_ = c.call(ctx, "close", tunnels.Match{Protocol: "/x/noise"}, nil)
				}
			}()
		}
		seen := 0
		for _, err := range lines[json.RawMessage](ctx, c, verb, call) {
			require.NoError(t, err, verb)
			seen++
			if strings.HasSuffix(verb, "/foreground") {
				list := s.opts.Tunnels.List()
				assert.Equal(t, 1, len(list.Listeners)+len(list.Forwards), verb)
			}
			goAway()
		}
		goAway()
		assert.Positive(t, seen, verb)
		require.EventuallyWithT(t, func(ct *assert.CollectT) {
			list := s.opts.Tunnels.List()
			assert.Empty(ct, list.Listeners, verb)
			assert.Empty(ct, list.Forwards, verb)
			assert.Empty(ct, s.node.Bridge().Listeners())
			assert.Equal(ct, empty, s.node.Stats().Dispatch.Subscriptions, verb)
			_ = c.call(testContext(t), "close", tunnels.Match{Protocol: "/x/noise"}, nil)
		}, patience, 10*time.Millisecond)
	}

	conn, id, err := c.Dial(testContext(t), DialCall{Peer: n.ID().String(), Protocol: "/x/echo"})
	require.NoError(t, err)
	_, err = conn.Write([]byte("hello"))
	require.NoError(t, err)
	_, err = io.ReadFull(conn, make([]byte, 5))
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	require.Eventually(t, func() bool { return len(s.node.Bridge().Streams()) == 0 && len(n.Bridge().Streams()) == 0 }, patience, 10*time.Millisecond)
	var streams []bridge.StreamInfo
	require.NoError(t, c.call(testContext(t), "streams", StreamsCall{ID: &id}, &streams))
	require.Len(t, streams, 1)
	assert.Equal(t, "stdio", streams[0].Origin)
}

func TestACallerThatGoesAwayWhileADialLastsEndsIt(t *testing.T) {
	s, c := newServer(t)
	ctx, cancel := context.WithCancel(testContext(t))
	dialled := make(chan error, 1)
	go func() {
		_, _, err := c.Dial(ctx, DialCall{Peer: silent(t), Protocol: "/x/a"})
		dialled <- err
	}()
	require.Eventually(t, func() bool { return len(s.node.Host().Peerstore().Peers()) > 1 }, patience, time.Millisecond, "it is being dialled")
	cancel()
	require.ErrorIs(t, <-dialled, context.Canceled, "and not the error of the socket")
	require.NoError(t, s.Close())
}

// silent returns the address of a peer at a port that accepts connections and sends nothing.
func silent(t *testing.T) string {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, l.Close()) })
	return fmt.Sprintf("/ip4/127.0.0.1/tcp/%d/p2p/%s", l.Addr().(*net.TCPAddr).Port, away)
}

func TestAForegroundTunnelEndsWhenItIsClosedElsewhere(t *testing.T) {
	s, c := newServer(t)
	for verb, call := range map[string]any{
		"listen/foreground":  tunnels.ListenSpec{Protocol: "/x/a", Target: "127.0.0.1:22"},
		"forward/foreground": tunnels.ForwardSpec{Protocol: "/x/a", Listen: "127.0.0.1:0", Peer: away},
	} {
		for _, err := range lines[json.RawMessage](testContext(t), c, verb, call) {
			require.NoError(t, err)
			var closed Closed
			require.NoError(t, c.call(testContext(t), "close", tunnels.Match{Protocol: "/x/a"}, &closed))
			assert.Equal(t, 1, closed.Closed)
		}
	}
	assert.NoFileExists(t, filepath.Join(s.opts.Dir, tunnels.FileName), "they are never kept")
}

func TestADaemonThatEndsEndsItsCallsInTime(t *testing.T) {
	s, c := newServer(t)
	n := echoing(t, c)
	conn, _, err := c.Dial(testContext(t), DialCall{Peer: n.ID().String(), Protocol: "/x/echo"})
	require.NoError(t, err)
	defer conn.Close()
	ended := make(chan error, 3)
	begun := make(chan struct{}, 3)
	for verb, call := range map[string]any{
		"listen/foreground": tunnels.ListenSpec{Protocol: "/x/a", Target: "127.0.0.1:22"},
		"subscribe":         SubscribeCall{Type: "chat"},
		"connect":           PeerCall{silent(t)},
	} {
		go func() {
			begun <- struct{}{}
			var last error
			for _, err := range lines[json.RawMessage](testContext(t), c, verb, call) {
				last = err
			}
			ended <- last
		}()
	}
	for range 3 {
		<-begun
	}
	require.Eventually(t, func() bool {
		return len(s.opts.Tunnels.List().Listeners) == 1 && s.node.Stats().Dispatch.Subscriptions > 0
	}, patience, time.Millisecond)
	require.NoError(t, s.Close())
	for range 3 {
		<-ended
	}
	_, err = conn.Read(make([]byte, 1))
	require.Error(t, err, "the stream is over")
	assert.Empty(t, s.opts.Tunnels.List().Listeners)
}

func TestADialledStreamCarriesAllOfBothDirections(t *testing.T) {
	_, c := newServer(t)
	n := echoing(t, c)
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	_, err := n.Listen(testContext(t), "/x/count", bridge.Func(func(_ context.Context, c net.Conn) {
		b, _ := io.ReadAll(c) // all of it, before a byte is answered
		_, _ = c.Write(append(b, "and more"...))
	}))
	require.NoError(t, err)
	for _, proto := range []protocol.ID{"/x/echo", "/x/count"} {
		conn, id, err := c.Dial(testContext(t), DialCall{Peer: n.ID().String(), Protocol: proto})
		require.NoError(t, err)
		sent := make(chan error, 1)
		go func() {
			_, err := conn.Write(data)
			sent <- errors.Join(err, conn.CloseWrite())
		}()
		back, err := io.ReadAll(conn)
		require.NoError(t, err)
		require.NoError(t, <-sent)
		want := data
		if proto == "/x/count" {
			want = append(data[:len(data):len(data)], "and more"...)
		}
		assert.True(t, bytes.Equal(want, back), "%s: %d bytes", proto, len(back))
		require.NoError(t, conn.Close())
		require.Eventually(t, func() bool {
			var streams []bridge.StreamInfo
			err := c.call(testContext(t), "streams", StreamsCall{ID: &id}, &streams)
			return err == nil && !streams[0].Ended.IsZero() && streams[0].Reason == ""
		}, patience, 10*time.Millisecond, "it ended well")
	}
}

func TestADialThatFailsSaysWhy(t *testing.T) {
	_, c := newServer(t)
	n := echoing(t, c)
	for _, x := range []struct {
		call   DialCall
		reason bridge.Reason
		want   string
	}{
		{DialCall{Peer: n.ID().String(), Protocol: "/ssh"}, "", "/x/ namespace"},
		{DialCall{Peer: "bob", Protocol: "/x/a"}, "", "neither a peer ID"},
		{DialCall{Peer: away, Protocol: "/x/a"}, bridge.PeerAway, "peer away"},
		{DialCall{Peer: n.ID().String(), Protocol: "/none", CustomProtocol: true}, bridge.NoSuchProtocol, "no such protocol"},
	} {
		_, _, err := c.Dial(testContext(t), x.call)
		require.ErrorContains(t, err, x.want)
		var failed *Error
		require.ErrorAs(t, err, &failed)
		assert.Equal(t, x.reason, failed.Reason)
		if x.reason != "" {
			require.ErrorIs(t, err, x.reason)
		}
	}
}

func TestTheAnswerOfADialIsFollowedByTheStreamAlone(t *testing.T) {
	_, c := newServer(t)
	n := echoing(t, c)
	_, err := n.Listen(testContext(t), "/x/banner", bridge.Func(func(_ context.Context, c net.Conn) { _, _ = io.WriteString(c, "220 at once") }))
	require.NoError(t, err)
	conn, _, err := c.Dial(testContext(t), DialCall{Peer: n.ID().String(), Protocol: "/x/banner"})
	require.NoError(t, err)
	defer conn.Close()
	line, err := bufio.NewReader(conn).ReadString('e')
	require.NoError(t, err)
	assert.Equal(t, "220 at once", line)
}

func TestADialledStreamEndsWellOnlyIfItsCallerSaysSo(t *testing.T) {
	s, c := newServer(t)
	n := echoing(t, c)
	read := make(chan error, 1)
	_, err := n.Listen(testContext(t), "/x/upload", bridge.Func(func(_ context.Context, c net.Conn) {
		_, err := io.ReadAll(c)
		read <- err
	}))
	require.NoError(t, err)
	_, err = n.Listen(testContext(t), "/x/silent", bridge.Func(func(context.Context, net.Conn) {}))
	require.NoError(t, err)
	for name, x := range map[string]struct {
		proto  protocol.ID
		end    func(*Dialled) error
		reason bridge.Reason
	}{
		"declared":             {"/x/upload", (*Dialled).CloseWrite, ""},
		"killed":               {"/x/upload", func(d *Dialled) error { return d.UnixConn.Close() }, bridge.ClientFailed},
		"half-closed only":     {"/x/upload", func(d *Dialled) error { return d.UnixConn.CloseWrite() }, bridge.ClientFailed},
		"the service was done": {"/x/silent", func(d *Dialled) error { _, err := io.ReadAll(d); return errors.Join(err, d.Close()) }, ""},
	} {
		conn, id, err := c.Dial(testContext(t), DialCall{Peer: n.ID().String(), Protocol: x.proto})
		require.NoError(t, err)
		if x.proto == "/x/upload" {
			_, err = io.WriteString(conn, "half of it")
			require.NoError(t, err)
		}
		require.NoError(t, x.end(conn), name)
		if x.proto == "/x/upload" {
			assert.Equal(t, x.reason == "", <-read == nil, "%s: the service reads a clean end", name)
		}
		require.Eventually(t, func() bool {
			var streams []bridge.StreamInfo
			err := c.call(testContext(t), "streams", StreamsCall{ID: &id}, &streams)
			late := c.call(testContext(t), "dial/end", DialEndCall{id}, nil)
			return err == nil && !streams[0].Ended.IsZero() && streams[0].Reason == x.reason && late != nil
		}, patience, 10*time.Millisecond, name)
		conn.Close()
	}
	assert.Empty(t, s.node.Bridge().Streams())
}
