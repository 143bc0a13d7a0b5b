// Package pair lets two peers that do not know each other meet by a code of nine letters
// and digits: one peer shows it, and the other's user types it. The relay's page
// implements the same protocol (web/page/src/sharing), so either side can be a browser
// tab. docs/security.md describes the protocol, and what a code proves.
package pair

import (
	"cmp"
	"context"
	"crypto/hmac"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/dispatch"
	"github.com/tombolo-net/tombolo/core/link"
	"github.com/tombolo-net/tombolo/core/message"
)

// Valid is the time for which a code can be used. It can be used once.
const Valid = 10 * time.Minute

const (
	// seekFor is how long Find looks for a peer that shows a code.
	seekFor = 20 * time.Second
	// maxAsked is how many peers are asked for a proof: any peer may subscribe to a type.
	maxAsked = 16
	// maxTries is how many times peers may try a code before it becomes invalid. Each try is
	// one guess of its 30 secret bits.
	maxTries = 100
)

var (
	// ErrExpired is returned by Show if no peer has used the code in time.
	ErrExpired = errors.New("nobody has used the code in time")
	// ErrTried is returned by Show if peers without the code have tried it too often.
	ErrTried = errors.New("the code was tried too often by peers that do not have it")
	// ErrNobody is returned by Find if no peer shows the code.
	ErrNobody = errors.New("no peer shows this code")
	// The following errors are sent to the peer that typed a code.
	errUsed  = errors.New("the code has been used, or has expired")
	errWrong = errors.New("the code is another one")
	errOrder = errors.New("a proof comes after a share of an exchange of keys, once")
)

// Met is a peer that has proved that it has the code. It is connected.
type Met struct {
	Peer peer.ID
	// Protocol is the HTTP service that the peer shares, for example /x/charts/http; empty
	// if it shares none. Only Find sets it.
	Protocol protocol.ID
}

// Shown configures Show.
type Shown struct {
	// Valid is the time for which the code can be used. If zero, the constant Valid.
	Valid time.Duration
	// Shares returns the services that a peer that has proved the code may use. The peer
	// gets the name of the first of the form /x/NAME/http, which the page opens. If nil, it
	// gets no name.
	Shares func(peer.ID) []protocol.ID
	// Ready is called once the code can be used, with the time when it expires.
	Ready func(code Code, expires time.Time) error
}

// Show makes a code, and returns the peer that used it. The code can be used once, and
// only while Show runs. The error wraps ErrExpired, ErrTried or core.ErrClosed, or is
// that of Ready or ctx.
func Show(ctx context.Context, node *core.Node, opts Shown) (peer.ID, error) {
	return show(ctx, node, NewCode(), opts)
}

func show(ctx context.Context, node *core.Node, code Code, opts Shown) (peer.ID, error) {
	valid := cmp.Or(opts.Valid, Valid)
	s := newShower(meet(code, node.Network()), node.ID(), opts.Shares)
	defer s.end()
	remove, err := node.Respond(s.typ, s.answer)
	if err != nil {
		return "", fmt.Errorf("show a code: %w", err)
	}
	defer remove()
	sub, err := node.Subscribe(s.typ, dispatch.Buffer(1)) // it makes this node visible to others
	if err != nil {
		return "", fmt.Errorf("show a code: %w", err)
	}
	defer sub.Close()
	expires := time.NewTimer(valid)
	defer expires.Stop()
	if err := opts.Ready(code, time.Now().Add(valid)); err != nil {
		return "", err
	}
	select {
	case p := <-s.met:
		return p, nil
	case <-s.tried:
		err = fmt.Errorf("%w: %d times", ErrTried, maxTries)
	case <-expires.C:
		err = fmt.Errorf("%w: it was valid for %s", ErrExpired, valid)
	case <-ctx.Done():
		err = ctx.Err()
	case <-node.Closed():
		err = core.ErrClosed
	}
	if p, met := s.end(); met { // at the same time
		return p, nil
	}
	return "", err
}

// shower handles the requests of peers where a code was typed.
type shower struct {
	meeting
	self   peer.ID
	shares func(peer.ID) []protocol.ID
	met    chan peer.ID  // of capacity 1
	tried  chan struct{} // closed when the code was tried too often

	mu    sync.Mutex
	ended bool
	tries int
	runs  map[peer.ID]proofs // of peers that have begun; at most as many as tries
}

func newShower(m meeting, self peer.ID, shares func(peer.ID) []protocol.ID) *shower {
	return &shower{
		meeting: m, self: self, shares: shares, met: make(chan peer.ID, 1), tried: make(chan struct{}),
		runs: make(map[peer.ID]proofs),
	}
}

// end makes the code invalid, and returns the peer that has used it if met was not read
// yet.
func (s *shower) end() (p peer.ID, met bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	select {
	case p = <-s.met:
		return p, true
	default:
		return "", false
	}
}

// answer is a link.Responder. A peer sends its share of an exchange, and gets this
// node's; then it sends its proof, and gets this node's with the name of a service.
func (s *shower) answer(_ context.Context, m *message.Message) ([]byte, error) {
	if len(m.Data) == shareBytes {
		return s.begin(m.From, m.Data)
	}
	run, err := s.finish(m.From, m.Data)
	if err != nil {
		return nil, err
	}
	name := s.name(m.From)
	return append(run.ofShower(name), name...), nil
}

// begin answers a share. Each share counts as a try, because it contains one guess of the
// secret.
func (s *shower) begin(typer peer.ID, share []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return nil, errUsed
	}
	if s.tries == maxTries {
		s.ended = true
		close(s.tried)
		return nil, errUsed
	}
	s.tries++
	x := s.meeting.begin(typer, s.self)
	point, err := x.point(share)
	if err != nil {
		return nil, err
	}
	s.runs[typer] = proofsOf(point, share, x.share)
	return x.share, nil
}

// finish makes the code invalid if the proof is right. A wrong proof ends only its own
// run.
func (s *shower) finish(typer peer.ID, proof []byte) (proofs, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	run, begun := s.runs[typer]
	delete(s.runs, typer)
	switch {
	case s.ended:
		return proofs{}, errUsed
	case !begun:
		return proofs{}, errOrder
	case !hmac.Equal(proof, run.ofTyper()):
		return proofs{}, errWrong
	}
	s.ended = true
	s.met <- typer
	return run, nil
}

// name returns the name of the first service that the page can fetch, or "".
func (s *shower) name(to peer.ID) string {
	if s.shares == nil {
		return ""
	}
	for _, p := range s.shares(to) {
		if name := httpName.FindStringSubmatch(string(p)); name != nil {
			return name[1]
		}
	}
	return ""
}

// httpName matches a named HTTP service, by the rule of the page, whose links contain the
// name.
var httpName = regexp.MustCompile(`^/x/([a-z0-9][a-z0-9._\-]{0,47})/http$`)

// Find looks for the peer that shows a code, for 20 seconds or until the deadline of ctx,
// and connects to it. The error wraps ErrNobody, or is that of ctx if it is cancelled, or
// is the reason why the last peer that answered did not prove that it shows the code.
func Find(ctx context.Context, node *core.Node, code Code) (Met, error) {
	m := meet(code, node.Network())
	presence, err := node.Presence(m.typ)
	if err != nil {
		return Met{}, fmt.Errorf("look for the code: %w", err)
	}
	defer presence.Close()
	f := finder{meeting: m, node: node, found: make(chan Met, maxAsked)}
	var asking sync.WaitGroup
	defer asking.Wait()
	within, cancel := context.WithTimeout(ctx, seekFor)
	defer cancel()
	asking.Go(func() {
		for asked := make(map[peer.ID]struct{}); len(asked) < maxAsked; {
			change, err := presence.Next(within)
			if err != nil {
				return
			}
			if _, again := asked[change.Peer]; !change.Joined || again {
				continue
			}
			asked[change.Peer] = struct{}{}
			asking.Go(func() { f.ask(within, change.Peer) })
		}
	})
	select {
	case met := <-f.found:
		return met, nil
	case <-within.Done():
	case <-node.Closed():
		return Met{}, core.ErrClosed
	}
	return f.failed(ctx)
}

// finder asks peers whether they show a code.
type finder struct {
	meeting
	node  *core.Node
	found chan Met // of capacity maxAsked

	mu  sync.Mutex
	err error // why the last peer that answered is not the one
}

// failed returns the outcome if no peer was found in time.
func (f *finder) failed(ctx context.Context) (Met, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case met := <-f.found: // at the same time
		return met, nil
	default:
	}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return Met{}, ctx.Err()
	case f.err != nil:
		return Met{}, f.err
	}
	return Met{}, fmt.Errorf("%w: check it, and that the peer that shows it is connected and still waits; a code works once, within ten minutes", ErrNobody)
}

func (f *finder) ask(ctx context.Context, p peer.ID) {
	met, err := f.prove(ctx, p)
	if err == nil {
		f.found <- met
		return
	}
	if ctx.Err() == nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.err = err
	}
}

// prove exchanges keys with a peer, and then proofs.
func (f *finder) prove(ctx context.Context, p peer.ID) (Met, error) {
	x := f.begin(f.node.ID(), p)
	share, err := f.request(ctx, p, x.share)
	if err != nil {
		return Met{}, err
	}
	point, err := x.point(share)
	if err != nil {
		return Met{}, fmt.Errorf("%s answers, and sends what is %w", p, err)
	}
	run := proofsOf(point, x.share, share)
	answer, err := f.request(ctx, p, run.ofTyper())
	if err != nil {
		return Met{}, err
	}
	proof := answer[:min(proofBytes, len(answer))]
	name := string(answer[len(proof):])
	if !hmac.Equal(proof, run.ofShower(name)) {
		return Met{}, fmt.Errorf("%s answers, and has not proved that it shows the code: somebody else may watch where you meet; ask for a new code", p)
	}
	met := Met{Peer: p}
	if proto := protocol.ID("/x/" + name + "/http"); httpName.MatchString(string(proto)) {
		met.Protocol = proto
	}
	return met, nil
}

// request sends a request to a peer. The error of a peer that refuses names the peer.
func (f *finder) request(ctx context.Context, p peer.ID, data []byte) ([]byte, error) {
	answer, err := f.node.Request(ctx, p, f.typ, data)
	if remote := (*link.RemoteError)(nil); errors.As(err, &remote) {
		return nil, fmt.Errorf("%s refuses: %s", p, remote.Text)
	}
	return answer, err
}
