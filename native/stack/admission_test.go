package stack

import (
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/customer"
)

// tcpPort returns host:port of a host's TCP listener on the loopback.
func tcpPort(t *testing.T, h host.Host) string {
	for _, a := range h.Network().ListenAddresses() {
		if port, err := a.ValueForProtocol(ma.P_TCP); err == nil {
			return "127.0.0.1:" + port
		}
	}
	t.Fatal("it listens on no TCP port")
	return ""
}

// hold opens n connections that send said and nothing else, and keeps them open.
func hold(t *testing.T, at string, n int, said string) []net.Conn {
	t.Helper()
	held := make([]net.Conn, n)
	for i := range held {
		c, err := net.Dial("tcp", at)
		require.NoError(t, err)
		t.Cleanup(func() { c.Close() })
		_, err = io.WriteString(c, said)
		require.NoError(t, err)
		held[i] = c
	}
	return held
}

// isHeld reports whether c is still open, that is, not closed by its peer.
func isHeld(t *testing.T, c net.Conn) bool {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Millisecond)))
	_, err := io.Copy(io.Discard, c)
	return os.IsTimeout(err)
}

func TestSilentConnectionsHoldNobodyUp(t *testing.T) {
	h := newHost(t, Options{
		Listen: ListenOn(loopback, 0, -1), Peers: 4096,
		HTTP: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "page") }),
	})
	h.SetStreamHandler("/echo", echo)
	held := hold(t, tcpPort(t, h), 200, "")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + tcpPort(t, h))
	require.NoError(t, err)
	resp.Body.Close()
	for _, addr := range h.Addrs() {
		stock, err := libp2p.New(libp2p.NoListenAddrs, libp2p.DisableMetrics())
		require.NoError(t, err)
		exchange(t, stock, peer.AddrInfo{ID: h.ID(), Addrs: []ma.Multiaddr{addr}})
		require.NoError(t, stock.Close())
	}
	for _, c := range held {
		require.True(t, isHeld(t, c), "others were served because a silent one was given up")
	}
}

func TestIdleClientsOfOneAddressMakeRoomForOthers(t *testing.T) {
	var mu sync.Mutex
	refused := make(map[string]int)
	h := newHost(t, Options{
		Listen: ListenOn(loopback, 0, -1), Peers: 8,
		HTTP: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "page") }),
		Refused: func(limit string) {
			mu.Lock()
			defer mu.Unlock()
			refused[limit]++
		},
	})
	h.SetStreamHandler("/echo", echo)
	const request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, said := range []string{request, "", "\x13/multistream/1.0.0\n", "GET / HTTP/1.1\r\nHost: x\r\n"} {
		first := hold(t, tcpPort(t, h), 1, said)[0]
		hold(t, tcpPort(t, h), 2*applicants(8), said)
		for _, addr := range h.Addrs() {
			stock, err := libp2p.New(libp2p.NoListenAddrs, libp2p.DisableMetrics())
			require.NoError(t, err)
			exchange(t, stock, peer.AddrInfo{ID: h.ID(), Addrs: []ma.Multiaddr{addr}})
			require.NoError(t, stock.Close())
		}
		require.NoError(t, first.SetReadDeadline(time.Now().Add(30*time.Second)))
		answer, err := io.ReadAll(first)
		assert.False(t, os.IsTimeout(err), "the oldest makes room")
		assert.Equal(t, said == request, strings.HasPrefix(string(answer), "HTTP/1.1 200"))
	}
	mu.Lock()
	defer mu.Unlock()
	assert.NotZero(t, refused[LimitApplicants])
}

func TestRoomIsMadeByWhoHasMostAndMovesLeast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(0, func() {})
		a.perAddr, a.total = 4, 6
		var mu sync.Mutex
		var closed []string
		apply := func(name, from string) *applicant {
			time.Sleep(time.Millisecond)
			return a.add(ma.StringCast(from), func() {
				mu.Lock()
				defer mu.Unlock()
				closed = append(closed, name)
			})
		}
		const many, few = "/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.2/tcp/1"
		apply("honest", few)
		moving := apply("moving", many)
		apply("silent", many)
		apply("third", many)
		peer := apply("peer", many)
		time.Sleep(idleGrace / 2)
		apply("early", many)
		synctest.Wait()
		assert.Empty(t, closed, "nobody has been idle for long")
		time.Sleep(idleGrace)
		moving.progress()
		peer.leave()
		apply("late", many)
		synctest.Wait()
		assert.Equal(t, []string{"silent"}, closed, "its address has too many")
		apply("other", few)
		apply("another", "/ip4/192.0.2.3/tcp/1")
		synctest.Wait()
		assert.Equal(t, []string{"silent", "third"}, closed, "there are too many in all, and its address has the most")
		for range 10 {
			apply("more", many)
		}
		synctest.Wait()
		assert.LessOrEqual(t, len(a.waiting[customer.Of(ma.StringCast(many))]), 2*a.perAddr, "however fast they come")
	})
}
