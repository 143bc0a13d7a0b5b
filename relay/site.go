package relay

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
)

// site answers HTTP on the relay's TCP ports: the page and its files, the documents
// under /docs/, /healthz, and /.well-known/tombolo.
type site struct {
	relay     atomic.Pointer[Relay] // nil before open and after close
	folders   []*folder
	ancestors string // the sources of frame-ancestors
	mux       *http.ServeMux

	proxied bool // there are trusted proxies
}

// folder is a site whose files are read at the start and by reload.
type folder struct {
	what  string
	fs    fs.FS // nil if there is none
	files atomic.Pointer[files]
}

func newSite(o Options) (*site, error) {
	s := &site{ancestors: "'none'", mux: http.NewServeMux()}
	for _, origin := range o.Embedders {
		if !embedder.MatchString(origin) {
			return nil, fmt.Errorf("%q is not an origin: write it like https://example.com", origin)
		}
	}
	if len(o.Embedders) > 0 {
		s.ancestors = strings.Join(o.Embedders, " ")
	}
	s.mux.HandleFunc("GET /healthz", s.serveHealth)
	s.mux.HandleFunc("GET /readyz", s.serveReady)
	s.mux.HandleFunc("GET /.well-known/tombolo", s.serveSelf)
	s.mux.HandleFunc("OPTIONS /.well-known/tombolo", s.serveSelfPreflight)
	s.mount("/", &folder{what: "page", fs: o.Site})
	if o.Docs != nil {
		s.mount("/docs/", &folder{what: "documents", fs: o.Docs})
	}
	return s, s.reload()
}

func (s *site) mount(at string, f *folder) {
	s.folders = append(s.folders, f)
	s.mux.Handle(at, http.StripPrefix(strings.TrimSuffix(at, "/"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.files.Load().ServeHTTP(w, r)
	})))
}

// reload reads the files again. If that fails, the files read before stay.
func (s *site) reload() error {
	all := make([]*files, len(s.folders))
	for i, f := range s.folders {
		var err error
		if all[i], err = newFiles(f.fs); err != nil {
			return fmt.Errorf("read the %s: %w", f.what, err)
		}
	}
	for i, f := range s.folders {
		f.files.Store(all[i])
	}
	return nil
}

// open makes the relay known. Before open and after close, /healthz responds with 503.
func (s *site) open(r *Relay) { s.relay.Store(r) }

func (s *site) close() { s.relay.Store(nil) }

// contentPolicy lets the page run its wasm and connect to any peer, and load nothing else
// that is not its own. It may frame sites of peers, at names below its host's.
func contentPolicy(r *http.Request, ancestors string) string {
	frames := "'self'"
	if hostname.MatchString(r.Host) {
		frames += " *." + r.Host
	}
	return "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; " +
		"connect-src * ws: wss: http: https:; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; frame-src " + frames + "; " +
		"object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors " + ancestors
}

// embedder is an origin as a source of a Content-Security-Policy; the first label of
// its host may be "*".
var embedder = regexp.MustCompile(`^https?://(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(:[0-9]{1,5})?$`)

// hostname matches a host that is a name and not an IP address, with or without a port.
var hostname = regexp.MustCompile(`^([A-Za-z0-9_-]+\.)*[A-Za-z_-][A-Za-z0-9_-]*(:[0-9]{1,5})?$`)

// gatewayFile is loaded in a hidden frame, at another name of this host. Its script
// installs the service worker through which the page shows sites of peers. The script
// refuses every page except the one that made the frame, and that one, too, if its host
// is not above this one at the same port: see broker in web/src/gateway/sw.ts.
const (
	gatewayFile   = "/gateway.html"
	gatewayPolicy = "default-src 'none'; script-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors http: https:"
)

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	if r.URL.Path == gatewayFile {
		h.Set("Content-Security-Policy", gatewayPolicy)
	} else {
		h.Set("Content-Security-Policy", contentPolicy(r, s.ancestors))
	}
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Origin-Agent-Cluster", "?1") // a peer's site that loops does not block the page around it
	if s.proxied && r.Header.Get("X-Forwarded-For") != "" && r.ProtoMajor == 1 {
		h.Set("Connection", "close") // the next request may be another client's
	}
	if tooLarge(r) {
		h.Set("Connection", "close")
		refuse(w, http.StatusRequestHeaderFieldsTooLarge, "the request has more than 16 KiB beside its cookies")
		return
	}
	takeCookies(w, r)
	s.mux.ServeHTTP(w, r)
}

func (s *site) serveHealth(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if s.relay.Load() == nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte("starting or stopping\n"))
		return
	}
	_, _ = w.Write([]byte("ok\n"))
}

// serveReady reports whether the relay can take further peers, and if not, why.
func (s *site) serveReady(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	why := []string{"starting or stopping"}
	if r := s.relay.Load(); r != nil {
		why = r.Unready()
	}
	if len(why) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, strings.Join(why, "\n")+"\n")
		return
	}
	_, _ = io.WriteString(w, "ok\n")
}

// self is how a relay describes itself: enough for a page, or for another peer, to dial
// it.
type self struct {
	PeerID  string   `json:"peerId"`
	Network string   `json:"network"`
	Addrs   []string `json:"addrs"` // each ends in /p2p/<peerId>; the best for a browser first
}

func (s *site) serveSelf(w http.ResponseWriter, r *http.Request) {
	allowAll(w)
	w.Header().Set("Cache-Control", "no-store")
	relay := s.relay.Load()
	if relay == nil {
		http.Error(w, "the relay is starting or stopping: try again", http.StatusServiceUnavailable)
		return
	}
	node := relay.node
	w.Header().Set("Content-Type", "application/json")
	answer := self{PeerID: node.ID().String(), Network: node.Network(), Addrs: []string{}}
	for _, a := range addrsFor(node.Addrs(), node.ID(), asked(r)) {
		answer.Addrs = append(answer.Addrs, a.String())
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func (s *site) serveSelfPreflight(w http.ResponseWriter, _ *http.Request) {
	allowAll(w)
	w.Header().Set("Access-Control-Allow-Methods", "GET, HEAD")
	w.Header().Set("Access-Control-Allow-Headers", "*")
	w.WriteHeader(http.StatusNoContent)
}

// allowAll lets pages of any origin read the response, also if the browser asks first
// because the relay is on a private network.
func allowAll(w http.ResponseWriter) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Access-Control-Allow-Private-Network", "true")
}

// origin is the relay's address as a request gives it.
type origin struct {
	host string // a name or an IP address, without port and brackets
	port string
	tls  bool
}

func asked(r *http.Request) origin {
	o := origin{tls: r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")}
	var err error
	if o.host, o.port, err = net.SplitHostPort(r.Host); err != nil {
		o.host, o.port = strings.Trim(r.Host, "[]"), "80"
		if o.tls {
			o.port = "443"
		}
	}
	return o
}
