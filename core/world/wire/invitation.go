package wire

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

const (
	// maxInvitation bounds the link of an invitation, in bytes.
	maxInvitation = 8 << 10
	// maxInvitedTo bounds the hosts in an invitation: the room's, and its standbys.
	maxInvitedTo = 1 + MaxStandbys
	// MaxPassword bounds the password in an invitation, in bytes.
	MaxPassword = 256
	// mostAddrs is the number of addresses of a host in a link, so that it stays short
	// enough for a QR code.
	mostAddrs = 2
)

// Invitation is what a player needs to join a room, even one that is hidden or has a
// password. As a link, it can be sent or shown as a QR code.
type Invitation struct {
	Room     string
	Password string // empty if none is needed
	// Hosts are the peer that holds the room and its standbys, in this order, with their
	// addresses, if known.
	Hosts []peer.AddrInfo
}

// Link returns the invitation as a link to a page. Everything is in the fragment, which
// browsers do not send to the page's server. Anyone who has the link can join the room,
// and nobody else can. If page has a fragment, it is replaced.
func (i Invitation) Link(page string) (string, error) {
	if err := i.check(); err != nil {
		return "", err
	}
	base, err := url.Parse(page)
	if err != nil {
		return "", fmt.Errorf("the page of an invitation: %w", err)
	}
	// In this order, and escaped so that it stays short.
	fragment := "room=" + url.QueryEscape(i.Room)
	if i.Password != "" {
		fragment += "&key=" + url.QueryEscape(i.Password)
	}
	for _, host := range i.Hosts {
		fragment += "&host=" + host.ID.String()
		for _, addr := range shortest(host.Addrs) {
			fragment += "&at=" + strings.ReplaceAll(url.QueryEscape(addr.String()), "%2F", "/")
		}
	}
	base.Fragment, base.RawFragment = "", ""
	return base.String() + "#" + fragment, nil
}

// shortest returns the addresses for a link: the durable ones, those through relays
// first. An address with the hash of a certificate is valid for days only, and long.
func shortest(addrs []ma.Multiaddr) []ma.Multiaddr {
	last := slices.DeleteFunc(slices.Clone(addrs), func(a ma.Multiaddr) bool { return has(a, ma.P_CERTHASH) })
	slices.SortStableFunc(last, func(a, b ma.Multiaddr) int {
		switch through, directly := has(a, ma.P_CIRCUIT), has(b, ma.P_CIRCUIT); {
		case through == directly:
			return len(a.Bytes()) - len(b.Bytes())
		case through:
			return -1
		}
		return 1
	})
	return last[:min(len(last), mostAddrs)]
}

func has(a ma.Multiaddr, protocol int) bool {
	_, err := a.ValueForProtocol(protocol)
	return err == nil
}

// IsInvitation reports whether a text looks like the link of an invitation, and not like
// the name of a room.
func IsInvitation(text string) bool { return strings.Contains(text, "#room=") }

// ParseInvitation parses the link of an invitation to any page.
func ParseInvitation(link string) (i Invitation, err error) {
	defer func() {
		if err != nil {
			i, err = Invitation{}, fmt.Errorf("the link is not an invitation: %w", err)
		}
	}()
	if len(link) > maxInvitation {
		return i, fmt.Errorf("it has more than %d bytes", maxInvitation)
	}
	_, fragment, found := strings.Cut(link, "#")
	if !found {
		return i, errors.New("it has no fragment")
	}
	// url.ParseQuery would lose which address belongs to which host.
	for _, field := range strings.Split(fragment, "&") {
		name, value, _ := strings.Cut(field, "=")
		if value, err = url.QueryUnescape(value); err != nil {
			return i, err
		}
		if err = i.set(name, value); err != nil {
			return i, err
		}
	}
	return i, i.check()
}

// set sets a field. It ignores fields of later versions.
func (i *Invitation) set(name, value string) error {
	switch name {
	case "room":
		i.Room = value
	case "key":
		i.Password = value
	case "host":
		id, err := peer.Decode(value)
		if err != nil {
			return fmt.Errorf("the host %.80q: %w", value, err)
		}
		i.Hosts = append(i.Hosts, peer.AddrInfo{ID: id})
	case "at":
		addr, err := ma.NewMultiaddr(value)
		if err != nil {
			return fmt.Errorf("the address %.80q: %w", value, err)
		}
		if len(i.Hosts) == 0 {
			return fmt.Errorf("the address %.80q is of no host", value)
		}
		last := &i.Hosts[len(i.Hosts)-1]
		last.Addrs = append(last.Addrs, addr)
	}
	return nil
}

func (i *Invitation) check() error {
	switch {
	case i.Room == "" || len(i.Room) > MaxName:
		return fmt.Errorf("the name of the room has %d bytes; it may have 1 to %d", len(i.Room), MaxName)
	case len(i.Password) > MaxPassword:
		return fmt.Errorf("the password has %d bytes; at most %d may be", len(i.Password), MaxPassword)
	case len(i.Hosts) == 0:
		return errors.New("it names no host")
	case len(i.Hosts) > maxInvitedTo:
		return fmt.Errorf("it names %d hosts; at most %d may be", len(i.Hosts), maxInvitedTo)
	}
	return nil
}
