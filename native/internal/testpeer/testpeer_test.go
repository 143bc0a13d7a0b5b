package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

// api is a running control API, called as a test in a browser calls it.
type api struct {
	t    *testing.T
	base string
}

func start(t *testing.T) api {
	c := newControl()
	srv := httptest.NewServer(c)
	t.Cleanup(func() {
		c.close()
		srv.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return api{t, srv.URL}
}

// call requires status 200 unless status is given.
func call[T any](a api, method, path string, status ...int) (out T) {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), method, a.base+path, nil)
	require.NoError(a.t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(a.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(a.t, err)
	assert.Equal(a.t, []string{"*"}, resp.Header.Values("Access-Control-Allow-Origin"), path)
	want := append(status, http.StatusOK)[0]
	require.Equal(a.t, want, resp.StatusCode, "%s %s: %s", method, path, body)
	require.NoError(a.t, json.Unmarshal(body, &out), "%s", body)
	return out
}

func (a api) peer(query string) info { return call[info](a, "POST", "/peer?"+query) }

func (a api) act(n int, verb, to, query string) result {
	a.t.Helper()
	return call[result](a, "POST", fmt.Sprintf("/peer/%d/%s?to=%s&%s", n, verb, url.QueryEscape(to), query))
}

func TestEchoGoesOverEveryTransport(t *testing.T) {
	a := start(t)
	from := a.peer("")
	assert.Empty(t, from.Addrs)
	for listen, transport := range map[string]string{
		"ws": "websocket", "tcp": "tcp", "quic": "quic-v1", "webtransport": "webtransport",
	} {
		to := a.peer("listen=" + listen + "&ip6=1")
		require.Len(t, to.Addrs, 2, listen)
		for _, addr := range to.Addrs {
			res := a.act(from.N, "echo", addr, "bytes=1000000&repeat=2&fresh=1")
			require.True(t, res.OK, "%s: %s", addr, res.Error)
			assert.Equal(t, transport, res.Transport)
			assert.EqualValues(t, 2000000, res.Bytes)
			assert.False(t, res.Relayed)
		}
	}
}

func TestSameIdentityIsTheSamePeer(t *testing.T) {
	a := start(t)
	assert.Equal(t, a.peer("identity=ann").PeerID, a.peer("identity=ann").PeerID)
	assert.NotEqual(t, a.peer("identity=ann").PeerID, a.peer("identity=bob").PeerID)
	assert.NotEqual(t, a.peer("").PeerID, a.peer("").PeerID)
}

func TestPingAndIdentify(t *testing.T) {
	a := start(t)
	from, to := a.peer("listen=tcp"), a.peer("listen=ws")
	ping := a.act(from.N, "ping", to.Addrs[0], "")
	require.True(t, ping.OK, ping.Error)
	assert.Positive(t, ping.RTTMS)
	ident := a.act(from.N, "identify", to.Addrs[0], "")
	require.True(t, ident.OK, ident.Error)
	assert.Equal(t, "testpeer/1", ident.Agent)
	assert.Contains(t, ident.Protocols, "/test/echo/1")
	assert.NotEmpty(t, ident.Observed)
	assert.NotEmpty(t, ident.Addrs)
}

func TestProtocolsDoWhatTheyPromise(t *testing.T) {
	a := start(t)
	from := a.peer("")
	for _, listen := range []string{"ws", "webtransport"} {
		t.Run(listen, func(t *testing.T) {
			a := api{t, a.base}
			to := a.peer("listen=" + listen)
			open := func(proto, query string) result {
				return a.act(from.N, "open", to.Addrs[0], "protocol="+url.QueryEscape(proto)+"&"+query)
			}

			sink := open("/test/sink/1", "bytes=300000")
			assert.EqualValues(t, 40, sink.Received)
			assert.Equal(t, "eof", sink.How)

			reset := open("/test/reset/1", "bytes=1&read=1&end=close")
			assert.Equal(t, "reset", reset.How, reset.Error)

			open("/test/observe/1", "bytes=1000&end=close")
			assert.Equal(t, record{How: "eof", Bytes: 1000, Peer: from.PeerID}, a.observed(to.N))
			held := open("/test/observe/1", "bytes=1000&end=hold")
			require.True(t, held.OK, held.Error)
			time.Sleep(50 * time.Millisecond) // so that the reset does not overtake the bytes
			call[result](a, "POST", fmt.Sprintf("/peer/%d/stream/%d?end=reset", from.N, held.Stream))
			assert.Equal(t, "reset", a.observed(to.N).How)

			stalled := open("/test/stall/1", "bytes=1000&end=hold")
			assert.EqualValues(t, 1, a.release(to.N))
			rest := call[result](a, "POST", fmt.Sprintf("/peer/%d/stream/%d", from.N, stalled.Stream))
			assert.EqualValues(t, 40, rest.Received, rest.Error)

			half := open("/test/closeread/1", "bytes=1&end=hold") // a byte, since negotiation is lazy
			assert.EqualValues(t, 1, a.release(to.N))
			rest = call[result](a, "POST", fmt.Sprintf("/peer/%d/stream/%d", from.N, half.Stream))
			assert.EqualValues(t, len("still here"), rest.Received, rest.Error)

			waits := open("/test/wait/1", "bytes=1&read=1&timeout=200ms")
			assert.False(t, waits.OK)
			assert.NotEqual(t, "eof", waits.How)
		})
	}
}

func (a api) observed(n int) record {
	return call[record](a, "GET", fmt.Sprintf("/peer/%d/observed", n))
}

func (a api) release(n int) int {
	return call[struct{ Released int }](a, "POST", fmt.Sprintf("/peer/%d/release", n)).Released
}

func TestPatternIsTheSameAtAnyOffset(t *testing.T) {
	var b strings.Builder
	const n = 3*bufferSize + 17
	require.NoError(t, writePattern(&b, n))
	require.Len(t, b.String(), n)
	for i := range n {
		require.Equal(t, byte(i%251), b.String()[i], "byte %d", i)
	}
	assert.Len(t, binary.BigEndian.AppendUint64(nil, n), 8)
}

func TestEchoThroughTheRelay(t *testing.T) {
	a := start(t)
	relay := a.peer("listen=ws,webtransport&relay=1")
	server, client := a.peer(""), a.peer("")
	rsvp := a.act(server.N, "reserve", relay.Addrs[0], "")
	require.True(t, rsvp.OK, rsvp.Error)
	assert.Len(t, rsvp.Circuits, len(relay.Addrs))
	for _, addr := range append(rsvp.Circuits, rsvp.Circuit) {
		res := a.act(client.N, "echo", addr, "bytes=2000000&fresh=1")
		require.True(t, res.OK, "%s: %s", addr, res.Error)
		assert.True(t, res.Relayed)
		assert.False(t, res.Limited)
	}
}

func TestLimitedRelayGivesLimitedConnections(t *testing.T) {
	a := start(t)
	relay := a.peer("listen=ws&relay=1&relayData=100000")
	server, client := a.peer(""), a.peer("")
	rsvp := a.act(server.N, "reserve", relay.Addrs[0], "")
	assert.EqualValues(t, 100000, rsvp.LimitBytes)
	res := a.act(client.N, "echo", rsvp.Circuit, "bytes=1000")
	require.True(t, res.OK, res.Error)
	assert.True(t, res.Limited)
	assert.False(t, a.act(client.N, "echo", rsvp.Circuit, "bytes=200000").OK)
}

func TestPeerInItsOwnProcessCanBeKilled(t *testing.T) {
	a := start(t)
	near, far := a.peer(""), a.peer("listen=ws&process=1")
	held := a.act(near.N, "open", far.Addrs[0], "protocol=/test/wait/1&bytes=1&end=hold")
	require.True(t, held.OK, held.Error)
	st := call[stats](a, "GET", fmt.Sprintf("/peer/%d/stats?gc=1", far.N))
	assert.Equal(t, 1, st.Connections)
	assert.Positive(t, st.RSSBytes)
	assert.Positive(t, st.Goroutines)

	call[result](a, "POST", fmt.Sprintf("/peer/%d/kill", far.N))
	res := call[result](a, "POST", fmt.Sprintf("/peer/%d/stream/%d?read=1", near.N, held.Stream))
	assert.False(t, res.OK)
	call[result](a, "GET", fmt.Sprintf("/peer/%d/stats", far.N), http.StatusNotFound)
	call[result](a, "POST", fmt.Sprintf("/peer/%d/kill", near.N), http.StatusBadRequest)
}

func TestMutesLeaveTheDialerWaiting(t *testing.T) {
	a := start(t)
	from := a.peer("")
	for _, kind := range []string{"tcp", "ws", "webtransport", "webtransport-session"} {
		mute := call[info](a, "POST", "/mute?kind="+kind)
		for _, addr := range mute.Addrs {
			res := a.act(from.N, "connect", addr, "timeout=300ms")
			assert.False(t, res.OK, addr)
			assert.Greater(t, res.DialMS, 250.0, "%s: %s", addr, res.Error)
		}
		assert.Positive(t, call[map[string]int](a, "GET", fmt.Sprintf("/server/%d", mute.N))["accepted"])
		call[result](a, "POST", fmt.Sprintf("/server/%d/close", mute.N))
	}
}

func TestRoguesAreRefused(t *testing.T) {
	a := start(t)
	from := a.peer("")
	for _, kind := range []string{"missing-certhash", "second-certhash", "no-certhash"} {
		rogue := call[info](a, "POST", "/rogue?kind="+kind)
		res := a.act(from.N, "connect", rogue.Addrs[0], "timeout=5s")
		assert.False(t, res.OK, kind)
		assert.Contains(t, res.Error, "missing cert hash", kind)
	}
}

func TestIntruderPassesOnAPeerAndItsBytes(t *testing.T) {
	a := start(t)
	from, far := a.peer(""), a.peer("listen=ws")
	to := "/intruder?to=" + url.QueryEscape(far.Addrs[0])
	for query, passes := range map[string]bool{
		"&bytes=8900":                true, // a ping
		"&bytes=8900&after=2":        true,
		"&bytes=8900&times=1000":     true,
		"&bytes=88020fa1&then=hold":  false, // a close
		"&bytes=&then=end":           false,
		"&bytes=0d0a0d0a&after=-1":   false,
		"&bytes=82&after=1&then=end": false,
	} {
		res := a.act(from.N, "echo", call[info](a, "POST", to+query).Addrs[0], "fresh=1&bytes=100000&timeout=20s")
		assert.Equal(t, passes, res.OK, "%s: %s", query, res.Error)
	}
}

func TestSelfSignedWebSocketIsRefused(t *testing.T) {
	a := start(t)
	from, to := a.peer(""), a.peer("wss=1")
	require.Len(t, to.Addrs, 1)
	assert.Contains(t, to.Addrs[0], "/tls/ws/")
	assert.Contains(t, a.act(from.N, "connect", to.Addrs[0], "").Error, "certificate")
}

func TestPreflightIsAnswered(t *testing.T) {
	a := start(t)
	req, err := http.NewRequestWithContext(t.Context(), "OPTIONS", a.base+"/peer?listen=ws", nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	resp.Body.Close()
	assert.Equal(t, http.StatusNoContent, resp.StatusCode)
	assert.Contains(t, resp.Header.Get("Access-Control-Allow-Methods"), "POST")
}

func TestBadRequestsSayWhatIsWrong(t *testing.T) {
	a := start(t)
	for path, want := range map[string]string{
		"/peer?listen=carrier-pigeon":          "carrier-pigeon",
		"/peer?listen=ws:99999":                "port",
		"/peer?process=1&listen=ws:99999":      "port",
		"/mute?kind=loud":                      "loud",
		"/rogue?kind=nice":                     "nice",
		"/intruder?to=nowhere":                 "nowhere",
		"/peer?relay=1&listen=ws&relayTTL=now": "relayTTL",
	} {
		got := call[struct{ Error string }](a, "POST", path, http.StatusBadRequest)
		assert.Contains(t, got.Error, want)
	}
}

func TestProgramEndsWithItsInput(t *testing.T) {
	in, keep := io.Pipe()
	out, printed := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- run(t.Context(), in, printed) }()
	line := make([]byte, 256)
	n, err := out.Read(line)
	require.NoError(t, err)
	base, ok := strings.CutPrefix(strings.TrimSpace(string(line[:n])), "control ")
	require.True(t, ok, "%q", line[:n])
	a := api{t, base}
	a.peer("listen=ws")
	a.peer("listen=ws&process=1")
	require.NoError(t, keep.Close())
	require.NoError(t, <-ended)
	http.DefaultClient.CloseIdleConnections()
}
