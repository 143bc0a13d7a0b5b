// Package gateway serves the HTTP services of peers to programs on this machine that know
// only HTTP, such as a browser or curl. It is an http.Handler over a node:
//
//	/                                    this node, its peers and what they announce
//	/p2p/<peer>/http/<path>              <path> of the protocol /http of the peer
//	/p2p/<peer>/x/<name>/http/<path>     <path> of /x/<name>/http
//
// Kubo's gateway does the same; here the name may have several segments and ends at the
// first that is "http". If a peer cannot be reached, or refuses, the response is a 502
// that names the peer, the protocol and the reason.
//
// Requests and responses pass unchanged: upgrades such as WebSocket, streams, trailers,
// ranges, every byte of path and query. The gateway changes only what a service cannot
// know, namely that it is below a path here. See Gateway for that.
//
// The gateway acts with this node's rights, and a web page from anywhere can send
// requests to a port of this machine. The gateway therefore answers only at names that
// mean this machine (against DNS rebinding), and refuses requests from pages of other
// origins, except following links.
//
// The sites of peers cannot reach each other, either. Each service has its own host name,
// made from a hash of the peer and the protocol: http://<hash>.localhost:PORT/ serves
// only this service, at its path. The links of the page at / point there, and a browser
// that asks for a service at localhost, 127.0.0.1 or [::1] is redirected there. Programs
// do not separate origins and are answered at once, as in Kubo. At a name that cannot
// have names below it (an address of the local network, or one of Options.Hosts) browsers
// get sites without their scripts and cookies. docs/isolation.md describes the cases, and
// what a site can reach.
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

// Bounds of Server. The duration of a request or response is not limited, because either
// may be a stream.
const (
	headerTimeout = 10 * time.Second // until a request's header has come
	idleTimeout   = 2 * time.Minute  // between two requests
	maxHeader     = 64 << 10         // bytes
)

// Options configure a gateway. The zero value is usable.
type Options struct {
	// Hosts are the host names and IP addresses at which the gateway answers, without port,
	// in addition to the IP addresses that it listens on and localhost: see ParseHost.
	// *.NAME means that all names below NAME resolve to the gateway, too: services then have
	// names of their own below it, as below localhost.
	Hosts []string
	// Logger receives failures. If nil, nothing is logged.
	Logger *slog.Logger
}

// Gateway is the handler. It sends to the peer's service:
//   - Host: the peer's ID, as Kubo does. The same replaces the gateway's address in
//     Origin, Referer and Destination, because a service may compare them;
//   - X-Forwarded-For, -Host and -Proto, set anew whatever the client sent;
//     X-Forwarded-Prefix, the path up to and including /http, for services that make
//     links from it; Via;
//   - everything else as it came, without the headers of the connection, and without
//     cookies if browsers see services at a shared name.
//
// In the response, references to the service are rewritten to point to it through the
// gateway, unless the service did so itself: an absolute path, or a URL with the peer's
// ID or the gateway as its host, in Location, Content-Location, Link, Refresh and
// SourceMap, also of interim responses; the Path of a cookie, which therefore goes to no
// other service; and the scope in Service-Worker-Allowed, so that no service gets control
// of another's pages. Headers that keep a site apart from others are added, and those
// that would affect more than the service, such as the Domain of a cookie, are removed.
// Links within pages are not changed: relative ones work.
//
// If a response breaks off after its header, so does the client's connection.
type Gateway struct {
	node *core.Node
	log  *slog.Logger
	// The names at which it answers, and those of them below which each service has its own
	// name.
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

// New returns a gateway to the peers of a node. The caller closes the node after the
// gateway.
func New(node *core.Node, opts Options) *Gateway {
	g := &Gateway{
		node:    node,
		log:     cmp.Or(opts.Logger, slog.New(slog.DiscardHandler)),
		hosts:   make(map[string]bool),
		parents: map[string]bool{"localhost": true},
	}
	for _, h := range opts.Hosts {
		name, err := ParseHost(h)
		if err != nil {
			g.log.Warn("the gateway does not answer at a host", "error", err)
		} else if parent, ok := strings.CutPrefix(name, "*."); ok {
			g.parents[parent] = true
		} else {
			g.hosts[name] = true
		}
	}
	g.ctx, g.stop = context.WithCancel(context.Background())
	g.pool = newPool(g.ctx, node)
	g.proxy = g.newProxy()
	return g
}

// Server returns an http.Server for the gateway with bounds on how long a client may keep
// it waiting and what it may hold. Shut it down before closing the gateway.
func Server(g *Gateway) *http.Server {
	return &http.Server{
		Handler:           g,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
	}
}

// Close breaks off the requests in progress, including upgraded ones, closes the
// connections to peers and waits for all of them. Later requests are answered with 503.
// Close may be called more than once.
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
		r.Trailer = make(http.Header) // for trailers that were not announced; copies of the request share it
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

// breakOff shows an HTTP/1.0 client that a response was broken off, by resetting the
// connection: otherwise the client takes the end of the connection for the end of the
// response.
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
