// Package gateway serves the HTTP services of peers to programs of this machine
// that know only HTTP: a browser, curl. It is an http.Handler over a node:
//
//	/                                    this node, its peers and what they announce
//	/p2p/<peer>/http/<path>              <path> of the protocol /http of the peer
//	/p2p/<peer>/x/<name>/http/<path>     <path> of /x/<name>/http
//
// as Kubo's gateway does; here the name may be of several segments: it ends at the
// first that is "http". A peer that cannot be reached, or will not, is a 502 that
// says in words which peer, which protocol and why.
//
// Requests and responses pass as they are: upgrades such as WebSocket, streams,
// trailers, ranges, every byte of path and query. Changed is only what a service
// cannot know, that it sits below a path here. See Gateway for that.
//
// The gateway acts with this node's rights, and a web page from anywhere can send
// requests to a port of this machine. So it answers only to names by which this
// machine is meant (against DNS rebinding), and refuses what a page of another
// origin asks for, links to follow excepted.
//
// Nor may the sites of peers reach each other. Each service has a host name of its
// own, made from a hash of the peer and the protocol: http://<hash>.localhost:PORT/
// has this service at its path, and nothing else. The links of the page at / lead
// there, and a browser that asks for a service at localhost, 127.0.0.1 or [::1] is
// sent there. Programs, which keep no origins apart, are answered at once, as Kubo
// answers them. Under a name that has no names below it, an address of the local
// network or one of Options.Hosts, browsers are shown sites without their scripts
// and their cookies. Which is which, and what a site can reach, is in
// docs/isolation.md.
package gateway

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"time"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/supervise"
)

// What Server bounds. There is no limit to how long a request or response may
// take: they may be streams.
const (
	headerTimeout = 10 * time.Second // until a request's header has come
	idleTimeout   = 2 * time.Minute  // between two requests
	maxHeader     = 64 << 10         // bytes
)

// Options configure a gateway. The zero value is usable.
type Options struct {
	// Hosts are the host names that the gateway answers to, without port, beside
	// IP addresses of its own and localhost. *.NAME says that all names below NAME
	// lead here, too: services then have names of their own below it, as they have
	// below localhost.
	Hosts []string
	// Logger receives failures. If nil, nothing is logged.
	Logger *slog.Logger
}

// Gateway is the handler. To the peer's service it sends:
//   - Host, the peer's id, as Kubo does, and the same in Origin and Referer, and in
//     Destination, for a service may compare them;
//   - X-Forwarded-For, -Host and -Proto, made afresh, whatever the client sent;
//     X-Forwarded-Prefix, the path up to and with /http, for services that make
//     links from it; Via;
//   - everything else as it came, without the headers of the connection, and
//     without cookies where services share a name that browsers see them under.
//
// In the response, addresses of the service are rewritten to point to it through the
// gateway, unless the service did so itself: an absolute path in Location,
// Content-Location, Link, Refresh and SourceMap, in interim responses too, or a URL with
// the peer's id or the gateway as its host; the Path of a cookie, which therefore goes to
// no other service; and the scope in Service-Worker-Allowed, so that no service gets hold
// of another's pages. Headers are added that keep a site apart from others, and those
// withheld that would act on more than the service, such as the Domain of a cookie. Links
// within pages are left as they are: relative ones work.
//
// Where a response breaks off after its header, so does the client's connection.
type Gateway struct {
	node *core.Node
	log  *slog.Logger
	// The names that it answers to, and those of them below which each service has
	// a name of its own.
	hosts   map[string]bool
	parents map[string]bool
	proxy   *httputil.ReverseProxy
	pool    *pool
	list    directory

	ctx      context.Context // ends on Close
	stop     context.CancelFunc
	requests supervise.Calls
}

var _ http.Handler = (*Gateway)(nil)

// New makes a gateway to the peers of a node, which the caller keeps and closes
// after it.
func New(node *core.Node, opts Options) *Gateway {
	g := &Gateway{
		node:    node,
		log:     cmp.Or(opts.Logger, slog.New(slog.DiscardHandler)),
		hosts:   make(map[string]bool),
		parents: map[string]bool{"localhost": true},
	}
	for _, h := range opts.Hosts {
		if parent, ok := strings.CutPrefix(h, "*."); ok {
			g.parents[canonicalName(parent)] = true
		} else {
			g.hosts[canonicalName(h)] = true
		}
	}
	g.ctx, g.stop = context.WithCancel(context.Background())
	g.pool = newPool(g.ctx, node)
	g.proxy = g.newProxy()
	return g
}

// Server is an http.Server for the gateway with bounds on what a client may make
// it wait for and hold. Shut it down before the gateway is closed.
func Server(g *Gateway) *http.Server {
	return &http.Server{
		Handler:           g,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
	}
}

// Close breaks off the requests under way, upgraded ones too, closes the
// connections to peers and waits for all of them. Requests after it are answered
// with 503. It may be called more than once.
func (g *Gateway) Close() error {
	g.stop()
	g.requests.End()
	g.requests.Wait()
	g.pool.close()
	return nil
}

// ServeHTTP implements http.Handler.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !g.requests.Begin() {
		g.fail(w, r, &problem{Status: http.StatusServiceUnavailable, Text: "This gateway is being closed."})
		return
	}
	defer g.requests.Leave()
	defer breakOff(w, r)
	if r.Trailer == nil && r.ContentLength < 0 {
		r.Trailer = make(http.Header) // for what was not announced; copies of the request share it
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(g.ctx, cancel)()
	r = r.WithContext(ctx)
	n, p := g.guard(r)
	if p != nil {
		g.log.Info("the gateway refused a request", "host", r.Host, "origin", r.Header.Get("Origin"), "reason", p.Text)
		g.fail(w, r, p)
		return
	}
	switch path := r.URL.EscapedPath(); {
	case strings.HasPrefix(path, "/p2p/"):
		g.serveProxy(w, r, n, path)
	case !n.shared():
		g.fail(w, r, notUnderThisName)
	case path == "/":
		g.serveLanding(w, r, n)
	case path == "/favicon.ico":
		w.WriteHeader(http.StatusNotFound)
	default:
		g.fail(w, r, &problem{
			Status: http.StatusNotFound,
			Text:   "There is nothing at this path. Services of peers are at " + pathForm + "; those that are announced are listed at /.",
		})
	}
}

// breakOff shows an HTTP/1.0 client that a response was broken off. To it the end
// of the connection is the end of the response, unless the connection is reset.
func breakOff(w http.ResponseWriter, r *http.Request) {
	panicked := recover()
	if panicked == nil {
		return
	}
	if panicked == http.ErrAbortHandler && r.ProtoMajor == 1 && r.ProtoMinor == 0 {
		if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
			if tcp, ok := c.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0)
			}
			_ = c.Close()
			return
		}
	}
	panic(panicked)
}
