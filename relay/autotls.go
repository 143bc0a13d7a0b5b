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

// AutoTLS gets a certificate without a domain of the relay's own, by a broker that speaks
// the protocol of https://github.com/ipshipyard/p2p-forge. The relay's names are
// <IP address>.<peer ID>.<Domain>: the broker's DNS answers them with the IP address in
// them. The certificate is for all names of the peer. The authority of TLS.ACME gives it by
// DNS-01 (RFC 8555): the relay proves its peer ID to the broker, the broker connects to one
// of the relay's addresses, and then publishes the record that the authority looks for.
//
// The certificate is asked for once the relay knows a public IP address of its TCP port:
// of a network interface, of a port that the router forwards, one that peers see, or an
// /ip4/…/tcp/…/tls/ws or /ip6/…/tcp/…/tls/ws in Options.Announce. Until it is issued, no
// address with TLS is announced.
type AutoTLS struct {
	// Domain is what the names end in. If empty, DefaultAutoTLSDomain.
	Domain string
	// Broker is the http or https URL that the relay registers at. If empty, https at
	// "registration." and the Domain.
	Broker string
	// Private takes IP addresses that are not public, too. It is for a broker of your own
	// in the same network.
	Private bool
	// Resolver looks for the broker's record before the authority does. If nil,
	// net.DefaultResolver.
	Resolver *net.Resolver
}

// DefaultAutoTLSDomain is the domain of the public broker, which Interplanetary Shipyard
// runs for all of libp2p.
const DefaultAutoTLSDomain = "libp2p.direct"

const (
	// brokerTime bounds a registration. The broker dials the relay meanwhile.
	brokerTime = 2 * time.Minute
	// recordTime bounds the wait for the broker's record, as in p2p-forge's own client.
	recordTime = 3 * time.Minute
	// recordFirst and recordMax are pauses between looks for it. There is one before the
	// first look, too: a resolver remembers that a record was not there.
	recordFirst, recordMax = time.Second, 30 * time.Second
	// maxBrokerWords bounds in bytes what is read of a refusal.
	maxBrokerWords = 1 << 10
)

// autoTLS is a certificate for names of a broker.
type autoTLS struct {
	*acme
	zone    string // the names are below it
	private bool
	begin   chan struct{} // closed when there is an address with a name
	done    sync.WaitGroup
	broker  *broker

	mu    sync.Mutex
	hosts []string // with a name each
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
	// One that is kept is announced from the start. Whatever is wrong with it shows later.
	_, _ = names.magic.CacheManagedCertificate(names.ctx, names.domains[0])
	return &autoTLS{acme: names, zone: zone, private: o.AutoTLS.Private, begin: make(chan struct{}), broker: b}, nil
}

// unnamed is why no certificate is asked for.
const unnamed = "none of the relay's addresses is a public IP address of its TCP port: the router may forward the port, or --announce may name one that is forwarded, such as /ip4/203.0.113.1/tcp/443/tls/ws"

// start asks for the certificate when there is an address to have it for.
func (a *autoTLS) start([]ma.Multiaddr) {
	a.done.Go(func() {
		select {
		case <-a.begin:
		default:
			a.log.Warn("no certificate is asked for yet: " + unnamed)
			select {
			case <-a.begin:
			case <-a.ctx.Done():
				return
			}
		}
		a.acme.start(nil)
	})
}

// announced gives the addresses with TLS their names, or leaves them out while they have
// none that a client would take. It is called whenever the addresses may have changed.
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

// addr is the address in s; none if s is no address.
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

// isPublic says whether an address is at an IP address that a name is good for.
func (a *autoTLS) isPublic(at ma.Multiaddr) bool {
	if !isAtIP(at) || manet.IsIPUnspecified(at) {
		return false
	}
	return a.private || manet.IsPublicAddr(at) && !manet.IsNAT64IPv4ConvertedIPv6Addr(at)
}

// name is the host name of an IP address. A label of DNS neither begins nor ends with a hyphen.
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

// broker solves DNS-01 by the broker of AutoTLS.
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

// Present registers a challenge: the broker publishes it.
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
	jar, err := cookiejar.New(nil) // by a cookie, both requests of the handshake come to one server
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

// CleanUp does nothing: the broker forgets by itself.
func (b *broker) CleanUp(context.Context, rfc8555.Challenge) error { return nil }
