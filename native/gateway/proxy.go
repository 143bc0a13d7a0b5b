package gateway

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// via is the gateway's entry in the Via header.
const via = "1.1 tombolo"

// exchange is a request that is being passed on.
type exchange struct {
	target
	name    hostName      // by which the client addressed the gateway
	host    string        // the same, with the port and as it was written
	origin  string        // the same, as an origin
	body    io.ReadCloser // the client's
	stream  atomic.Pointer[stream]
	bodyErr atomic.Pointer[error] // of reading the client's body

	mu          sync.Mutex
	interrupt   func() // stops reading the client's body; nil if there is nothing to stop
	interrupted bool
}

// stopBody makes the transport stop waiting for the client's body; otherwise it would
// wait for that before it reports that the peer does not want the body.
func (x *exchange) stopBody() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.interrupt != nil {
		x.interrupted = true
		x.interrupt()
	}
}

// bodyEnded notes that there is nothing to stop: the body has been read, or nobody waits
// for it.
func (x *exchange) bodyEnded() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.interrupt = nil
}

func (x *exchange) stopped() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.interrupted
}

type exchangeKey struct{}

func exchangeOf(r *http.Request) *exchange { return r.Context().Value(exchangeKey{}).(*exchange) }

func (g *Gateway) newProxy() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite:        rewrite,
		ModifyResponse: modifyResponse,
		ErrorHandler:   g.failed,
		Transport:      hinting{g.pool},
		FlushInterval:  -1, // at once: a response may be a stream
		BufferPool:     &copyBuffers,
		ErrorLog:       slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
	}
}

// serveProxy passes a request on to a peer, or redirects a browser to the service's own
// host name.
func (g *Gateway) serveProxy(w http.ResponseWriter, r *http.Request, n hostName, path string) {
	t, err := parsePath(path)
	if !n.shared() && (err != nil || label(t.peer, t.protocol) != n.label) {
		g.fail(w, r, notUnderThisName)
		return
	}
	if err != nil {
		g.fail(w, r, &problem{Status: http.StatusBadRequest, Text: "The address leads nowhere: " + err.Error() + "."})
		return
	}
	apart := n.shared() && n.parent != "" && isBrowser(r)
	if apart || t.path == "" {
		to := url.URL{RawQuery: r.URL.RawQuery, ForceQuery: r.URL.ForceQuery}
		location := t.prefix + cmp.Or(t.path, "/") + to.String()
		if apart {
			location = n.originOf(r, label(t.peer, t.protocol)) + location
		}
		w.Header().Set("Location", location)
		w.Header().Set("Vary", "Accept, Sec-Fetch-Site")
		w.WriteHeader(http.StatusTemporaryRedirect) // with the same method and body
		return
	}
	x := &exchange{target: t, name: n, host: r.Host, origin: scheme(r) + "://" + r.Host, body: r.Body}
	ctx := context.WithValue(r.Context(), exchangeKey{}, x)
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if s, ok := info.Conn.(*stream); ok {
			s.begin(x)
			x.stream.Store(s)
		}
	}})
	rc := http.NewResponseController(w)
	_ = rc.EnableFullDuplex() // a response may come before the whole request
	if r.Body != http.NoBody {
		x.interrupt = func() { _ = rc.SetReadDeadline(time.Unix(1, 0)) }
		defer x.bodyEnded()
		defer context.AfterFunc(g.ctx, x.stopBody)()
	}
	g.proxy.ServeHTTP(upgradable{w, ctx}, r.WithContext(ctx))
}

// upgradable closes an upgraded connection when its context ends. The proxy would
// otherwise wait for the client for ever, even after the service has ended its half.
type upgradable struct {
	http.ResponseWriter
	ctx context.Context
}

func (u upgradable) Unwrap() http.ResponseWriter { return u.ResponseWriter }

func (u upgradable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(u.ResponseWriter).Hijack()
	if err == nil {
		context.AfterFunc(u.ctx, func() { _ = conn.Close() })
	}
	return conn, buffered, err
}

// How much of an unwanted body is read before the response, because many clients read no
// response before they have sent the whole body; and again after it, so that the end of
// the connection does not take the response with it.
const (
	drainTime = 500 * time.Millisecond
	drainSize = 1 << 20 // bytes
)

// failEarly responds to a request whose body may not have arrived yet.
func (g *Gateway) failEarly(w http.ResponseWriter, r *http.Request, p *problem) {
	rc, x := http.NewResponseController(w), exchangeOf(r)
	drain := func() (ended bool) {
		_ = rc.SetReadDeadline(time.Now().Add(drainTime))
		_, err := io.CopyN(io.Discard, x.body, drainSize)
		_ = rc.SetReadDeadline(time.Time{})
		return err == io.EOF
	}
	ended := x.body == http.NoBody
	if !ended && r.Header.Get("Expect") == "" { // otherwise it waits to be asked for its body
		ended = drain()
	}
	if !ended || x.stopped() {
		w.Header().Set("Connection", "close")
	}
	g.fail(w, r, p)
	if !ended && r.Header.Get("Expect") == "" && rc.Flush() == nil {
		drain()
	}
}

// rewrite turns the client's request into the one for the peer.
func rewrite(r *httputil.ProxyRequest) {
	x := exchangeOf(r.In)
	out := r.Out
	out.URL.Scheme, out.URL.Host = "http", hostOf(x.peer, x.protocol)
	out.URL.RawPath = x.path
	out.URL.Path, _ = url.PathUnescape(x.path) // it was unescaped before
	out.URL.RawQuery = r.In.URL.RawQuery       // including parts that Go considers malformed
	out.Host = x.peer.String()
	r.SetXForwarded()
	out.Header.Set("X-Forwarded-Proto", scheme(r.In))
	out.Header.Set("X-Forwarded-Prefix", x.prefix)
	out.Header.Add("Via", via)
	x.leadIn(r)
	cleanTrailer(r.In.Trailer)
	out.Trailer = r.In.Trailer // the same map: it is filled at the end of the body
	if !x.name.keepsCookies() {
		out.Header.Del("Cookie")
	}
	if out.Body != nil {
		out.Body = &notedBody{out.Body, x, out.Trailer}
	}
}

// notedBody records an error in reading the client's body, so that the peer is not blamed
// for it.
type notedBody struct {
	io.ReadCloser
	exchange *exchange
	trailer  http.Header
}

func (b *notedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == io.EOF:
		cleanTrailer(b.trailer)
		b.exchange.bodyEnded()
	case err != nil:
		b.exchange.bodyErr.Store(&err)
		b.exchange.bodyEnded()
	}
	return n, err
}

// modifyResponse makes the service's references point through the gateway, and watches
// for the end of the body.
func modifyResponse(res *http.Response) error {
	x := exchangeOf(res.Request)
	x.bodyEnded() // the transport no longer waits for it
	x.leadOut(res.Header)
	x.confineCookies(res.Header)
	x.isolate(res.Header)
	res.Header.Add("Via", via)
	switch s := x.stream.Load(); {
	case s == nil, res.StatusCode == http.StatusSwitchingProtocols:
	case res.Body == http.NoBody:
		s.exchanges.Add(-1)
	default:
		res.Body = &watchedBody{ReadCloser: res.Body, atEnd: sync.OnceFunc(func() { s.exchanges.Add(-1) })}
	}
	return nil
}

type watchedBody struct {
	io.ReadCloser
	atEnd func()
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.atEnd()
	}
	return n, err
}

// locate returns where a reference of the service points, as seen by the client.
func (x *exchange) locate(ref string) string {
	path := ref
	if u, err := url.Parse(ref); err == nil && u.Host != "" {
		ours := strings.EqualFold(u.Hostname(), x.peer.String()) || strings.EqualFold(u.Host, x.host)
		if !ours || u.Scheme != "" && u.Scheme != "http" && u.Scheme != "https" {
			return ref
		}
		u.Scheme, u.Host, u.User = "", "", nil
		if path = u.String(); !strings.HasPrefix(path, "/") {
			path = "/" + path
		}
		path = "/" + strings.TrimLeft(path, "/")
	}
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || within(path, x.prefix) {
		return path
	}
	return x.prefix + path
}

// failed responds to a request that got no response from the peer.
func (g *Gateway) failed(w http.ResponseWriter, r *http.Request, err error) {
	x := exchangeOf(r)
	stopped := x.stopped()
	if s := x.stream.Load(); s != nil && (stopped || errors.Is(err, net.ErrClosed)) {
		err = s.why(err) // we caused the error about a body that was stopped, or a stream that was closed
	}
	switch noted := x.bodyErr.Load(); {
	case g.ctx.Err() != nil:
		g.fail(w, r, &problem{Status: http.StatusServiceUnavailable, Text: "This gateway is being closed."})
	case !stopped && r.Context().Err() != nil:
		panic(http.ErrAbortHandler) // the client has gone
	case !stopped && noted != nil && errors.Is(err, *noted):
		g.fail(w, r, &problem{Status: http.StatusBadRequest, Text: "The body of the request ended badly: " + (*noted).Error() + "."})
	default:
		g.log.Warn("a request through the gateway failed", "peer", x.peer, "protocol", x.protocol, "error", err)
		g.failEarly(w, r, explain(x.target, err))
	}
}

// copyBuffers are the buffers for copying responses.
var copyBuffers buffers

type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, 64<<10)
}

func (b *buffers) Put(p []byte) { b.pool.Put(&p) }
