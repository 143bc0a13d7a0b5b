package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/native/address"
	"github.com/tombolo-net/tombolo/native/stack"
)

// A relay that is given by the address of its page is asked for its multiaddrs,
// for as long as relayAskTime in all: it may be just starting.
const (
	relayAskTime  = 10 * time.Second
	relayAskEach  = 3 * time.Second // one request
	relayAskFirst = 100 * time.Millisecond
	relayAskBytes = 64 << 10
)

// relayFlag names a relay: a multiaddr or a URL.
type relayFlag struct {
	addr string   // a multiaddr that ends in /p2p/<id>, or
	page *url.URL // the page, which is at the root of its host
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (f *relayFlag) UnmarshalText(text []byte) error {
	s := string(text)
	if !strings.HasPrefix(s, "/") {
		page, err := parsePage(s)
		f.page = page
		return err
	}
	if _, err := core.ParsePeers([]string{s}); err != nil {
		return err
	}
	f.addr = s
	return nil
}

// parsePage reads the address of a relay's page. What askRelay and the connection
// afterwards could not honour is refused: a page works at the root of its host
// only, since a WebSocket multiaddr has no path.
func parsePage(s string) (*url.URL, error) {
	const form = "write http://host:port/, https://host/, or a multiaddr that ends in /p2p/<id>"
	if strings.TrimSpace(s) != s {
		return nil, fmt.Errorf("%q: there is white space around it", s)
	}
	if !strings.Contains(s, "://") {
		return nil, fmt.Errorf("%q is neither a URL nor a multiaddr: %s", s, form)
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%q is not a URL (%w): %s", s, err, form)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%q: a page has no address with %s://: %s", s, u.Scheme, form)
	case u.Hostname() == "":
		return nil, fmt.Errorf("%q is not a URL with a host: %s", s, form)
	}
	root := &url.URL{Scheme: u.Scheme, Host: strings.TrimSuffix(u.Host, ":")}
	if u.Port() != "" {
		_, port, err := address.HostPort(u.Host)
		if err == nil && port == 0 {
			err = errors.New("port 0 is no port to dial")
		}
		if err != nil {
			return nil, fmt.Errorf("%q: %w", s, err)
		}
	}
	switch {
	case u.User != nil:
		return nil, fmt.Errorf("%q: a relay takes no user and no password: write %s/", s, root)
	case u.Path != "" && u.Path != "/":
		return nil, fmt.Errorf("%q: a relay's page has no path %q, since it works at the root of its host only: write %s/, or the relay's multiaddr", s, u.Path, root)
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#"):
		return nil, fmt.Errorf("%q: there is a query or a fragment, of which a relay has none: write %s/", s, root)
	}
	return root, nil
}

// findRelays turns the flags into peers, asking pages where needed.
func findRelays(ctx context.Context, flags []relayFlag, network string, log *slog.Logger) ([]peer.AddrInfo, error) {
	var addrs []string
	for _, f := range flags {
		if f.page == nil {
			addrs = append(addrs, f.addr)
			continue
		}
		found, err := askRelay(ctx, f.page)
		if err != nil {
			return nil, err
		}
		if found.Network != network {
			log.Warn("the relay is of another network", "relay", f.page, "its", found.Network, "ours", network)
		}
		addrs = append(addrs, found.own()...)
	}
	return core.ParsePeers(addrs)
}

// relayInfo is what a relay says of itself under /.well-known/tombolo.
type relayInfo struct {
	PeerID  string   `json:"peerId"`
	Network string   `json:"network"`
	Addrs   []string `json:"addrs"`
}

// own lists the relay's own addresses. An answer may name other peers, or addresses
// of transports that this version does not know.
func (i relayInfo) own() []string {
	return slices.DeleteFunc(slices.Clone(i.Addrs), func(addr string) bool {
		infos, err := core.ParsePeers([]string{addr})
		return err != nil || infos[0].ID.String() != i.PeerID
	})
}

// askRelay asks until the relay answers or relayAskTime is over.
func askRelay(ctx context.Context, page *url.URL) (info relayInfo, err error) {
	ctx, cancel := context.WithTimeout(ctx, relayAskTime)
	defer cancel()
	for wait := relayAskFirst; ; wait = min(2*wait, time.Second) {
		if info, err = askRelayOnce(ctx, page); err == nil {
			return info, nil
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return info, fmt.Errorf("ask relay %s for its addresses: %w; is it running? give its multiaddr instead of its page to start without it", page, err)
		}
	}
}

func askRelayOnce(ctx context.Context, page *url.URL) (info relayInfo, err error) {
	ctx, cancel := context.WithTimeout(ctx, relayAskEach)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, page.JoinPath("/.well-known/tombolo").String(), nil)
	if err != nil {
		return info, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return info, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return info, fmt.Errorf("it answers %s", resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, relayAskBytes)).Decode(&info); err != nil {
		return info, fmt.Errorf("it does not answer like a relay: %w", err)
	}
	if len(info.own()) == 0 {
		return info, fmt.Errorf("it gives no address of its own that is understood here")
	}
	return info, nil
}

// explain adds what to try to errors of the start.
func explain(err error) error {
	var inUse *stack.InUseError
	if errors.As(err, &inUse) {
		return fmt.Errorf("%w; choose another with --listen", err)
	}
	return err
}
