//go:build js

// Package farside starts and controls native peers from tests that run in a browser or in
// Node.js. The peers run in the testpeer program, whose control URL the test runner
// passes in the environment variable TESTPEER; without it the tests fail.
package farside

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall/js"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

// callLimit bounds one request, which may include a dial and a transfer of many MiB.
const callLimit = 60 * time.Second

// Peer is a native peer, or a server that misbehaves.
type Peer struct {
	ID    peer.ID
	Addrs []ma.Multiaddr // without /p2p
	path  string
}

// Start starts a peer with the given query of POST /peer, such as "listen=ws".
// It is closed at the end of the test.
func Start(t testing.TB, query string) *Peer { return start(t, "peer", query) }

// StartMute starts a server that accepts connections and sends nothing.
func StartMute(t testing.TB, kind string) *Peer { return start(t, "mute", "kind="+kind) }

// StartRogue starts a server that speaks libp2p incorrectly.
func StartRogue(t testing.TB, kind string) *Peer { return start(t, "rogue", "kind="+kind) }

// An Intrusion is raw bytes that an attacker between the ends of a TCP connection sends
// to the dialling end.
type Intrusion struct {
	After int    // how many of the peer's WebSocket frames pass before; -1: instead of the HTTP response
	Bytes []byte // such as frames
	Times int    // if zero, once
	Then  string // end closes the TCP connection after them, hold sends no more; if empty, the peer's data follows
}

// StartIntruder starts a proxy with the intrusion, through which the peer is reachable
// over /ws.
func (p *Peer) StartIntruder(t testing.TB, i Intrusion) *Peer {
	t.Helper()
	return start(t, "intruder", url.Values{
		"to":    {fmt.Sprintf("%s/p2p/%s", p.Addr(t, "/ws"), p.ID)},
		"after": {strconv.Itoa(i.After)},
		"bytes": {hex.EncodeToString(i.Bytes)},
		"times": {strconv.Itoa(max(i.Times, 1))},
		"then":  {i.Then},
	}.Encode())
}

func start(t testing.TB, what, query string) *Peer {
	t.Helper()
	var made struct {
		N      int
		PeerID string
		Addrs  []string
	}
	require.NoError(t, call("POST", what+"?"+query, &made))
	id, err := peer.Decode(made.PeerID)
	require.NoError(t, err)
	kind := "peer"
	if what != "peer" {
		kind = "server"
	}
	p := &Peer{ID: id, path: fmt.Sprintf("%s/%d/", kind, made.N)}
	for _, s := range made.Addrs {
		transport, _ := peer.SplitAddr(ma.StringCast(s))
		p.Addrs = append(p.Addrs, transport)
	}
	t.Cleanup(func() { _ = call("POST", p.path+"close", nil) }) // it may be gone already
	return p
}

// Addr returns the peer's first address with the given part, such as "/ws".
func (p *Peer) Addr(t testing.TB, part string) ma.Multiaddr {
	t.Helper()
	for _, a := range p.Addrs {
		if strings.Contains(a.String()+"/", part+"/") {
			return a
		}
	}
	require.Failf(t, "no such address", "%s has no address with %s: %v", p.ID, part, p.Addrs)
	return nil
}

// Post calls POST /peer/{n}/what and fills answer, which may be nil.
func (p *Peer) Post(t testing.TB, what string, answer any) {
	t.Helper()
	require.NoError(t, call("POST", p.path+what, answer))
}

// Get calls GET /peer/{n}/what.
func (p *Peer) Get(t testing.TB, what string, answer any) {
	t.Helper()
	require.NoError(t, call("GET", p.path+what, answer))
}

// Observed waits for the end of a stream of /test/observe/1 and returns how it ended.
func (p *Peer) Observed(t testing.TB) (how string, bytes int64) {
	t.Helper()
	var o struct {
		How   string
		Bytes int64
	}
	p.Get(t, "observed", &o)
	return o.How, o.Bytes
}

// Result is the outcome of Tell.
type Result struct {
	OK        bool
	Error     string
	Transport string
	Relayed   bool
	Limited   bool
	Bytes     int64
	Agent     string
	Protocols []string
	Circuit   string
}

// Tell makes the peer do something with another at the address to, and returns the
// outcome; extra are more parameters.
func (p *Peer) Tell(t testing.TB, what, to, extra string) Result {
	t.Helper()
	var r Result
	p.Post(t, what+"?to="+url.QueryEscape(to)+"&"+extra, &r)
	return r
}

// call makes one request, directly with fetch, because net/http does not use it under
// Node.js.
func call(method, path string, answer any) error {
	control := os.Getenv("TESTPEER")
	if control == "" {
		return fmt.Errorf("TESTPEER is not set: run the tests with the runner in web/test")
	}
	ctx, cancel := context.WithTimeout(context.Background(), callLimit)
	defer cancel()
	request := js.Global().Call("fetch", control+"/"+path, map[string]any{"method": method})
	response, err := jsio.Await(ctx, request)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	body, err := jsio.Await(ctx, response.Call("text"))
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if !response.Get("ok").Bool() {
		return fmt.Errorf("%s %s: status %d: %s", method, path, response.Get("status").Int(), body.String())
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal([]byte(body.String()), answer)
}
