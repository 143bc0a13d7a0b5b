package relay

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	pbv2 "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/pb"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/proto"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/tombolo-net/tombolo/native/plainfile"
)

const (
	// accessName is the file of rules in the data directory.
	accessName = "access"
	maxAccess  = 4 << 20 // bytes of it

	// introduceWithin is how long a peer of a closed relay may be connected until it
	// is admitted: it presents its token with its request for a reservation.
	introduceWithin = 15 * time.Second
	// accessCheck is how often those that are connected are looked at.
	accessCheck = 5 * time.Second
)

// rule is who is meant by a line: a peer, or a range of addresses.
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
	if p, err := netip.ParsePrefix(s); err == nil {
		return rule{prefix: p.Masked()}, nil
	}
	if a, err := netip.ParseAddr(s); err == nil {
		a = a.Unmap().WithZone("")
		return rule{prefix: netip.PrefixFrom(a, a.BitLen())}, nil
	}
	if id, err := peer.Decode(s); err == nil {
		return rule{peer: id}, nil
	}
	return r, fmt.Errorf("%q is neither a peer ID nor an IP address nor a range such as 192.0.2.0/24", s)
}

// rules are a list of who is meant.
type rules struct {
	peers  map[peer.ID]struct{}
	ranges []netip.Prefix
}

func (l *rules) add(r rule) {
	if r.peer != "" {
		if l.peers == nil {
			l.peers = make(map[peer.ID]struct{})
		}
		l.peers[r.peer] = struct{}{}
	} else if !slices.Contains(l.ranges, r.prefix) {
		l.ranges = append(l.ranges, r.prefix)
	}
}

func (l *rules) remove(r rule) (had bool) {
	if r.peer != "" {
		_, had = l.peers[r.peer]
		delete(l.peers, r.peer)
		return had
	}
	n := len(l.ranges)
	l.ranges = slices.DeleteFunc(l.ranges, func(p netip.Prefix) bool { return p == r.prefix })
	return len(l.ranges) < n
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
	return slices.ContainsFunc(l.ranges, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// lines are the rules, each after a word, in an order that stays.
func (l *rules) lines(word string) (lines []string) {
	for p := range l.peers {
		lines = append(lines, word+" "+p.String())
	}
	for _, p := range l.ranges {
		lines = append(lines, word+" "+rule{prefix: p}.String())
	}
	slices.Sort(lines)
	return lines
}

// access is who may use the relay. It is the connection gater of its host, too. An
// open relay takes everybody but the banned; a closed one only peers that are allowed
// by ID or address, other relays of its operator, and peers with a token. A ban comes
// before all else.
type access struct {
	path string // of the file of rules; empty: none is kept

	mu       sync.Mutex
	closed   bool
	trusted  []peer.ID // this relay and others of its operator: they sign tokens
	host     host.Host // nil at the start
	allowed  rules
	banned   rules
	admitted map[peer.ID]time.Time // peers with a token, and when it expires

	stop chan struct{}
	done sync.WaitGroup
}

var _ connmgr.ConnectionGater = (*access)(nil)

// openAccess reads the rules in a data directory. Rules that cannot be read are an
// error: a relay that has forgotten whom it refuses must not start.
func openAccess(dataDir string, closed bool, trusted []peer.ID) (*access, error) {
	a := &access{closed: closed, trusted: trusted, admitted: make(map[peer.ID]time.Time), stop: make(chan struct{})}
	if dataDir != "" {
		a.path = filepath.Join(dataDir, accessName)
	}
	return a, a.reload(func() {})
}

// reload reads the file of rules anew, calls also with the mutex held, and applies what
// there is then to all that are connected. Where it returns an error, the rules stay, and
// also was not called.
func (a *access) reload(also func()) error {
	var allowed, banned rules
	if a.path != "" {
		b, err := plainfile.Read(a.path, maxAccess)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("read who may use the relay: %w", err)
		}
		if allowed, banned, err = parseAccess(b); err != nil {
			return fmt.Errorf("read who may use the relay: %s: %w", a.path, err)
		}
	}
	a.mu.Lock()
	a.allowed, a.banned = allowed, banned
	also()
	a.mu.Unlock()
	a.apply(time.Now().Add(introduceWithin)) // nobody has time to introduce itself
	return nil
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

// change adds a rule to a list, or removes it, writes the file and applies it. What
// cannot be written is not applied.
func (a *access) change(list string, add bool, r rule) error {
	a.mu.Lock()
	rules := &a.allowed
	if list == "ban" {
		rules = &a.banned
	}
	if add {
		rules.add(r)
	} else if !rules.remove(r) {
		a.mu.Unlock()
		return fmt.Errorf("%s is in no %s rule", r, list)
	}
	err := a.write()
	a.mu.Unlock()
	if err != nil {
		return errors.Join(fmt.Errorf("keep the rule: %w", err), a.reload(func() {}))
	}
	a.apply(time.Now().Add(introduceWithin)) // nobody has time to introduce itself
	return nil
}

// write writes the rules. The mutex is held.
func (a *access) write() error {
	if a.path == "" {
		return nil
	}
	text := "# Who may use the relay. After a change: tombolo-relay reload\n" +
		strings.Join(append(a.allowed.lines("allow"), a.banned.lines("ban")...), "\n") + "\n"
	next := a.path + ".new"
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(next, a.path)
}

// set closes or opens the relay, and says whose tokens are good. The mutex is held.
func (a *access) set(closed bool, trusted []peer.ID) {
	if slices.ContainsFunc(a.trusted, func(p peer.ID) bool { return !slices.Contains(trusted, p) }) {
		clear(a.admitted) // they present their tokens anew
	}
	a.closed, a.trusted = closed, trusted
}

// lists are the rules as they are in the file.
func (a *access) lists() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append(a.allowed.lines("allow"), a.banned.lines("ban")...)
}

// start begins to look at who is connected; close ends it.
func (a *access) start(h host.Host) {
	a.mu.Lock()
	a.host = h
	a.mu.Unlock()
	a.done.Go(func() {
		ticker := time.NewTicker(accessCheck)
		defer ticker.Stop()
		for {
			select {
			case now := <-ticker.C:
				a.apply(now)
			case <-a.stop:
				return
			}
		}
	})
}

func (a *access) close() {
	close(a.stop)
	a.done.Wait()
}

// apply closes the connections of all that may not be here.
func (a *access) apply(now time.Time) {
	a.mu.Lock()
	h := a.host
	a.mu.Unlock()
	if h == nil {
		return
	}
	for _, c := range h.Network().Conns() {
		p := c.RemotePeer()
		if a.isBanned(p, c.RemoteMultiaddr()) || now.Sub(c.Stat().Opened) > introduceWithin && !a.mayUse(p) {
			_ = h.Network().ClosePeer(p)
		}
	}
}

func (a *access) isBanned(p peer.ID, at ma.Multiaddr) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.banned.hasPeer(p) || a.banned.hasAddr(at)
}

// mayUse says whether a peer that is not banned may use the relay.
func (a *access) mayUse(p peer.ID) bool {
	a.mu.Lock()
	if !a.closed || slices.Contains(a.trusted, p) {
		a.mu.Unlock()
		return true
	}
	expires, has := a.admitted[p]
	if has && !time.Now().Before(expires) {
		delete(a.admitted, p)
		has = false
	}
	has = has || a.allowed.hasPeer(p)
	ranges := rules{ranges: a.allowed.ranges}
	h := a.host
	a.mu.Unlock()
	if has || h == nil || len(ranges.ranges) == 0 {
		return has
	}
	return slices.ContainsFunc(h.Network().ConnsToPeer(p), func(c network.Conn) bool { return ranges.hasAddr(c.RemoteMultiaddr()) })
}

// admit says why a peer with that token, or none, may not use the relay; nil if it may.
func (a *access) admit(p peer.ID, token string, now time.Time) *refusal {
	why := "it takes only peers that its operator has allowed, or given a token"
	if token != "" { // an open relay may be closed later
		a.mu.Lock()
		trusted := a.trusted
		a.mu.Unlock()
		expires, err := checkToken(token, trusted, now)
		if err == nil {
			a.mu.Lock()
			a.admitted[p] = expires
			a.mu.Unlock()
			return nil
		}
		why = err.Error()
	}
	if a.mayUse(p) {
		return nil
	}
	return &refusal{limit: "access", flag: "--closed", words: why, status: pbv2.Status_PERMISSION_DENIED}
}

// forget is told of a peer that is gone: it presents its token anew.
func (a *access) forget(p peer.ID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.admitted, p)
}

// maySpeak says whether a peer may have streams of a protocol: one that is not
// admitted has those with which it asks.
func (a *access) maySpeak(p peer.ID, id protocol.ID) bool {
	switch id {
	case identify.ID, identify.IDPush, ping.ID, proto.ProtoIDv2Hop:
		return true
	}
	return a.mayUse(p)
}

func (a *access) InterceptPeerDial(p peer.ID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.banned.hasPeer(p)
}

func (a *access) InterceptAddrDial(p peer.ID, at ma.Multiaddr) bool { return !a.isBanned(p, at) }

func (a *access) InterceptAccept(c network.ConnMultiaddrs) bool {
	return !a.isBanned("", c.RemoteMultiaddr())
}

func (a *access) InterceptSecured(_ network.Direction, p peer.ID, c network.ConnMultiaddrs) bool {
	return !a.isBanned(p, c.RemoteMultiaddr())
}

func (a *access) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }
