package relay

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
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
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tombolo-net/tombolo/core/reservation"
	"github.com/tombolo-net/tombolo/native/plainfile"
)

const (
	// accessName is the file of rules in the data directory.
	accessName = "access"
	maxAccess  = 4 << 20 // bytes of it

	// introduceWithin is how long a peer may stay connected to a closed relay before it is
	// admitted: it presents its token with its request for a reservation.
	introduceWithin = 15 * time.Second
	// accessCheck is how often connected peers are checked against the rules.
	accessCheck = 5 * time.Second
)

// access decides which peers may use the relay. It is also the connection gater of the
// relay's host. An open relay takes every peer that is not banned; a closed one takes
// only peers that are allowed by ID or address, other relays of its operator, peers with
// a token, and those that the operator's service admits. A ban overrides everything else.
type access struct {
	path  string // path of the file of rules; empty: none is kept
	said  *refusals
	self  peer.ID
	web   *http.Client           // for the service
	asked *prometheus.CounterVec // nil: nothing is counted
	holds func(peer.ID) bool     // reports whether a peer holds a reservation; set with host

	mu       sync.Mutex
	closed   bool
	trusted  []peer.ID // this relay and others of its operator: they sign tokens
	host     host.Host // nil at the start
	allowed  rules
	banned   rules
	revoked  *revoked
	service  *admission           // nil: there is none
	admitted map[peer.ID]grant    // of connected peers
	leaving  map[peer.ID]struct{} // peers that are being told why they may not stay

	ctx  context.Context // ends with close
	stop context.CancelFunc
	done sync.WaitGroup
}

// grant lets a peer use the relay that no rule allows.
type grant struct {
	token   string // its ID; empty: the operator's service said yes
	expires time.Time
	ended   string // why it no longer applies; empty: it still does
}

var _ connmgr.ConnectionGater = (*access)(nil)

// openAccess reads the rules and the revoked tokens from a data directory. A file that
// cannot be read is an error: a relay that has forgotten whom it refuses must not start.
func openAccess(self peer.ID, o Options, said *refusals) (*access, error) {
	a := &access{
		said: said, self: self, web: admissionClient(), asked: newAdmissionCounter(o.Registry),
		admitted: make(map[peer.ID]grant), leaving: make(map[peer.ID]struct{}),
	}
	a.ctx, a.stop = context.WithCancel(context.Background())
	a.set(o)
	dataDir := o.DataDir
	if dataDir != "" {
		a.path = filepath.Join(dataDir, accessName)
	}
	var err error
	if a.revoked, err = openRevoked(dataDir, time.Now()); err != nil {
		return nil, err
	}
	return a, a.reload(func() {})
}

// reload reads the file of rules again, calls also with the mutex held, and applies the
// result to all connected peers. If it returns an error, the rules stay as they were, and
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

// change adds a rule to a list, or removes it, writes the file and applies it. If the
// file cannot be written, the change is not applied.
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

// revoke refuses the token with that ID from now on, and closes the connections of peers
// that were admitted with it.
func (a *access) revoke(id string) error {
	a.mu.Lock()
	err := a.revoked.add(id, time.Now())
	a.mu.Unlock()
	if err == nil {
		a.apply(time.Now())
	}
	return err
}

// forgetRevoked forgets tokens that have expired.
func (a *access) forgetRevoked(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.revoked.sweep(now); err != nil {
		a.said.log.Error("the file of revoked tokens is as it was", "error", err)
	}
}

// revocations returns the revoked tokens, sorted by ID.
func (a *access) revocations() []RevokedToken {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.revoked.list()
}

// write writes the rules. The mutex is held.
func (a *access) write() error {
	if a.path == "" {
		return nil
	}
	text := "# Who may use the relay. After a change: tombolo-relay reload\n" +
		strings.Join(append(a.allowed.lines("allow"), a.banned.lines("ban")...), "\n") + "\n"
	if len(text) > maxAccess { // it could not be read again
		return fmt.Errorf("the file would have more than %d bytes: remove rules, or use ranges", maxAccess)
	}
	return replace(a.path, text)
}

// replace writes a file atomically: readers see the old file or the new one, never a
// part.
func replace(path, text string) error {
	next := path + ".new"
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(next, path)
}

// set closes or opens the relay, and sets whose tokens are valid and which service is
// asked. The mutex is held, or the access not yet in use.
func (a *access) set(o Options) {
	trusted := trust(a.self, o.Peers)
	if slices.ContainsFunc(a.trusted, func(p peer.ID) bool { return !slices.Contains(trusted, p) }) {
		// Peers with such a token must present one again.
		maps.DeleteFunc(a.admitted, func(_ peer.ID, g grant) bool { return g.token != "" })
	}
	a.closed, a.trusted = o.Closed || o.Admission != "", trusted
	switch {
	case o.Admission == "":
		a.service = nil
		maps.DeleteFunc(a.admitted, func(_ peer.ID, g grant) bool { return g.token == "" })
	case a.service == nil || a.service.url != o.Admission:
		a.service = newAdmission(o.Admission, a.self, a.web, a.asked, a.run)
	}
}

// run calls a function in a goroutine that close waits for. After close it returns false
// and calls nothing.
func (a *access) run(f func(context.Context)) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ctx.Err() != nil {
		return false
	}
	a.done.Go(func() { f(a.ctx) })
	return true
}

// lists returns the rules as they are written to the file.
func (a *access) lists() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append(a.allowed.lines("allow"), a.banned.lines("ban")...)
}

// start begins to check connected peers every accessCheck, until close. holds reports
// whether a peer holds a reservation.
func (a *access) start(h host.Host, holds func(peer.ID) bool) {
	a.mu.Lock()
	a.host, a.holds = h, holds
	a.mu.Unlock()
	a.done.Go(func() {
		ticker := time.NewTicker(accessCheck)
		defer ticker.Stop()
		for {
			select {
			case now := <-ticker.C:
				a.forgetRevoked(now)
				a.apply(now)
			case <-a.ctx.Done():
				return
			}
		}
	})
}

// close stops the checks and waits for the goroutines.
func (a *access) close() {
	a.mu.Lock()
	a.stop()
	a.mu.Unlock()
	a.done.Wait()
	a.web.CloseIdleConnections()
}

// wasAdmitted reports whether a peer has had a grant since it connected.
func (a *access) wasAdmitted(p peer.ID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, was := a.admitted[p]
	return was
}

func (a *access) isBanned(p peer.ID, at ma.Multiaddr) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.banned.hasPeer(p) || a.banned.hasAddr(at)
}

const notAdmitted = "it takes only peers that its operator has allowed, or given a token"

// mayUse reports whether a peer that is not banned may use the relay.
func (a *access) mayUse(p peer.ID) bool { return a.whyNot(p) == "" }

// whyNot returns why a peer that is not banned may not use the relay; empty if it may.
func (a *access) whyNot(p peer.ID) string {
	a.mu.Lock()
	why := notAdmitted
	if g, has := a.admitted[p]; has {
		why = a.over(g, time.Now())
	}
	a.mu.Unlock()
	if why == "" || a.byRule(p) {
		return ""
	}
	return why
}

// byRule reports whether a peer may use the relay without a token, and without asking the
// service.
func (a *access) byRule(p peer.ID) bool {
	a.mu.Lock()
	if !a.closed || slices.Contains(a.trusted, p) || a.allowed.hasPeer(p) {
		a.mu.Unlock()
		return true
	}
	h, ranges := a.host, len(a.allowed.ranges)
	a.mu.Unlock()
	if h == nil || ranges == 0 {
		return false
	}
	conns := h.Network().ConnsToPeer(p)
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.ContainsFunc(conns, func(c network.Conn) bool { return a.allowed.hasAddr(c.RemoteMultiaddr()) })
}

// over returns why a grant no longer applies; empty if it still does. The mutex is held.
func (a *access) over(g grant, now time.Time) string {
	switch {
	case g.ended != "":
		return g.ended
	case a.revoked.has(g.token):
		return fmt.Sprintf("the token %s is revoked", g.token)
	case now.Before(g.expires):
		return ""
	case g.token == "":
		return "it has admitted you for as long as a reservation lasts, and that is over"
	}
	return fmt.Sprintf("the token has expired at %s", g.expires.UTC().Format(time.RFC3339))
}

// refuses returns why a peer may not use the relay; nil if it may.
func (a *access) refuses(p peer.ID) *refusal {
	if why := a.whyNot(p); why != "" {
		return closedTo(why)
	}
	return nil
}

func closedTo(why string) *refusal {
	return &refusal{limit: "access", flag: "--closed", words: why, status: pbv2.Status_PERMISSION_DENIED}
}

// admit returns why a peer with that token, or none, may not have a reservation; nil if
// it may. ask is true if the service has to decide.
func (a *access) admit(p peer.ID, token string, now time.Time) (no *refusal, ask bool) {
	why, revoked := notAdmitted, false
	if token != "" { // an open relay may be closed later
		if why, revoked = a.present(p, token, now); why == "" {
			return nil, false
		}
	}
	a.mu.Lock()
	service := a.service != nil
	g, admitted := a.admitted[p]
	a.mu.Unlock()
	if a.byRule(p) || admitted && g.token != "" && a.mayUse(p) {
		return nil, false
	}
	if service && !revoked {
		return nil, true
	}
	return closedTo(why), false
}

// ask asks the service whether a peer may have a reservation. A yes is valid as long as
// the reservation: when the peer renews it, the service is asked again.
func (a *access) ask(p peer.ID, at ma.Multiaddr, token string) *refusal {
	a.mu.Lock()
	service := a.service
	a.mu.Unlock()
	if service == nil { // since just now
		return a.refuses(p)
	}
	why := service.ask(p, at, token, time.Now())
	a.mu.Lock()
	defer a.mu.Unlock()
	_, had := a.admitted[p]
	switch {
	case a.service == nil: // its grants are not looked at any more
	case why == nil:
		a.admitted[p] = grant{expires: time.Now().Add(reservationTTL)}
	case had && why.limit == limitAdmission:
		a.admitted[p] = grant{ended: why.words}
	}
	return why
}

// present accepts a token from a peer, or returns what is wrong with it.
func (a *access) present(p peer.ID, token string, now time.Time) (why string, revoked bool) {
	a.mu.Lock()
	trusted := a.trusted
	a.mu.Unlock()
	g, err := checkToken(token, trusted)
	if err != nil {
		return err.Error(), false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if why = a.over(g, now); why == "" {
		a.admitted[p] = g
	}
	return why, a.revoked.has(g.token)
}

// forget drops the grant of a peer that has left: when it comes back, it presents its
// token again.
func (a *access) forget(p peer.ID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.admitted, p)
}

// maySpeak reports whether a peer may open streams of a protocol. A peer that is not
// admitted may open only those with which it asks for a reservation and receives notices.
func (a *access) maySpeak(p peer.ID, id protocol.ID) bool {
	switch id {
	case identify.ID, identify.IDPush, ping.ID, proto.ProtoIDv2Hop, reservation.MoveProtocol, knownProtocol:
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
