package gateway

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/native/printable"
)

// The landing page asks every connected peer for its services, within these bounds.
const (
	askLimit    = 2 * time.Second // for all peers together
	listAge     = time.Second     // for which an answer is reused
	maxPeers    = 500             // listed
	maxServices = 100             // listed of one peer
)

// listing is the landing page as JSON.
type listing struct {
	ID    peer.ID      `json:"id"`
	Peers []listedPeer `json:"peers"`          // those with services first
	More  int          `json:"more,omitempty"` // connected peers that are not listed
}

type listedPeer struct {
	ID        peer.ID         `json:"id"`
	Agent     string          `json:"agent,omitempty"`
	Transport string          `json:"transport"`
	Relayed   bool            `json:"relayed,omitempty"`
	RTT       float64         `json:"rttMs,omitempty"` // milliseconds; 0 if not measured
	Services  []listedService `json:"services"`
	More      int             `json:"more,omitempty"`  // services that are not listed
	Error     string          `json:"error,omitempty"` // why its services are unknown
}

type listedService struct {
	Protocol    protocol.ID `json:"protocol"`
	Description string      `json:"description"`
	Link        string      `json:"link,omitempty"` // a path of the gateway, if the service speaks HTTP
}

// directory reuses the last listing for listAge, so that more clients do not mean more
// queries to peers.
type directory struct {
	mu   sync.Mutex
	last listing
	at   time.Time
}

func (d *directory) get(make func() listing) listing {
	d.mu.Lock()
	defer d.mu.Unlock()
	if time.Since(d.at) > listAge {
		d.last = make()
		d.at = time.Now()
	}
	return d.last
}

func (g *Gateway) serveLanding(w http.ResponseWriter, r *http.Request, n hostName) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		g.fail(w, r, &problem{Status: http.StatusMethodNotAllowed, Text: "The list of services can be read, and nothing else."})
		return
	}
	l := g.list.get(g.makeListing)
	if preferred(r, "text/html", "application/json") == "text/html" {
		g.render(w, r, http.StatusOK, landingPage, l.apart(r, n))
		return
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	if err := e.Encode(l); err != nil {
		g.log.Error("the list of services could not be made", "error", err)
		g.fail(w, r, &problem{Status: http.StatusInternalServerError, Text: "The list could not be made."})
		return
	}
	send(w, r, http.StatusOK, "application/json", []byte(printable.JSON(b.String())))
}

// makeListing asks all peers for their services.
func (g *Gateway) makeListing() listing {
	peers := g.node.Peers()
	slices.SortFunc(peers, func(a, b core.Peer) int { return strings.Compare(string(a.ID), string(b.ID)) })
	l := listing{ID: g.node.ID(), More: max(0, len(peers)-maxPeers)}
	peers = peers[:len(peers)-l.More]
	l.Peers = make([]listedPeer, len(peers))
	ctx, cancel := context.WithTimeout(g.ctx, askLimit)
	defer cancel()
	ids := make([]peer.ID, len(peers))
	for i, p := range peers {
		ids[i] = p.ID
	}
	for i, answer := range g.node.ServicesOf(ctx, ids) {
		l.Peers[i] = g.listed(peers[i], answer)
	}
	slices.SortStableFunc(l.Peers, func(a, b listedPeer) int {
		return cmp.Compare(min(1, len(b.Services)), min(1, len(a.Services)))
	})
	return l
}

// listed returns the entry of a peer that was asked.
func (g *Gateway) listed(p core.Peer, answer core.Answer) listedPeer {
	listed := listedPeer{
		ID:        p.ID,
		Agent:     p.Agent,
		Transport: p.Transport,
		Relayed:   p.Relayed,
		RTT:       float64(p.RTT.Round(10*time.Microsecond)) / float64(time.Millisecond),
		Services:  []listedService{},
	}
	services, err := answer.Services, answer.Err
	var failure *bridge.Error
	switch {
	case err == nil:
	case errors.Is(err, bridge.NoSuchProtocol):
		return listed // it has no bridge, and so no services
	case errors.Is(err, context.DeadlineExceeded):
		listed.Error = "did not answer in time"
	case errors.As(err, &failure):
		listed.Error = string(failure.Reason)
	default:
		listed.Error = "did not answer"
		g.log.Debug("a peer does not say what it offers", "peer", p.ID, "error", err)
	}
	listed.More = max(0, len(services)-maxServices)
	for _, s := range services[:len(services)-listed.More] {
		to, _ := link(p.ID, s.Protocol)
		listed.Services = append(listed.Services, listedService{s.Protocol, s.Description, to})
	}
	return listed
}

// apart returns the listing with links to each service's own host name, if services have
// one.
func (l listing) apart(r *http.Request, n hostName) listing {
	if n.parent == "" {
		return l
	}
	l.Peers = slices.Clone(l.Peers)
	for i := range l.Peers {
		p := &l.Peers[i]
		p.Services = slices.Clone(p.Services)
		for j, s := range p.Services {
			if s.Link != "" {
				p.Services[j].Link = n.originOf(r, label(p.ID, s.Protocol)) + s.Link
			}
		}
	}
	return l
}

// Path describes in words how the peer is reached.
func (p listedPeer) Path() string {
	words := p.Transport
	if p.Relayed {
		words = "through a relay"
	}
	if p.RTT > 0 {
		words += fmt.Sprintf(", %.3g ms", p.RTT)
	}
	return words
}
