package relay

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/tombolo-net/tombolo/native/address"
)

// rule names a peer, or a range of addresses.
type rule struct {
	peer   peer.ID
	prefix netip.Prefix
}

func (r rule) String() string {
	switch {
	case r.peer != "":
		return r.peer.String()
	case r.prefix.IsSingleIP():
		return r.prefix.Addr().String()
	}
	return r.prefix.String()
}

// parseRule reads a peer ID, an IP address or a range in CIDR notation.
func parseRule(s string) (r rule, err error) {
	if id, err := peer.Decode(s); err == nil {
		return rule{peer: id}, nil
	}
	if r.prefix, err = address.Range(s); errors.Is(err, address.ErrRange) {
		err = fmt.Errorf("%q is neither a peer ID nor an IP address nor a range such as 192.0.2.0/24", s)
	}
	return r, err
}

// rules is a list of peers and ranges of addresses.
type rules struct {
	peers  map[peer.ID]struct{}
	ranges map[netip.Prefix]struct{}
}

func (l *rules) add(r rule) {
	if r.peer != "" {
		if l.peers == nil {
			l.peers = make(map[peer.ID]struct{})
		}
		l.peers[r.peer] = struct{}{}
		return
	}
	if l.ranges == nil {
		l.ranges = make(map[netip.Prefix]struct{})
	}
	l.ranges[r.prefix] = struct{}{}
}

func (l *rules) remove(r rule) (had bool) {
	if r.peer != "" {
		_, had = l.peers[r.peer]
		delete(l.peers, r.peer)
		return had
	}
	_, had = l.ranges[r.prefix]
	delete(l.ranges, r.prefix)
	return had
}

func (l *rules) hasPeer(p peer.ID) bool {
	_, has := l.peers[p]
	return has
}

func (l *rules) hasAddr(a ma.Multiaddr) bool {
	if len(l.ranges) == 0 {
		return false
	}
	ip, err := manet.ToIP(a)
	if err != nil {
		return false
	}
	addr, _ := netip.AddrFromSlice(ip)
	addr = addr.Unmap()
	for bits := range addr.BitLen() + 1 { // there may be a hundred thousand ranges
		p, _ := addr.Prefix(bits)
		if _, has := l.ranges[p]; has {
			return true
		}
	}
	return false
}

// lines returns the rules, each after word, in a stable order.
func (l *rules) lines(word string) (lines []string) {
	for p := range l.peers {
		lines = append(lines, word+" "+p.String())
	}
	for p := range l.ranges {
		lines = append(lines, word+" "+rule{prefix: p}.String())
	}
	slices.Sort(lines)
	return lines
}

func parseAccess(b []byte) (allowed, banned rules, err error) {
	lines := bufio.NewScanner(bytes.NewReader(b))
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(text)
		if len(fields) == 0 {
			continue
		}
		list := map[string]*rules{"allow": &allowed, "ban": &banned}[fields[0]]
		if list == nil || len(fields) != 2 {
			return allowed, banned, fmt.Errorf("line %d: write allow or ban, and a peer ID, an IP address or a range", n)
		}
		r, err := parseRule(fields[1])
		if err != nil {
			return allowed, banned, fmt.Errorf("line %d: %w", n, err)
		}
		list.add(r)
	}
	return allowed, banned, lines.Err()
}
