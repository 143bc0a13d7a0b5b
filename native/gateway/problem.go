package gateway

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/native/printable"
)

// problem is the reason why a request was not passed on, written for a person.
type problem struct {
	Status   int
	Reason   string // of a peer; empty if no peer caused it
	Text     string // sentences
	Peer     peer.ID
	Protocol protocol.ID
	Detail   string // the underlying error; may have several lines
}

// Title returns the status in words.
func (p *problem) Title() string { return http.StatusText(p.Status) }

// String returns the problem as plain text that is safe in a terminal, for curl.
func (p *problem) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s", p.Status, p.Title())
	if p.Reason != "" {
		fmt.Fprintf(&b, ": %s", p.Reason)
	}
	fmt.Fprintf(&b, "\n\n%s\n", p.Text)
	if p.Peer != "" {
		fmt.Fprintf(&b, "\npeer:     %s\nprotocol: %s\n", p.Peer, p.Protocol)
	}
	if p.Detail != "" {
		fmt.Fprintf(&b, "\n%s\n", p.Detail)
	}
	return printable.Lines(b.String())
}

// said explains each reason to the person who requested a page.
var said = map[bridge.Reason]string{
	bridge.NotAllowed:     "The peer does not let this node use the service. Its owner can allow it.",
	bridge.NoSuchProtocol: "The peer has no service of that name, or has closed it. What it announces is listed on the gateway's first page.",
	bridge.TargetRefused:  "The peer has the service, but what is behind it refused the connection: it may not be running.",
	bridge.TargetTimedOut: "The peer has the service, but what is behind it did not take the connection in time.",
	bridge.TooMany:        "The service has as many streams as it takes. Try again when others have ended.",
	bridge.Loop:           "What is behind the service leads back to the service itself. Its owner can mend that.",
	bridge.TargetFailed:   "What is behind the service broke off before it answered.",
	bridge.PeerAway:       "The peer cannot be reached: it may be offline, or no relay between here and there is up.",
	bridge.PeerLost:       "The connection to the peer was lost before it answered.",
	bridge.PeerReset:      "The peer reset the stream before it answered, and did not say why.",
	bridge.TimedOut:       "The service was silent for longer than it may be.",
	bridge.ClosedByHand:   "The stream was closed by hand before the service answered.",
	bridge.Shutdown:       "The peer is shutting down, or this node is.",
}

const maxDetail = 2000 // bytes

// explain returns the problem of a request that a peer did not answer.
func explain(t target, err error) *problem {
	p := &problem{Status: http.StatusBadGateway, Peer: t.peer, Protocol: t.protocol}
	var failure *bridge.Error
	switch {
	case errors.As(err, &failure):
		p.Reason = string(failure.Reason)
		p.Text = said[failure.Reason]
		if failure.Err != nil && !failure.Remote {
			p.Detail = failure.Err.Error()
		}
		if p.Text == "" {
			p.Text = fmt.Sprintf("The peer refused the stream and gave as its reason %q.", p.Reason)
		}
	case errors.Is(err, io.EOF), strings.Contains(err.Error(), "server closed idle connection"):
		p.Reason = "no answer"
		p.Text = "The service closed the connection without an answer."
	default:
		p.Reason = "no HTTP answer"
		p.Text = "The service did not answer as HTTP/1.1 demands."
		p.Detail = err.Error()
	}
	p.Detail = strings.ToValidUTF8(p.Detail[:min(len(p.Detail), maxDetail)], "")
	return p
}

//go:embed page.html landing.html problem.html style.css
var files embed.FS

var (
	style       = mustRead("style.css")
	landingPage = parse("landing.html")
	problemPage = parse("problem.html")

	// policy lets a page of the gateway display itself and load nothing else.
	policy = fmt.Sprintf("default-src 'none'; style-src 'sha256-%s'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'", sum(style))
)

func mustRead(name string) string {
	b, err := files.ReadFile(name)
	if err != nil {
		panic(err) // it is embedded
	}
	return string(b)
}

func parse(name string) *template.Template {
	return template.Must(template.New("page.html").ParseFS(files, "page.html", name))
}

func sum(s string) string {
	h := sha256.Sum256([]byte(s))
	return base64.StdEncoding.EncodeToString(h[:])
}

// page is the data of the templates.
type page struct {
	Style   template.CSS
	Home    string // the URL of the landing page
	Content any
}

// fail answers with a problem.
func (g *Gateway) fail(w http.ResponseWriter, r *http.Request, p *problem) {
	if preferred(r, "text/plain", "text/html") == "text/html" {
		g.render(w, r, p.Status, problemPage, struct {
			*problem
			Home string
		}{p, g.home(r)})
		return
	}
	send(w, r, p.Status, "text/plain; charset=utf-8", []byte(p.String()))
}

func (g *Gateway) render(w http.ResponseWriter, r *http.Request, status int, t *template.Template, content any) {
	var b bytes.Buffer
	if err := t.Execute(&b, page{template.CSS(style), g.home(r), content}); err != nil {
		g.log.Error("a page of the gateway could not be made", "error", err)
		http.Error(w, "the page could not be made", http.StatusInternalServerError)
		return
	}
	send(w, r, status, "text/html; charset=utf-8", []byte(printable.Lines(b.String()))) // it may be read in a terminal
}

func send(w http.ResponseWriter, r *http.Request, status int, contentType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Content-Security-Policy", policy)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Origin-Agent-Cluster", "?1")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", "Accept")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the client may have gone
	}
}

// preferred returns the offered media type to which Accept gives the highest weight; the
// first one if Accept names none of them.
func preferred(r *http.Request, offered ...string) string {
	best, most := offered[0], 0.0
	for part := range strings.SplitSeq(strings.Join(r.Header.Values("Accept"), ","), ",") {
		kind, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		weight := 1.0
		if q, err := strconv.ParseFloat(params["q"], 64); err == nil {
			weight = q
		}
		for _, o := range offered {
			if kind == o && weight > most {
				best, most = o, weight
			}
		}
	}
	return best
}
