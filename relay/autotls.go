package relay

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	httppeeridauth "github.com/libp2p/go-libp2p/p2p/http/auth"
	"github.com/mholt/acmez/v3"
	rfc8555 "github.com/mholt/acmez/v3/acme"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/multiformats/go-multibase"

	"github.com/tombolo-net/tombolo/core"
)

// AutoTLS gets a certificate for a relay without a domain, through a broker that speaks
// the protocol of https://github.com/ipshipyard/p2p-forge. The relay's names are <IP
// address>.<peer ID>.<Domain>; the broker's DNS resolves each to the IP address in it.
// The certificate covers all names of the peer. The authority of TLS.ACME issues it by
// DNS-01 (RFC 8555): the relay proves its peer ID to the broker, and the broker connects
// to one of the relay's addresses and then publishes the record that the authority looks
// for.
//
// The relay requests the certificate once it knows a public IP address of its TCP port:
// of a network interface, of a port that the router forwards, one that peers see, or an
// /ip4/…/tcp/…/tls/ws or /ip6/…/tcp/…/tls/ws in Options.Announce. Until the certificate
// is issued, no address with TLS is announced.
type AutoTLS struct {
	// Domain is the suffix of the names. If empty, DefaultAutoTLSDomain.
	Domain string
	// Broker is the http or https URL that the relay registers at. If empty, https at
	// "registration." and the Domain.
	Broker string
	// Private also accepts IP addresses that are not public. It is for your own broker in
	// the same network.
	Private bool
	// Resolver checks that the broker's record is published before the authority looks for
	// it. If nil, net.DefaultResolver.
	Resolver *net.Resolver
}

// DefaultAutoTLSDomain is the domain of the public broker, which Interplanetary Shipyard
// runs for all of libp2p.
const DefaultAutoTLSDomain = "libp2p.direct"

const (
	// brokerTime bounds a registration, during which the broker dials the relay.
	brokerTime = 2 * time.Minute
	// recordTime bounds the wait for the broker's record, as in p2p-forge's own client.
	recordTime = 3 * time.Minute
	// recordFirst and recordMax bound the pause between two lookups. There is a pause before
	// the first one, too, because a resolver caches that a record did not exist.
	recordFirst, recordMax = time.Second, 30 * time.Second
	// maxBrokerWords is how many bytes of a refusal are read.
	maxBrokerWords = 1 << 10
)

// autoTLS gets and serves a certificate for names of a broker.
type autoTLS struct {
	*acme
	zone    string // suffix of the names
	private bool
	begin   chan struct{} // closed once an address has a name
	done    sync.WaitGroup
	broker  *broker

	mu    sync.Mutex
	hosts []string // the relay's host names
}

var _ certificates = (*autoTLS)(nil)

func newAutoTLS(o TLS, key crypto.PrivKey, dataDir string, log *slog.Logger) (*autoTLS, error) {
	domain := cmp.Or(o.AutoTLS.Domain, DefaultAutoTLSDomain)
	if err := CheckDomain(domain); err != nil || isIP(domain) {
		return nil, fmt.Errorf("AutoTLS: %q is not a domain", domain)
	}
	at := cmp.Or(o.AutoTLS.Broker, "https://registration."+domain)
	if u, err := url.Parse(at); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("AutoTLS: %q is not the http or https URL of a broker", at)
	}
	self, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return nil, err
	}
	zone := peer.ToCid(self).Encode(multibase.MustNewEncoder(multibase.Base36)) + "." + domain
	b := &broker{url: strings.TrimSuffix(at, "/") + "/v1/_acme-challenge", key: key, lookup: net.DefaultResolver.LookupTXT}
	if o.AutoTLS.Resolver != nil {
		b.lookup = o.AutoTLS.Resolver.LookupTXT
	}
	names, err := newACME(o.ACME, []string{"*." + zone}, dataDir, log)
	if err != nil {
		return nil, err
	}
	names.issuer.DNS01Solver = b
	names.hint = "can the relay's ports be reached from the Internet?"
	// A stored certificate is announced from the start. If something is wrong with it, that
	// shows later.
	_, _ = names.magic.CacheManagedCertificate(names.ctx, names.domains[0])
	return &autoTLS{acme: names, zone: zone, private: o.AutoTLS.Private, begin: make(chan struct{}), broker: b}, nil
}

// unnamed is the reason why no certificate is requested.
const unnamed = "none of the relay's addresses is a public IP address of its TCP port: the router may forward the port, or --announce may name one that is forwarded, such as /ip4/203.0.113.1/tcp/443/tls/ws"

// start requests the certificate as soon as there is an address for it.
func (a *autoTLS) start([]ma.Multiaddr) {
	a.done.Go(func() {
		if len(a.names()) == 0 {
			a.log.Warn("no certificate is asked for yet: " + unnamed)
		}
		select {
		case <-a.begin:
			a.acme.start(nil)
		case <-a.ctx.Done():
		}
	})
}

// announced gives the addresses with TLS their names, or leaves them out until there is a
// valid certificate. The host calls it whenever its addresses may have changed.
func (a *autoTLS) announced(told, own []ma.Multiaddr) (out []ma.Multiaddr) {
	leaf := a.leaf(a.domains[0])
	served := leaf != nil && time.Now().Before(leaf.NotAfter)
	var hosts []string
	var dialable []ma.Multiaddr
	for _, at := range slices.Concat(told, own) {
		public := a.isPublic(at)
		switch {
		case !isSecure(at) || !isAtIP(at): // or at a name of a proxy, which has its own certificate
			out = append(out, at)
			if public {
				dialable = append(dialable, at)
			}
		case public:
			host, kind := a.name(at[0])
			hosts = append(hosts, host)
			// The port speaks plain WebSocket, too, and the broker can use that already.
			dialable = append(dialable, addr(at[0].String()+"/tcp/"+portOf(at)+"/ws")...)
			if served {
				out = append(out, addr("/"+kind+"/"+host+"/tcp/"+portOf(at)+"/tls/ws")...)
			}
		}
	}
	a.broker.set(ma.Unique(dialable))
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hosts = hosts
	if len(hosts) > 0 {
		select {
		case <-a.begin:
		default:
			close(a.begin)
		}
	}
	return ma.Unique(out)
}

// addr returns the address in s; none if s is not an address.
func addr(s string) []ma.Multiaddr {
	a, err := ma.NewMultiaddr(s)
	if err != nil {
		return nil
	}
	return []ma.Multiaddr{a}
}

func isAtIP(at ma.Multiaddr) bool {
	return len(at) > 0 && (at[0].Code() == ma.P_IP4 || at[0].Code() == ma.P_IP6)
}

// isPublic reports whether an address is at an IP address that can have a name.
func (a *autoTLS) isPublic(at ma.Multiaddr) bool {
	if !isAtIP(at) || manet.IsIPUnspecified(at) {
		return false
	}
	return a.private || manet.IsPublicAddr(at) && !manet.IsNAT64IPv4ConvertedIPv6Addr(at)
}

// name returns the host name of an IP address. A DNS label neither begins nor ends with a
// hyphen.
func (a *autoTLS) name(ip ma.Component) (host, kind string) {
	if ip.Code() == ma.P_IP4 {
		return strings.ReplaceAll(ip.Value(), ".", "-") + "." + a.zone, "dns4"
	}
	label := strings.ReplaceAll(ip.Value(), ":", "-")
	if strings.HasPrefix(label, "-") {
		label = "0" + label
	}
	if strings.HasSuffix(label, "-") {
		label += "0"
	}
	return label + "." + a.zone, "dns6"
}

func (a *autoTLS) names() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.hosts
}

func (a *autoTLS) troubles() []string {
	if len(a.names()) == 0 {
		return []string{"tls: " + unnamed}
	}
	return a.acme.troubles()
}

func (a *autoTLS) close() {
	a.stop()
	a.done.Wait()
	a.acme.close()
}

// broker solves DNS-01 challenges through the broker of AutoTLS.
type broker struct {
	url    string
	key    crypto.PrivKey
	lookup func(ctx context.Context, name string) (records []string, err error)

	mu    sync.Mutex
	addrs []ma.Multiaddr // of the relay
}

var (
	_ acmez.Solver = (*broker)(nil)
	_ acmez.Waiter = (*broker)(nil)
)

func (b *broker) set(addrs []ma.Multiaddr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.addrs = addrs
}

// Present registers a challenge, which the broker then publishes.
func (b *broker) Present(ctx context.Context, challenge rfc8555.Challenge) error {
	var question struct {
		Value     string   `json:"value"`
		Addresses []string `json:"addresses"`
	}
	question.Value = challenge.DNS01KeyAuthorization()
	b.mu.Lock()
	for _, a := range b.addrs {
		question.Addresses = append(question.Addresses, a.String())
	}
	b.mu.Unlock()
	if len(question.Addresses) == 0 {
		return errors.New(unnamed)
	}
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, brokerTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "tombolo-relay/"+core.Version())
	jar, err := cookiejar.New(nil) // a cookie makes both requests of the handshake reach the same server
	if err != nil {
		return err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	auth := &httppeeridauth.ClientPeerIDAuth{PrivKey: b.key}
	_, answer, err := auth.AuthenticatedDo(&http.Client{Transport: transport, Jar: jar}, request)
	if err != nil {
		return fmt.Errorf("register at the broker %s: %w", b.url, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		words, _ := io.ReadAll(io.LimitReader(answer.Body, maxBrokerWords))
		return fmt.Errorf("the broker %s refused with %s: %s", b.url, answer.Status, strings.Join(strings.Fields(string(words)), " "))
	}
	return nil
}

// Wait returns when the challenge is published.
func (b *broker) Wait(ctx context.Context, challenge rfc8555.Challenge) error {
	ctx, cancel := context.WithTimeout(ctx, recordTime)
	defer cancel()
	name, want := challenge.DNS01TXTRecordName()+".", challenge.DNS01KeyAuthorization()
	last := errors.New("no resolver has answered")
	for pause := recordFirst; ; pause = min(2*pause, recordMax) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("the broker took the registration, but its TXT record of %s was not found in %v: %w", name, recordTime, last)
		case <-time.After(pause):
		}
		records, err := b.lookup(ctx, name)
		if slices.Contains(records, want) {
			return nil
		}
		switch {
		case err == nil:
			last = errors.New("it has another value")
		case ctx.Err() == nil:
			last = err
		}
	}
}

// CleanUp does nothing: the broker removes the record by itself.
func (b *broker) CleanUp(context.Context, rfc8555.Challenge) error { return nil }
