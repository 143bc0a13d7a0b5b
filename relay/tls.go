package relay

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	ma "github.com/multiformats/go-multiaddr"
)

// TLS configures how the relay gets certificates for its TCP ports: from an ACME
// authority, for its own names or for names of a broker, or from files. The ports then
// speak TLS (https, wss) in addition to the plain protocols.
type TLS struct {
	// Domains are the names and IP addresses to get certificates for, by TLS-ALPN-01 (RFC
	// 8737, RFC 8738): the authority connects to port 443 of each, which must be a TCP port
	// that the relay listens on, or be forwarded to one. Certificates are stored in DataDir,
	// and renewed.
	Domains []string
	// AutoTLS, instead of Domains, gets a certificate for names of a broker.
	AutoTLS *AutoTLS
	// ACME is the authority.
	ACME ACME
	// CertFile and KeyFile are PEM files of a chain and its key, instead of Domains. Reload
	// reads them again; so does a handshake, at most every ten seconds, if they have
	// changed.
	CertFile, KeyFile string
}

// ACME is a certificate authority (RFC 8555).
type ACME struct {
	// Directory is its URL. If empty, Let's Encrypt's.
	Directory string
	// Email is where the authority can report problems. It may be empty.
	Email string
	// Roots are the root certificates trusted for the Directory. If nil, the system's.
	Roots *x509.CertPool
	// CheckEvery is how often the relay checks which certificates are due for renewal. If
	// zero, every ten minutes.
	CheckEvery time.Duration
}

// certificates are the certificates that the relay serves.
type certificates interface {
	config() *tls.Config
	// start is called once the relay listens on these addresses.
	start(listening []ma.Multiaddr)
	// reload reads again what is not updated automatically.
	reload() error
	// names returns the names that the certificates are for, without wildcards.
	names() []string
	// announced returns the addresses to announce: those that the operator configured, and
	// the relay's own, with the addresses with TLS at names of the certificates.
	announced(told, own []ma.Multiaddr) []ma.Multiaddr
	// troubles returns the reasons why a certificate is missing, has expired, or cannot be
	// replaced.
	troubles() []string
	// expires returns when the first certificate expires; the Unix epoch if one is missing.
	expires() time.Time
	close()
}

// newCertificates opens the certificates; nil if none are wanted.
func newCertificates(o TLS, key crypto.PrivKey, dataDir string, log *slog.Logger) (certificates, error) {
	files := o.CertFile != "" || o.KeyFile != ""
	switch {
	case o.AutoTLS != nil && (files || len(o.Domains) > 0):
		return nil, errors.New("tls: give either AutoTLS, or domains, or files of a certificate")
	case o.AutoTLS != nil:
		a, err := newAutoTLS(o, key, dataDir, log)
		if err != nil {
			return nil, fmt.Errorf("tls: %w", err)
		}
		return a, nil
	case files && len(o.Domains) > 0:
		return nil, errors.New("tls: give either domains or files of a certificate")
	case files && (o.CertFile == "" || o.KeyFile == ""):
		return nil, errors.New("tls: a certificate takes a file of its chain and one of its key")
	case files:
		f := &certFiles{certFile: o.CertFile, keyFile: o.KeyFile, log: log}
		if err := f.reload(); err != nil {
			return nil, fmt.Errorf("tls: %w", err)
		}
		return f, nil
	case len(o.Domains) > 0:
		for _, d := range o.Domains {
			if err := CheckDomain(d); err != nil {
				return nil, fmt.Errorf("tls: %w", err)
			}
		}
		a, err := newACME(o.ACME, o.Domains, dataDir, log)
		if err != nil {
			return nil, fmt.Errorf("tls: %w", err)
		}
		return a, nil
	}
	return nil, nil
}

// CheckDomain returns an error if s is neither a host name nor an IP address that can
// have a certificate.
func CheckDomain(s string) error {
	if isIP(s) {
		return nil
	}
	if !hostname.MatchString(s) || strings.Contains(s, ":") || !strings.Contains(s, ".") {
		return fmt.Errorf("%q is neither a host name such as relay.example nor an IP address", s)
	}
	return nil
}

// secured adds the addresses with TLS to those to listen on.
func secured(listen []ma.Multiaddr) ([]ma.Multiaddr, error) {
	out := slices.Clone(listen)
	for _, a := range listen {
		if plain, ok := strings.CutSuffix(a.String(), "/ws"); ok && !isSecure(a) {
			more, err := ma.NewMultiaddr(plain + "/tls/ws")
			if err != nil {
				return nil, err
			}
			if !slices.ContainsFunc(out, more.Equal) {
				out = append(out, more)
			}
		}
	}
	if !slices.ContainsFunc(out, isSecure) {
		return nil, errors.New("tls: the relay listens on no WebSocket address")
	}
	return out, nil
}

// isSecure reports whether an address is a WebSocket address with TLS.
func isSecure(a ma.Multiaddr) bool {
	_, noTLS := a.ValueForProtocol(ma.P_TLS)
	_, noWS := a.ValueForProtocol(ma.P_WS)
	return noTLS == nil && noWS == nil
}

// named replaces the addresses with TLS by addresses at the names of the certificates,
// because clients would reject the certificate at any other.
func named(own []ma.Multiaddr, names []string) (out []ma.Multiaddr) {
	add := func(a ma.Multiaddr) {
		if a != nil && !slices.ContainsFunc(out, a.Equal) {
			out = append(out, a)
		}
	}
	for _, a := range own {
		if !isSecure(a) {
			add(a)
			continue
		}
		for _, name := range names {
			add(websocketAt(origin{host: name, port: portOf(a), tls: true}, ""))
		}
	}
	return out
}

// portOf returns the TCP port of an address; empty if it has none.
func portOf(a ma.Multiaddr) string {
	port, _ := a.ValueForProtocol(ma.P_TCP)
	return port
}

// certFiles serves a certificate from files.
type certFiles struct {
	certFile, keyFile string
	log               *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	changed [2]time.Time // modification times of the files that current was read from
	looked  time.Time
	failed  error // the files as they are now cannot be used
}

var _ certificates = (*certFiles)(nil)

// lookEvery is the shortest time between two checks of the files for a change.
const lookEvery = 10 * time.Second

func (f *certFiles) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if now := time.Now(); now.Sub(f.looked) > lookEvery {
			f.looked = now
			if f.modified() != f.changed {
				if err := f.load(); err != nil {
					f.log.Error("the certificate's files have changed and cannot be used: the old certificate is served", "error", err)
				}
			}
		}
		return f.current, nil
	}}
}

func (f *certFiles) reload() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.load()
}

// load reads the files. If it returns an error, the certificate stays. The mutex is held.
func (f *certFiles) load() error {
	changed := f.modified()
	c, err := tls.LoadX509KeyPair(f.certFile, f.keyFile)
	f.changed, f.failed = changed, err
	if err != nil {
		return fmt.Errorf("read the certificate %s with the key %s: %w", f.certFile, f.keyFile, err)
	}
	f.current = &c
	return nil
}

// modified returns when the files were last changed.
func (f *certFiles) modified() (at [2]time.Time) {
	for i, name := range []string{f.certFile, f.keyFile} {
		if info, err := os.Stat(name); err == nil {
			at[i] = info.ModTime()
		}
	}
	return at
}

func (f *certFiles) start([]ma.Multiaddr) {}
func (f *certFiles) close()               {}

func (f *certFiles) announced(told, own []ma.Multiaddr) []ma.Multiaddr {
	return slices.Concat(told, named(own, f.names()))
}

func (f *certFiles) names() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	names := slices.DeleteFunc(slices.Clone(f.current.Leaf.DNSNames), func(name string) bool { return strings.HasPrefix(name, "*.") })
	for _, ip := range f.current.Leaf.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

func (f *certFiles) troubles() (all []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed != nil {
		all = append(all, fmt.Sprintf("tls: the files cannot be used: %v", f.failed))
	}
	if ends := f.current.Leaf.NotAfter; time.Now().After(ends) {
		all = append(all, fmt.Sprintf("tls: the certificate in %s has expired on %s", f.certFile, ends.Format(time.DateOnly)))
	}
	return all
}

func (f *certFiles) expires() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.current.Leaf.NotAfter
}

// hostPort returns a host for a URL, with its port unless that is 443.
func hostPort(host, port string) string {
	if port == "443" {
		if strings.Contains(host, ":") {
			return "[" + host + "]"
		}
		return host
	}
	return net.JoinHostPort(host, port)
}
