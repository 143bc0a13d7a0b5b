package relay

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/native/control"
)

// AdminSocket is the name of the operator's socket in the data directory. It speaks HTTP,
// and only the owner of the directory may open it.
const AdminSocket = "admin.sock"

// PeerStatus describes one connected peer to the operator.
type PeerStatus struct {
	Peer     string    `json:"peer"`
	Addrs    []string  `json:"addrs"` // that it is connected from
	Since    time.Time `json:"since"` // when its oldest connection opened
	Agent    string    `json:"agent"` // its user agent, as it reports it
	Reserved bool      `json:"reserved"`
	Circuits int       `json:"circuits"` // opened by this peer
	Bytes    int64     `json:"bytes"`    // read from the peer's circuits since the first of those open now began
	Slowed   int64     `json:"slowed"`   // reads that waited for other peers' share
}

// LimitStatus describes a limit: how much of it is used, and how many requests it has
// refused.
type LimitStatus struct {
	Limit   string `json:"limit"`
	Flag    string `json:"flag,omitempty"`
	Value   int64  `json:"value,omitempty"`
	Used    int64  `json:"used"`
	Refused int64  `json:"refused"`
}

// admin serves the operator's socket.
type admin struct {
	relay  *Relay
	log    *slog.Logger
	server *http.Server
	done   chan struct{}
}

func serveAdmin(r *Relay, dataDir string, log *slog.Logger) (*admin, error) {
	path := filepath.Join(dataDir, AdminSocket)
	// This process has locked the directory: an existing socket is a leftover.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	l, err := control.ListenPrivately(path)
	if err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	a := &admin{relay: r, log: log, done: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /peers", func(w http.ResponseWriter, _ *http.Request) { reply(w, r.Peers()) })
	mux.HandleFunc("GET /limits", func(w http.ResponseWriter, _ *http.Request) { reply(w, r.Limits()) })
	mux.HandleFunc("GET /rules", func(w http.ResponseWriter, _ *http.Request) { reply(w, r.access.lists()) })
	mux.HandleFunc("GET /revoked", func(w http.ResponseWriter, _ *http.Request) { reply(w, r.access.revocations()) })
	mux.HandleFunc("POST /revoke", a.doing(r.access.revoke))
	mux.HandleFunc("POST /reload", a.doing(func(string) error { return r.Reload() }))
	mux.HandleFunc("POST /drain", a.doing(func(string) error { r.Drain(); return nil }))
	mux.HandleFunc("POST /kick", a.doing(r.kick))
	for path, f := range map[string]func(rule) error{
		"ban":      func(who rule) error { return r.access.change("ban", true, who) },
		"unban":    func(who rule) error { return r.access.change("ban", false, who) },
		"allow":    func(who rule) error { return r.access.change("allow", true, who) },
		"disallow": func(who rule) error { return r.access.change("allow", false, who) },
	} {
		mux.HandleFunc("POST /"+path, a.doing(func(s string) error {
			who, err := parseRule(s)
			if err != nil {
				return err
			}
			return f(who)
		}))
	}
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	a.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(a.done)
		_ = a.server.Serve(l)
	}()
	return a, nil
}

// close closes the socket and waits until the server has ended.
func (a *admin) close() error {
	err := a.server.Close()
	<-a.done
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// doing handles a request to do something to the peer, rule or token in the form value
// "who".
func (a *admin) doing(f func(who string) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		who := r.FormValue("who")
		if err := f(who); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		a.log.Info("the operator changed something", "what", r.URL.Path[1:], "who", who)
		w.WriteHeader(http.StatusNoContent)
	}
}

func reply(w http.ResponseWriter, what any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(what)
}

// kick closes a peer's connections. The peer may reconnect.
func (r *Relay) kick(who string) error {
	p, err := peer.Decode(who)
	if err != nil {
		return fmt.Errorf("%q is not a peer ID", who)
	}
	if r.node.Host().Network().Connectedness(p) == network.NotConnected {
		return fmt.Errorf("peer %s is not connected", p)
	}
	return r.node.Host().Network().ClosePeer(p)
}

// Peers returns the connected peers, sorted by ID.
func (r *Relay) Peers() []PeerStatus {
	h := r.node.Host()
	all := []PeerStatus{}
	for _, p := range h.Network().Peers() {
		s := PeerStatus{Peer: p.String(), Reserved: r.circuit.places.holds(p), Circuits: r.circuit.places.circuitsOf(p)}
		for _, c := range h.Network().ConnsToPeer(p) {
			s.Addrs = append(s.Addrs, c.RemoteMultiaddr().String())
			if opened := c.Stat().Opened; s.Since.IsZero() || opened.Before(s.Since) {
				s.Since = opened
			}
		}
		if len(s.Addrs) == 0 {
			continue // it left meanwhile
		}
		if described, ok := r.node.Peer(p); ok {
			s.Agent = described.Agent
		}
		s.Bytes, s.Slowed = r.circuit.meter.share.of(p)
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b PeerStatus) int { return cmp.Compare(a.Peer, b.Peer) })
	return all
}

// Limits returns the limits that have a value or have refused something, sorted by name.
func (r *Relay) Limits() []LimitStatus {
	all := r.circuit.places.limits()
	for limit, n := range r.said.counts() {
		i := slices.IndexFunc(all, func(l LimitStatus) bool { return l.Limit == limit })
		if i < 0 {
			i = len(all)
			all = append(all, LimitStatus{Limit: limit})
		}
		all[i].Refused = n
	}
	slices.SortFunc(all, func(a, b LimitStatus) int { return cmp.Compare(a.Limit, b.Limit) })
	return all
}

// Unready returns the reasons why the relay cannot take more peers; empty if it can.
func (r *Relay) Unready() []string {
	reasons := []string{}
	if r.circuit.places.isDraining() {
		reasons = append(reasons, "it is draining")
	}
	for _, l := range r.circuit.places.limits() {
		if l.Value > 0 && l.Used >= l.Value {
			reasons = append(reasons, fmt.Sprintf("%s: %d of %d are used (%s)", l.Limit, l.Used, l.Value, l.Flag))
		}
	}
	if r.certs != nil {
		reasons = append(reasons, r.certs.troubles()...)
	}
	if len(r.node.Host().Network().ListenAddresses()) == 0 {
		reasons = append(reasons, "it listens nowhere")
	}
	return reasons
}
