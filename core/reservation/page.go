package reservation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// Bounds of a request for a relay's page.
const (
	wellKnown  = "/.well-known/tombolo"
	askTimeout = 10 * time.Second
	maxAnswer  = 64 << 10 // bytes
)

// Get fetches a URL over HTTP, in the way of the platform. It returns an error if the
// answer is not a success or is longer than most bytes.
type Get func(ctx context.Context, url string, most int) ([]byte, error)

// ParseURL parses the URL of a relay's page. It refuses a URL that the connection to the
// relay could not honour: a page must be at the root of its host, because a WebSocket
// multiaddr has no path. An error quotes s.
func ParseURL(s string) (*url.URL, error) {
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
	if p := u.Port(); p != "" {
		switch n, err := strconv.ParseUint(p, 10, 16); {
		case err != nil:
			return nil, fmt.Errorf("%q: its port %q is not a number from 1 to 65535", s, p)
		case n == 0:
			return nil, fmt.Errorf("%q: port 0 is not a port to connect to", s)
		}
	}
	root := &url.URL{Scheme: u.Scheme, Host: strings.TrimSuffix(u.Host, ":")}
	switch {
	case u.User != nil:
		return nil, fmt.Errorf("%q: a relay takes no user and no password: write %s/", s, root)
	case u.Path != "" && u.Path != "/":
		return nil, fmt.Errorf("%q: a relay's page has no path %q, since it works at the root of its host only: write %s/, or the relay's multiaddr", s, u.Path, root)
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#"):
		return nil, fmt.Errorf("%q: the URL of a relay has no query and no fragment: write %s/", s, root)
	}
	return root, nil
}

// AddURLs makes the keeper reserve on the relays of these pages, too. It fetches a
// relay's addresses from its page before the first attempt, and again whenever the relay
// cannot be reached at the known ones. If the page does not answer, the attempt has
// failed. If AddURLs returns an error, it has added nothing.
func (k *Keeper) AddURLs(urls []string) error {
	pages := make([]string, 0, len(urls))
	for _, s := range urls {
		u, err := ParseURL(s)
		if err != nil {
			return err
		}
		pages = append(pages, u.String())
	}
	if len(pages) > 0 && k.opts.Get == nil {
		return errors.New("the reservation keeper was given no means to ask a relay's page")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	slices.Sort(pages)
	var fresh []*relay
	for _, page := range slices.Compact(pages) {
		if i := slices.IndexFunc(k.relays, func(r *relay) bool { return r.page == page }); i >= 0 {
			k.rouse(k.relays[i])
			continue
		}
		fresh = append(fresh, newRelay(peer.AddrInfo{}, page))
	}
	if most := len(k.relays) + len(fresh); most > maxRelays {
		return fmt.Errorf("reservations are kept on at most %d relays, not on %d", maxRelays, most)
	}
	for _, r := range fresh {
		k.add(r)
	}
	return nil
}

// Unanswered lists the pages that have not returned a relay's addresses yet.
func (k *Keeper) Unanswered() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var pages []string
	for _, r := range k.relays {
		if r.ID == "" {
			pages = append(pages, r.page)
		}
	}
	return pages
}

// errKnown ends the attempts at a page if the keeper already has its relay.
var errKnown = errors.New("the relay of the page is kept by another of its addresses")

// ask fetches a relay's ID and addresses from its page.
func (k *Keeper) ask(ctx context.Context, of *relay, page string) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	body, err := k.opts.Get(ctx, page+wellKnown, maxAnswer)
	if err != nil {
		return fmt.Errorf("ask relay %s for its addresses: %w (is it running?)", page, err)
	}
	info, network, err := parseAnswer(body)
	if err != nil {
		return fmt.Errorf("ask relay %s for its addresses: %w", page, err)
	}
	if k.opts.Network != "" && network != k.opts.Network {
		k.opts.Logger.Warn("the relay is of another network", "relay", page, "network", network, "own", k.opts.Network)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if i := slices.IndexFunc(k.relays, func(r *relay) bool { return r != of && r.ID == info.ID }); i >= 0 {
		known := k.relays[i]
		known.learn(info.Addrs)
		if known.page == "" {
			known.page = page
		}
		k.rouse(known)
		k.relays = slices.DeleteFunc(k.relays, func(r *relay) bool { return r == of })
		return errKnown
	}
	if of.ID != info.ID { // the first answer, or the relay has a new identity
		of.AddrInfo = peer.AddrInfo{ID: info.ID}
	}
	of.learn(info.Addrs)
	return nil
}

// parseAnswer parses a relay's page. It leaves out addresses of other peers, and those of
// transports that this version does not know.
func parseAnswer(body []byte) (info peer.AddrInfo, network string, err error) {
	var answer struct {
		PeerID  string   `json:"peerId"`
		Network string   `json:"network"`
		Addrs   []string `json:"addrs"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return info, "", fmt.Errorf("it does not answer like a relay: %w", err)
	}
	if info.ID, err = peer.Decode(answer.PeerID); err != nil {
		return info, "", fmt.Errorf("it does not answer like a relay: its peer ID is malformed: %w", err)
	}
	for _, s := range answer.Addrs {
		whole, err := ma.NewMultiaddr(s)
		if err != nil {
			continue
		}
		if addr, id := peer.SplitAddr(whole); id == info.ID && len(addr) > 0 && dialable(addr) {
			info.Addrs = append(info.Addrs, addr)
		}
	}
	if len(info.Addrs) == 0 {
		return info, "", errors.New("it gives no address of its own that is understood here")
	}
	return info, answer.Network, nil
}
