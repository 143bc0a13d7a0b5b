package relay_test

import (
	"bufio"
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/peer"
	circuit "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/libp2p/go-libp2p/p2p/transport/websocket"
	"github.com/miekg/dns"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/native/socket/sockettest"
	"github.com/tombolo-net/tombolo/relay"
)

// certificate writes a self-signed certificate for some names, and its key.
func certificate(t *testing.T, dir string, names ...string) (cert, key string, leaf *x509.Certificate) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	require.NoError(t, err)
	c := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "test"}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, k.Public(), k)
	require.NoError(t, err)
	leaf, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	require.NoError(t, err)
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))
	return cert, key, leaf
}

// port returns the relay's TCP port for TLS.
func port(t *testing.T, r *relay.Relay) string {
	t.Helper()
	for _, a := range r.Node().Host().Network().ListenAddresses() {
		if strings.Contains(a.String(), "/tls/ws") {
			p, err := a.ValueForProtocol(ma.P_TCP)
			require.NoError(t, err)
			return p
		}
	}
	require.Fail(t, "it listens on no address with TLS")
	return ""
}

// served returns the certificate that the relay serves for a name, or nil if it serves none.
func served(r *relay.Relay, t *testing.T, name string) *x509.Certificate {
	t.Helper()
	c, err := tls.Dial("tcp", "127.0.0.1:"+port(t, r), &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err != nil {
		return nil
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0]
}

func TestARelayWithACertificateSpeaksTLSOnItsPort(t *testing.T) {
	dir := t.TempDir()
	cert, key, leaf := certificate(t, dir, "relay.example")
	r := newRelay(t, relay.Options{TLS: relay.TLS{CertFile: cert, KeyFile: key}, RedirectListen: "127.0.0.1:0"})
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	at := &tls.Config{RootCAs: roots, ServerName: "relay.example"}
	p := port(t, r)
	assert.Equal(t, "https://relay.example:"+p+"/", r.PageURL())

	web := client(t)
	web.Transport.(*http.Transport).TLSClientConfig = at
	web.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for _, scheme := range []string{"https", "http"} { // both on the same port
		resp, err := web.Get(scheme + "://127.0.0.1:" + p + "/healthz")
		require.NoError(t, err)
		resp.Body.Close()
		assert.Equal(t, 200, resp.StatusCode)
	}
	for asked, at := range map[string]string{"relay.example": "relay.example", "other.example": "other.example", "127.0.0.1": "relay.example"} {
		request, err := http.NewRequest(http.MethodGet, "http://"+r.RedirectAddr()+"/a?b=c", nil)
		require.NoError(t, err)
		request.Host = asked
		resp, err := web.Do(request)
		require.NoError(t, err)
		resp.Body.Close()
		assert.Equal(t, http.StatusPermanentRedirect, resp.StatusCode)
		assert.Equal(t, "https://"+at+":"+p+"/a?b=c", resp.Header.Get("Location"))
	}

	var announced []string
	for _, a := range r.Node().Host().Addrs() {
		if strings.Contains(a.String(), "/tls/ws") {
			announced = append(announced, a.String())
		}
	}
	assert.Equal(t, []string{"/dns/relay.example/tcp/" + p + "/tls/ws"}, announced, "at its name, and nowhere else")

	h, err := libp2p.New(libp2p.NoListenAddrs, libp2p.Transport(websocket.New, websocket.WithTLSClientConfig(at)))
	require.NoError(t, err)
	defer h.Close()
	wss := peer.AddrInfo{ID: r.Node().ID(), Addrs: []ma.Multiaddr{ma.StringCast("/ip4/127.0.0.1/tcp/" + p + "/tls/sni/relay.example/ws")}}
	require.NoError(t, h.Connect(testContext(t), wss))
	_, err = circuit.Reserve(testContext(t), h, wss)
	require.NoError(t, err)
	newReserved(t, r) // without TLS

	// A new certificate is served at the next reload, and a bad one refused.
	_, _, next := certificate(t, dir, "relay.example")
	require.NoError(t, r.Reload())
	assert.Equal(t, next.SerialNumber, served(r, t, "relay.example").SerialNumber)
	require.NoError(t, os.WriteFile(cert, []byte("nonsense"), 0o600))
	require.ErrorContains(t, r.Reload(), cert)
	assert.Equal(t, next.SerialNumber, served(r, t, "relay.example").SerialNumber)
	assert.Contains(t, fmt.Sprint(r.Unready()), "cannot be used")
}

func TestWhatMakesNoSenseOfTLSIsRefused(t *testing.T) {
	cert, key, _ := certificate(t, t.TempDir(), "relay.example")
	for want, o := range map[string]relay.Options{
		"either domains or files":     {TLS: relay.TLS{Domains: []string{"relay.example"}, CertFile: cert, KeyFile: key}},
		"one of its key":              {TLS: relay.TLS{CertFile: cert}},
		"take a data directory":       {TLS: relay.TLS{Domains: []string{"relay.example"}}},
		"either AutoTLS":              {TLS: relay.TLS{Domains: []string{"relay.example"}, AutoTLS: &relay.AutoTLS{}}, DataDir: t.TempDir()},
		"or files of a certificate":   {TLS: relay.TLS{CertFile: cert, KeyFile: key, AutoTLS: &relay.AutoTLS{}}, DataDir: t.TempDir()},
		`"192.0.2.1" is not`:          {TLS: relay.TLS{AutoTLS: &relay.AutoTLS{Domain: "192.0.2.1"}}, DataDir: t.TempDir()},
		`"ftp://broker.example" is`:   {TLS: relay.TLS{AutoTLS: &relay.AutoTLS{Broker: "ftp://broker.example"}}, DataDir: t.TempDir()},
		"directory to be kept in":     {TLS: relay.TLS{AutoTLS: &relay.AutoTLS{}}},
		`"*.example" is neither`:      {TLS: relay.TLS{Domains: []string{"*.example"}}, DataDir: t.TempDir()},
		"listens on no WebSocket":     {TLS: relay.TLS{CertFile: cert, KeyFile: key}, Listen: []ma.Multiaddr{ma.StringCast("/ip4/127.0.0.1/tcp/0")}},
		"speaks no TLS":               {RedirectListen: "127.0.0.1:0"},
		filepath.Join("no", "of.pem"): {TLS: relay.TLS{CertFile: filepath.Join("no", "of.pem"), KeyFile: key}},
	} {
		if o.Listen == nil {
			o.Listen = local()
		}
		_, err := relay.New(testContext(t), o)
		assert.ErrorContains(t, err, want)
	}
}

// pebble is the ACME authority that stands in for Let's Encrypt in tests. It issues a
// certificate only after it has checked the name at the relay's own port.
const pebble = "github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.1"

// authority runs Pebble with a DNS server that resolves all names to 127.0.0.1.
func authority(t *testing.T, port string, seconds int) relay.ACME {
	t.Helper()
	names := newNames(t, func(q dns.Question) dns.RR {
		if q.Qtype != dns.TypeA {
			return nil
		}
		return &dns.A{Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(127, 0, 0, 1)}
	})
	acme, _ := runPebble(t, names, port, seconds)
	return acme
}

// newNames runs a DNS server over TCP and returns its host:port.
func newNames(t *testing.T, answer func(dns.Question) dns.RR) string {
	t.Helper()
	zone, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &dns.Server{Listener: zone, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if rr := answer(q.Question[0]); rr != nil {
			m.Answer = []dns.RR{rr}
		}
		_ = w.WriteMsg(m)
	})}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = server.ActivateAndServe() }()
	t.Cleanup(func() { _ = zone.Close(); <-ended })
	return zone.Addr().String()
}

// runPebble runs Pebble. Its certificates are valid for the given number of seconds. It
// checks names at the given port, at the addresses that the DNS server at names returns.
// roots are the roots of its certificates.
func runPebble(t *testing.T, names, port string, seconds int) (acme relay.ACME, roots *x509.CertPool) {
	t.Helper()
	dir := t.TempDir()
	build := exec.Command("go", "install", pebble)
	build.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=-mod=mod")
	if out, err := build.CombinedOutput(); err != nil {
		t.Skipf("Pebble cannot be had here: %v: %s", err, out)
	}
	cert, key, leaf := certificate(t, dir, "localhost")
	at, management := sockettest.Nobody(t), sockettest.Nobody(t)
	tlsPort, err := strconv.Atoi(port)
	require.NoError(t, err)
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": at, "managementListenAddress": management, "certificate": cert, "privateKey": key,
		"httpPort": 1, "tlsPort": tlsPort, "domainBlocklist": []string{"blocked.example"}, "keyAlgorithm": "ecdsa",
		"profiles": map[string]any{"default": map[string]any{"description": "short", "validityPeriod": seconds}},
	}})
	require.NoError(t, err)
	file := filepath.Join(dir, "pebble.json")
	require.NoError(t, os.WriteFile(file, config, 0o600))
	run := exec.Command(filepath.Join(dir, "pebble"), "-config", file, "-dnsserver", names)
	run.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0")
	start(t, run, "Listening on")
	ends := x509.NewCertPool()
	ends.AddCert(leaf)
	web := client(t)
	web.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: ends, ServerName: "localhost"}
	roots = x509.NewCertPool()
	require.Eventually(t, func() bool {
		resp, err := web.Get("https://" + management + "/roots/0")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		root, err := io.ReadAll(resp.Body)
		return err == nil && roots.AppendCertsFromPEM(root)
	}, 30*time.Second, 10*time.Millisecond)
	_, p, err := net.SplitHostPort(at)
	require.NoError(t, err)
	return relay.ACME{Directory: "https://localhost:" + p + "/dir", Roots: ends, CheckEvery: 500 * time.Millisecond}, roots
}

// start runs a program until the test ends. It returns once the program has printed until.
func start(t *testing.T, run *exec.Cmd, until string) {
	t.Helper()
	said, err := run.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, run.Start())
	t.Cleanup(func() { _ = run.Process.Kill(); _ = run.Wait() })
	lines := bufio.NewScanner(said)
	for lines.Scan() && !strings.Contains(lines.Text(), until) {
	}
	go func() { _, _ = io.Copy(io.Discard, said) }()
}

// logText is a log that may be written and read concurrently.
type logText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestCertificatesAreObtainedAndRenewedOnTheRelaysPortAndAFailureIsTold(t *testing.T) {
	p := sockettest.Port(t)
	var log logText
	r := newRelay(t, relay.Options{
		DataDir: t.TempDir(), Listen: []ma.Multiaddr{ma.StringCast("/ip4/127.0.0.1/tcp/" + p + "/ws")},
		TLS:    relay.TLS{Domains: []string{"relay.example", "127.0.0.1", "blocked.example"}, ACME: authority(t, p, 6)},
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	for _, name := range []string{"relay.example", ""} { // no server name is sent for an IP address
		var first *x509.Certificate
		require.Eventually(t, func() bool {
			first = served(r, t, name)
			return first != nil && first.VerifyHostname(cmp.Or(name, "127.0.0.1")) == nil
		}, 30*time.Second, 10*time.Millisecond, name)
	}
	first := served(r, t, "relay.example")
	require.Eventually(t, func() bool {
		next := served(r, t, "relay.example")
		return next != nil && next.SerialNumber.Cmp(first.SerialNumber) != 0
	}, 30*time.Second, 50*time.Millisecond, "the one that was renewed is served, and nothing was restarted")
	require.Eventually(t, func() bool {
		return strings.Contains(fmt.Sprint(r.Unready()), "tls: blocked.example: there is no certificate yet: ") &&
			strings.Contains(log.String(), "no certificate was obtained")
	}, 30*time.Second, 50*time.Millisecond, "the authority has refused it")
	assert.Contains(t, log.String(), "blocked.example")
}
