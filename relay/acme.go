package relay

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"go.uber.org/zap"
)

// certificatesName is the folder of certificates in the data directory.
const certificatesName = "certificates"

// acme gets and serves certificates of an ACME authority.
type acme struct {
	domains []string
	hint    string // what the operator should check if there is no certificate
	log     *slog.Logger
	cache   *certmagic.Cache
	magic   *certmagic.Config
	issuer  *certmagic.ACMEIssuer
	ctx     context.Context // ends with close
	stop    context.CancelFunc

	mu     sync.Mutex
	failed map[string]error // of the last attempt, by domain; nil if it succeeded
}

var _ certificates = (*acme)(nil)

func newACME(o ACME, domains []string, dataDir string, log *slog.Logger) (*acme, error) {
	if dataDir == "" {
		return nil, errors.New("certificates take a data directory to be kept in")
	}
	a := &acme{
		domains: domains, log: log, failed: make(map[string]error),
		hint: "is port 443 of the domain the relay's, or forwarded to it?",
	}
	a.ctx, a.stop = context.WithCancel(context.Background())
	quiet := zap.NewNop() // note logs what happens to certificates
	a.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert:   func(certmagic.Certificate) (*certmagic.Config, error) { return a.magic, nil },
		RenewCheckInterval: o.CheckEvery,
		Logger:             quiet,
	})
	a.magic = certmagic.New(a.cache, certmagic.Config{
		Storage:           &certmagic.FileStorage{Path: filepath.Join(dataDir, certificatesName)},
		DefaultServerName: domains[max(slices.IndexFunc(domains, isIP), 0)], // of clients that ask for an IP address
		OnEvent:           a.note,
		Logger:            quiet,
	})
	directory := cmp.Or(o.Directory, certmagic.LetsEncryptProductionCA)
	a.issuer = certmagic.NewACMEIssuer(a.magic, certmagic.ACMEIssuer{
		CA: directory, TestCA: directory, Email: o.Email, Agreed: true, TrustedRoots: o.Roots,
		DisableHTTPChallenge: true, DisableDistributedSolvers: true, Logger: quiet,
	})
	a.magic.Issuers = []certmagic.Issuer{&oneByOne{ACMEIssuer: a.issuer}}
	return a, nil
}

// oneByOne gets one certificate at a time. If two need an account without an email
// address at once, certmagic may make one for the address "default", which authorities
// reject.
type oneByOne struct {
	*certmagic.ACMEIssuer
	mu sync.Mutex
}

var (
	_ certmagic.Issuer     = (*oneByOne)(nil)
	_ certmagic.PreChecker = (*oneByOne)(nil)
)

func (o *oneByOne) PreCheck(ctx context.Context, names []string, interactive bool) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ACMEIssuer.PreCheck(ctx, names, interactive)
}

func (o *oneByOne) Issue(ctx context.Context, csr *x509.CertificateRequest) (*certmagic.IssuedCertificate, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ACMEIssuer.Issue(ctx, csr)
}

func (a *acme) config() *tls.Config { return a.magic.TLSConfig() }

func isIP(domain string) bool {
	_, err := netip.ParseAddr(domain)
	return err == nil
}

// start begins to get certificates. The authority validates on a port that the relay
// already listens on; since certmagic knows the port, it does not listen there itself.
func (a *acme) start(listening []ma.Multiaddr) {
	for _, l := range listening {
		if !isSecure(l) {
			continue
		}
		if at, err := manet.ToNetAddr(l[:2]); err == nil {
			a.issuer.ListenHost, a.issuer.AltTLSALPNPort = hostAndPort(at.String())
			break
		}
	}
	if err := a.magic.ManageAsync(a.ctx, a.domains); err != nil {
		a.log.Error("certificates cannot be managed", "domains", a.domains, "error", err)
	}
}

// note records and logs what happens to a certificate.
func (a *acme) note(_ context.Context, event string, data map[string]any) error {
	domain, _ := data["identifier"].(string)
	switch event {
	case "cert_obtained":
		a.set(domain, nil)
		a.log.Info("a certificate was obtained", "domain", domain, "renewal", data["renewal"])
	case "cert_failed":
		err, _ := data["error"].(error)
		if err == nil {
			err = errors.New("the authority gave none")
		}
		a.set(domain, err)
		a.log.Error("no certificate was obtained; it is tried again ("+a.hint+")",
			"domain", domain, "renewal", data["renewal"], "error", err)
	}
	return nil
}

func (a *acme) set(domain string, failed error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failed[domain] = failed
}

func (a *acme) reload() error { return nil }

func (a *acme) names() []string { return a.domains }

func (a *acme) announced(told, own []ma.Multiaddr) []ma.Multiaddr {
	return slices.Concat(told, named(own, a.domains))
}

// leaf returns the certificate that is served for a domain; nil if there is none.
func (a *acme) leaf(domain string) (leaf *x509.Certificate) {
	for _, c := range a.cache.AllMatchingCertificates(domain) {
		if leaf == nil || c.Leaf.NotAfter.After(leaf.NotAfter) {
			leaf = c.Leaf
		}
	}
	return leaf
}

func (a *acme) troubles() (all []string) {
	a.mu.Lock()
	failed := make(map[string]error, len(a.failed))
	for d, err := range a.failed {
		failed[d] = err
	}
	a.mu.Unlock()
	for _, d := range a.domains {
		leaf := a.leaf(d)
		what := "there is no certificate yet"
		switch {
		case leaf != nil && time.Now().After(leaf.NotAfter):
			what = "its certificate has expired"
		case leaf != nil:
			continue // a failed renewal is retried before the certificate expires
		}
		if err := failed[d]; err != nil {
			what += ": " + err.Error()
		}
		all = append(all, fmt.Sprintf("tls: %s: %s", d, what))
	}
	return all
}

func (a *acme) expires() time.Time {
	var ends []time.Time
	for _, d := range a.domains {
		leaf := a.leaf(d)
		if leaf == nil {
			return time.Unix(0, 0)
		}
		ends = append(ends, leaf.NotAfter)
	}
	return slices.MinFunc(ends, time.Time.Compare)
}

func (a *acme) close() {
	a.stop()
	a.cache.Stop()
}

func hostAndPort(s string) (host string, port int) {
	h, p, err := net.SplitHostPort(s)
	if err != nil {
		return "", 0
	}
	port, _ = strconv.Atoi(p)
	return h, port
}
