package relay_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	httppeeridauth "github.com/libp2p/go-libp2p/p2p/http/auth"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	circuit "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/libp2p/go-libp2p/p2p/transport/websocket"
	"github.com/miekg/dns"
	ma "github.com/multiformats/go-multiaddr"
	madns "github.com/multiformats/go-multiaddr-dns"
	"github.com/multiformats/go-multibase"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/native/socket/sockettest"
	"github.com/tombolo-net/tombolo/relay"
)

// zone is the domain of the tests' brokers.
const zone = "direct.example"

// resolverAt returns a resolver that asks one DNS server, over TCP.
func resolverAt(at string) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", at)
	}}
}

// standIn is a broker for tests, because building the real one (see forge) in every run
// takes too long.
type standIn struct {
	url, names string
	refusal    string // if not empty, the answer to everything
	believes   bool   // accepts the addresses without dialling them

	mu       sync.Mutex
	values   map[string]string // by name
	told     []string          // the addresses of the last registration
	accepted int
}

func newStandIn(t *testing.T) *standIn {
	t.Helper()
	s := &standIn{values: make(map[string]string)}
	s.names = newNames(t, s.answer)
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	require.NoError(t, err)
	var host string
	server := httptest.NewServer(&httppeeridauth.ServerPeerIDAuth{
		PrivKey: key, TokenTTL: time.Hour, Next: s.register, NoTLS: true, ValidHostnameFn: func(h string) bool { return h == host },
	})
	t.Cleanup(server.Close)
	s.url = server.URL
	host = strings.TrimPrefix(server.URL, "http://")
	return s
}

func (s *standIn) register(p peer.ID, w http.ResponseWriter, r *http.Request) {
	var all struct {
		Value     string
		Addresses []string
	}
	body := json.NewDecoder(r.Body)
	body.DisallowUnknownFields()
	switch {
	case s.refusal != "":
		http.Error(w, s.refusal, http.StatusForbidden)
		return
	case r.URL.Path != "/v1/_acme-challenge" || body.Decode(&all) != nil:
		http.Error(w, "not a registration", http.StatusBadRequest)
		return
	}
	if !s.believes {
		h, err := libp2p.New(libp2p.NoListenAddrs, libp2p.DisableRelay())
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer h.Close()
		at := peer.AddrInfo{ID: p}
		for _, a := range all.Addresses {
			at.Addrs = append(at.Addrs, ma.StringCast(a))
		}
		if err := h.Connect(r.Context(), at); err != nil {
			http.Error(w, "error testing addresses: "+err.Error(), http.StatusBadRequest)
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accepted++
	s.told = all.Addresses
	s.values["_acme-challenge."+base36(p)+"."+zone+"."] = all.Value
}

func (s *standIn) answer(q dns.Question) dns.RR {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := strings.ToLower(q.Name)
	header := dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: dns.ClassINET}
	label, _, _ := strings.Cut(name, ".")
	switch ip := net.ParseIP(strings.ReplaceAll(label, "-", ".")); {
	case q.Qtype == dns.TypeA && ip != nil:
		return &dns.A{Hdr: header, A: ip}
	case q.Qtype == dns.TypeTXT && s.values[name] != "":
		return &dns.TXT{Hdr: header, Txt: []string{s.values[name]}}
	}
	return nil
}

func (s *standIn) registrations() (n int, told []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted, s.told
}

func base36(p peer.ID) string {
	return peer.ToCid(p).Encode(multibase.MustNewEncoder(multibase.Base36))
}

// forge is the module of the broker that runs at libp2p.direct.
const forge = "github.com/ipshipyard/p2p-forge@v0.10.0"

// runForge runs the real broker. It is not a dependency of this module, because it has a
// hundred dependencies itself.
func runForge(t *testing.T) (url, names string) {
	t.Helper()
	dir := t.TempDir()
	download := exec.Command("go", "mod", "download", "-json", forge)
	download.Dir = dir
	out, err := download.Output()
	if err != nil {
		t.Skipf("the broker cannot be had here: %v: %s", err, out)
	}
	var module struct{ Dir string }
	require.NoError(t, json.Unmarshal(out, &module))
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "p2p-forge"), ".")
	build.Dir = module.Dir
	build.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Skipf("the broker cannot be built here: %v: %s", err, out)
	}
	at, names := sockettest.Nobody(t), sockettest.Nobody(t)
	_, port, err := net.SplitHostPort(names)
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "zones"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "zones", zone), []byte("$ORIGIN "+zone+".\n@ 60 IN SOA ns."+zone+". admin."+zone+". 1 60 60 60 60\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "Corefile"), []byte(zone+` {
	bind 127.0.0.1
	errors
	ipparser `+zone+`
	acme `+zone+` {
		registration-domain `+at+` listen-address=`+at+` external-tls=true
		database-type badger challenges
	}
}
`), 0o600))
	run := exec.Command(filepath.Join(dir, "p2p-forge"), "-dns.port", port)
	run.Dir = dir
	run.Stderr = os.Stderr
	start(t, run, "p2p-forge")
	require.Eventually(t, func() bool {
		resp, err := client(t).Get("http://" + at + "/v1/health")
		if err != nil {
			return false
		}
		resp.Body.Close()
		c, err := net.Dial("tcp", names)
		if err != nil {
			return false
		}
		c.Close()
		return resp.StatusCode == http.StatusNoContent
	}, 30*time.Second, 50*time.Millisecond)
	return "http://" + at, names
}

// ready returns the answer of /readyz.
func ready(t *testing.T, r *relay.Relay) string {
	t.Helper()
	resp, err := client(t).Get("http://127.0.0.1:" + port(t, r) + "/readyz")
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(body)
}

// withTLS returns the addresses with TLS that the relay announces.
func withTLS(r *relay.Relay) (all []string) {
	for _, a := range r.Node().Host().Addrs() {
		if strings.Contains(a.String(), "/tls/") {
			all = append(all, a.String())
		}
	}
	return all
}

func TestARelayWithoutADomainHasACertificateForItsAddress(t *testing.T) {
	t.Run("by a broker", func(t *testing.T) {
		s := newStandIn(t)
		testAutoTLS(t, s.url, s.names)
		n, told := s.registrations()
		assert.Equal(t, 1, n, "the relay kept its certificate")
		assert.NotContains(t, fmt.Sprint(told), "/tls", "the broker could not have dialed an address with TLS")
	})
	t.Run("by the real broker", func(t *testing.T) {
		if os.Getenv("LONG") == "" {
			t.Skip("its program takes a minute to build: see make test-long")
		}
		url, names := runForge(t)
		testAutoTLS(t, url, names)
	})
}

func testAutoTLS(t *testing.T, broker, names string) {
	acme, roots := runPebble(t, names, "1", 3600)
	resolver := resolverAt(names)
	p := sockettest.Port(t)
	o := relay.Options{
		DataDir: t.TempDir(), Listen: []ma.Multiaddr{ma.StringCast("/ip4/127.0.0.1/tcp/" + p + "/ws")},
		TLS: relay.TLS{ACME: acme, AutoTLS: &relay.AutoTLS{Domain: zone, Broker: broker, Private: true, Resolver: resolver}},
	}
	r, err := relay.New(testContext(t), o)
	require.NoError(t, err)
	defer func() { assert.NoError(t, r.Close()) }()
	name := "127-0-0-1." + base36(r.Node().ID()) + "." + zone
	require.Eventually(t, func() bool { return ready(t, r) == "ok\n" }, 30*time.Second, 10*time.Millisecond)
	assert.Equal(t, []string{"/dns4/" + name + "/tcp/" + p + "/tls/ws"}, withTLS(r))
	assert.Equal(t, "https://"+name+":"+p+"/", r.PageURL())

	web := client(t)
	web.Transport = &http.Transport{DialContext: (&net.Dialer{Resolver: resolver}).DialContext, TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer web.CloseIdleConnections()
	resp, err := web.Get(r.PageURL() + "healthz")
	require.NoError(t, err)
	resp.Body.Close()
	assert.Equal(t, http.StatusOK, resp.StatusCode)

	mas, err := madns.NewResolver(madns.WithDefaultResolver(resolver))
	require.NoError(t, err)
	h, err := libp2p.New(libp2p.NoListenAddrs, libp2p.MultiaddrResolver(swarm.ResolverFromMaDNS{Resolver: mas}),
		libp2p.Transport(websocket.New, websocket.WithTLSClientConfig(&tls.Config{RootCAs: roots})))
	require.NoError(t, err)
	defer h.Close()
	wss := peer.AddrInfo{ID: r.Node().ID(), Addrs: []ma.Multiaddr{ma.StringCast(withTLS(r)[0])}}
	require.NoError(t, h.Connect(testContext(t), wss))
	_, err = circuit.Reserve(testContext(t), h, wss)
	require.NoError(t, err)

	first := served(r, t, name)
	require.NotNil(t, first)
	require.NoError(t, r.Close())
	r, err = relay.New(testContext(t), o)
	require.NoError(t, err)
	assert.Equal(t, "ok\n", ready(t, r))
	assert.Len(t, withTLS(r), 1, "from the start")
	assert.Equal(t, first.SerialNumber, served(r, t, name).SerialNumber)
}

func TestWhatABrokerRefusesIsTold(t *testing.T) {
	s := newStandIn(t)
	s.refusal = "127.0.0.1 is on a list\nof bad addresses"
	acme, _ := runPebble(t, s.names, "1", 3600)
	var log logText
	r := newRelay(t, relay.Options{
		DataDir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(&log, nil)),
		TLS: relay.TLS{ACME: acme, AutoTLS: &relay.AutoTLS{Domain: zone, Broker: s.url, Private: true, Resolver: resolverAt(s.names)}},
	})
	const words = "refused with 403 Forbidden: 127.0.0.1 is on a list of bad addresses"
	require.Eventually(t, func() bool { return strings.Contains(ready(t, r), words) }, 30*time.Second, 10*time.Millisecond)
	assert.Contains(t, ready(t, r), "tls: *."+base36(r.Node().ID())+"."+zone+": there is no certificate yet: ")
	assert.Contains(t, log.String(), words)
	assert.Empty(t, withTLS(r))
	assert.True(t, strings.HasPrefix(r.PageURL(), "http://localhost:"), r.PageURL())
}

func TestACertificateIsAskedForOnceTheRelayHasAPublicAddress(t *testing.T) {
	s := newStandIn(t)
	s.believes = true // no relay is at 1.2.3.4
	acme, _ := runPebble(t, s.names, "1", 3600)
	var log logText
	o := relay.Options{
		DataDir: t.TempDir(), Listen: []ma.Multiaddr{ma.StringCast("/ip4/127.0.0.1/tcp/0/ws")}, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		TLS: relay.TLS{ACME: acme, AutoTLS: &relay.AutoTLS{Domain: zone, Broker: s.url, Resolver: resolverAt(s.names)}},
	}
	next := o
	o.Reread = func(apply func(relay.Options) error) error { return apply(next) }
	r := newRelay(t, o)
	assert.Contains(t, ready(t, r), "tls: none of the relay's addresses is a public IP address")
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "no certificate is asked for yet") }, 10*time.Second, time.Millisecond)

	next.Announce = []ma.Multiaddr{ma.StringCast("/ip4/1.2.3.4/tcp/443/tls/ws"), ma.StringCast("/dns4/proxy.example/tcp/443/tls/ws")}
	require.NoError(t, r.Reload())
	require.Eventually(t, func() bool { return ready(t, r) == "ok\n" }, 30*time.Second, 10*time.Millisecond)
	name := "1-2-3-4." + base36(r.Node().ID()) + "." + zone
	assert.ElementsMatch(t, []string{"/dns4/" + name + "/tcp/443/tls/ws", "/dns4/proxy.example/tcp/443/tls/ws"}, withTLS(r))
	assert.Equal(t, "https://"+name+"/", r.PageURL())
	n, told := s.registrations()
	assert.Equal(t, 1, n)
	assert.Equal(t, []string{"/ip4/1.2.3.4/tcp/443/ws"}, told)
	assert.Equal(t, 1, strings.Count(log.String(), "no certificate is asked for yet"))
}
