package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// Protocol is the protocol over which bridges ask each other questions. The streams
// themselves carry only the service's own bytes. The asking side sends one JSON object
// and closes its side; the answer is one JSON object.
//
//	{"ask":"services"}                     -> {"services":[{"protocol":"/x/ssh","description":"…"}]}
//	{"ask":"reason","protocol":"/x/ssh"}   -> {"reason":"not allowed"}
//	{"ask":"loop","protocol":"/x/ssh","sockets":["127.0.0.1:1 127.0.0.1:2"]} -> {"reason":"loop"}
//
// The second asks why a stream of that protocol was reset. Each reason is given once, the
// latest first, because earlier ones may belong to streams that no peer asks about. Most
// transports could carry a code with a reset, but WebTransport, which browsers use, does
// not.
//
// The third asks whether the peer dialled these sockets for streams of that protocol from
// the asking peer, which accepted them for other such streams: see Loop. If not, the
// reason in the answer is empty.
const Protocol protocol.ID = "/tombolo/bridge/1.0.0"

const (
	askTimeout  = 5 * time.Second // for one question and its answer
	maxQuestion = 4 << 10         // bytes
	maxAnswer   = 256 << 10       // bytes
	asksPerPeer = 128             // answered at a time: a page may open a hundred streams at once, and all may be refused
)

type question struct {
	Ask      string      `json:"ask"`
	Protocol protocol.ID `json:"protocol,omitempty"`
	Sockets  []string    `json:"sockets,omitempty"`
}

type answer struct {
	Services []Service `json:"services,omitempty"`
	Reason   Reason    `json:"reason,omitempty"`
}

// Service is a listener that a peer has announced and that this node may use.
type Service struct {
	Protocol    protocol.ID `json:"protocol"`
	Description string      `json:"description"`
}

// Services asks a peer for the services that this node may use, connecting first if
// needed. If the peer does not run a bridge, the error has the reason NoSuchProtocol.
func (b *Bridge) Services(ctx context.Context, p peer.ID) ([]Service, error) {
	a, err := b.ask(ctx, p, question{Ask: "services"})
	if err != nil {
		return nil, fmt.Errorf("ask for services: %w", err)
	}
	services := make([]Service, 0, len(a.Services))
	for _, s := range a.Services {
		if CheckName(s.Protocol, true) == nil && checkDescription(s.Description) == nil {
			services = append(services, s)
		}
	}
	return services, nil
}

// askWhy asks why a stream was reset. The reason is empty if the peer does not give one.
func (b *Bridge) askWhy(ctx context.Context, p peer.ID, proto protocol.ID) Reason {
	ctx = network.WithNoDial(ctx, "the stream ended with its connection")
	a, err := b.ask(ctx, p, question{Ask: "reason", Protocol: proto})
	if err != nil {
		b.log.Debug("a peer does not say why it reset a stream", "peer", p, "protocol", proto, "error", err)
		return ""
	}
	return a.Reason.readable()
}

func (b *Bridge) ask(ctx context.Context, p peer.ID, q question) (a answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	s, err := b.opts.Open(ctx, p, Protocol)
	if err != nil {
		return a, opening(p, Protocol, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	defer stop()
	defer s.Reset() // nothing is needed but the answer
	if err = json.NewEncoder(s).Encode(q); err == nil {
		_ = s.CloseWrite() // fails if the peer has already answered and closed
		err = json.NewDecoder(io.LimitReader(s, maxAnswer)).Decode(&a)
	}
	if notSupported(err) {
		return a, opening(p, Protocol, err)
	}
	if err != nil {
		return a, fmt.Errorf("ask %s: %w", p, errors.Join(ctx.Err(), err))
	}
	return a, nil
}

// answer answers one question. It resets the stream if the peer asks too many at a time.
func (b *Bridge) answer(s network.Stream) {
	p := s.Conn().RemotePeer()
	b.mu.Lock()
	if b.closed || b.asked[p] >= asksPerPeer {
		b.mu.Unlock()
		_ = s.Reset()
		return
	}
	b.asked[p]++
	b.tasks.Add(1)
	b.mu.Unlock()
	defer b.tasks.Done()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.asked[p]--; b.asked[p] == 0 {
			delete(b.asked, p)
		}
	}()
	stop := context.AfterFunc(b.ctx, func() { _ = s.Reset() })
	defer stop()
	if err := b.answerOne(p, s); err != nil {
		b.log.Debug("a question was not answered", "peer", p, "error", err)
		_ = s.Reset()
		return
	}
	_ = hangUp(s)
}

func (b *Bridge) answerOne(p peer.ID, s network.Stream) error {
	if err := s.SetDeadline(time.Now().Add(askTimeout)); err != nil {
		return err
	}
	var q question
	if err := json.NewDecoder(io.LimitReader(s, maxQuestion)).Decode(&q); err != nil {
		return err
	}
	var a answer
	switch q.Ask {
	case "services":
		a.Services = b.ServicesFor(p)
	case "reason":
		a.Reason = b.notes.take(p, q.Protocol)
	case "loop":
		a.Reason = b.loop(p, q.Protocol, q.Sockets)
	default:
		return fmt.Errorf("there is no %q to be asked", q.Ask)
	}
	return json.NewEncoder(s).Encode(a)
}

// ServicesFor returns the announced services of this node that a peer may use. The peer
// receives this list when it asks for services.
func (b *Bridge) ServicesFor(p peer.ID) []Service {
	var services []Service
	for _, l := range b.Listeners() {
		if l.Announce != "" && l.Access.Permits(p) {
			services = append(services, Service{l.Protocol, l.Announce})
		}
	}
	return services
}

// notes holds the reasons of streams that were reset here, until the peers that opened
// them ask. The zero value is ready to use.
type notes struct {
	mu   sync.Mutex
	kept []note // the oldest first
}

type note struct {
	peer     peer.ID
	protocol protocol.ID
	reason   Reason
	at       time.Time
}

const (
	notesKept    = 1024
	notesPerPeer = asksPerPeer // so that a peer that never asks does not displace others
	noteAge      = 30 * time.Second
)

func (n *notes) add(p peer.ID, proto protocol.ID, r Reason) {
	n.mu.Lock()
	defer n.mu.Unlock()
	first, count := -1, 0 // of this peer
	for i := range n.kept {
		if n.kept[i].peer == p {
			if count++; count == 1 {
				first = i
			}
		}
	}
	if count >= notesPerPeer {
		n.kept = slices.Delete(n.kept, first, first+1)
	}
	old := 0
	for old < len(n.kept) && (len(n.kept)-old >= notesKept || time.Since(n.kept[old].at) > noteAge) {
		old++
	}
	n.kept = append(n.kept[old:], note{p, proto, r, time.Now()})
}

func (n *notes) take(p peer.ID, proto protocol.ID) Reason {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, k := range slices.Backward(n.kept) {
		if k.peer == p && k.protocol == proto {
			n.kept = slices.Delete(n.kept, i, i+1)
			return k.reason
		}
	}
	return ""
}
