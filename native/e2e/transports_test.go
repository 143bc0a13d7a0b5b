package e2e

import (
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/native/socket/sockettest"
)

// ways are the transports between two daemons.
var ways = map[string]string{
	"tcp":           "/ip4/127.0.0.1/tcp/0",
	"quic":          "/ip4/127.0.0.1/udp/0/quic-v1",
	"websocket":     "/ip4/127.0.0.1/tcp/0/ws",
	"webtransport":  "/ip4/127.0.0.1/udp/0/quic-v1/webtransport",
	"webrtc-direct": "/ip4/127.0.0.1/udp/0/webrtc-direct",
	"circuit":       "",
}

// overEachWay runs a test with two daemons connected by each transport.
func overEachWay(t *testing.T, test func(t *testing.T, transport string, here, there *daemon), flags ...string) {
	for transport, listen := range ways {
		t.Run(transport, func(t *testing.T) {
			if listen != "" {
				there, here := up(t, listen, flags...), up(t, anywhere)
				here.do("connect", there.addr("/"))
				test(t, transport, here, there)
				return
			}
			here, there := relayed(t, startRelay(t), flags...)
			test(t, transport, here, there)
		})
	}
}

func TestNothingIsLostOverAnyTransport(t *testing.T) {
	t.Parallel()
	overEachWay(t, func(t *testing.T, transport string, here, there *daemon) {
		s := newService(t)
		there.listen("/x/service", s.addr)
		addr := here.forward("/x/service", there)
		halfCloses(t, dial(t, addr, askHalf))
		pulls(t, addr)
		pushes(t, addr)

		var ended []bridge.StreamInfo
		eventually(t, func() bool {
			ended = here.streamsEnded()
			return len(ended) == 3
		}, "the streams end")
		for i, want := range []struct{ sent, received int64 }{{1 + mib, 8 + mib}, {1, much}, {1 + much, 32}} {
			assert.Equal(t, transport, ended[i].Transport)
			assert.Equal(t, transport == "circuit", ended[i].Relay != "")
			assert.Empty(t, ended[i].Reason)
			assert.Equal(t, want.sent, ended[i].Sent)
			assert.Equal(t, want.received, ended[i].Received)
		}
	})
}

func TestARefusalSaysWhyOverEveryTransport(t *testing.T) {
	t.Parallel()
	overEachWay(t, func(t *testing.T, transport string, here, there *daemon) {
		there.listen("/x/denied", newService(t).addr, "--deny", here.id)
		there.listen("/x/refused", sockettest.Nobody(t))
		there.listen("/x/hangs", fullListener(t))
		for proto, want := range map[string]bridge.Reason{
			"/x/denied":  bridge.NotAllowed,
			"/x/none":    bridge.NoSuchProtocol,
			"/x/refused": bridge.TargetRefused,
			"/x/hangs":   bridge.TargetTimedOut,
		} {
			addr := here.forward(proto, there)
			if c, err := net.DialTimeout("tcp4", addr, patience); err == nil { // otherwise it was reset at once
				require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
				got, err := io.ReadAll(c)
				assert.ErrorIs(t, err, syscall.ECONNRESET, "%s", proto)
				assert.Empty(t, got)
				c.Close()
			}
			eventually(t, func() bool {
				for _, f := range here.list().Forwards {
					if string(f.Protocol) == proto {
						return f.Reason == want
					}
				}
				return false
			}, "%s over %s: want %s", proto, transport, want)

			code, said, complaint := here.try("forward", proto, "-", there.id)
			assert.Equal(t, 1, code)
			assert.Empty(t, said)
			assert.Equal(t, 1, strings.Count(complaint, "\n"), complaint)
			assert.Contains(t, complaint, string(want), "on standard input and output")
		}
	}, "--target-timeout", "500ms")
}
