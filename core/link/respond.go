package link

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/internal/told"
	"github.com/tombolo-net/tombolo/core/message"
)

// ErrTaken is returned by Respond for a type that already has a function.
var ErrTaken = errors.New("requests of that type are answered already")

// Responder answers a request: its result is the reply, and its error is sent as text.
// ctx ends with the time of the request, when the sender cancels it or disconnects, and
// on Close. The message must not be changed.
type Responder func(ctx context.Context, m *message.Message) ([]byte, error)

type responder struct{ f Responder }

// Respond answers requests of a type with f, each in a separate goroutine. At most
// Options.PeerRequests of one peer and Options.Requests of all are answered
// concurrently; a further request is answered with "busy". A panic in f is logged with
// its stack, and answered with an error that does not name it. A request counts as being
// answered until its answer is written. remove unregisters f; requests in progress are
// still answered.
func (l *Links) Respond(typ string, f Responder) (remove func(), err error) {
	if err := message.CheckType(typ); err != nil {
		return nil, fmt.Errorf("respond: %w", err)
	}
	if f == nil {
		return nil, fmt.Errorf("respond to %q: the responder is nil", typ)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, fmt.Errorf("respond to %q: %w", typ, ErrClosed)
	}
	if l.responders[typ] != nil {
		return nil, fmt.Errorf("respond to %q: %w", typ, ErrTaken)
	}
	r := &responder{f}
	l.responders[typ] = r
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.responders[typ] == r {
			delete(l.responders, typ)
		}
	}), nil
}

// serve starts answering a request. It does not wait.
func (l *Links) serve(ctx context.Context, in *incoming, m *message.Message) error {
	timeout := m.Timeout
	if timeout <= 0 {
		timeout = l.opts.RequestTimeout
	}
	if in.isRunning(m.ID) {
		return fmt.Errorf("%w: the request %s came twice", errRules, m.ID)
	}
	l.mu.Lock()
	r := l.peers[in.peer]
	to := l.responders[m.Type]
	switch {
	case l.closed:
		l.mu.Unlock()
		return ErrClosed
	case to == nil:
		l.mu.Unlock()
		l.count.unanswered.Add(1)
		in.refuse(m, message.Unanswered, fmt.Sprintf("nobody answers %q here", m.Type))
		return nil
	case r.active >= l.opts.PeerRequests || l.active >= l.opts.Requests:
		l.mu.Unlock()
		l.count.busy.Add(1)
		in.refuse(m, message.Busy, "too busy: too many requests are being answered")
		return nil
	}
	r.active++
	l.active++
	l.handlers.Add(1)
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	in.begin(m.ID, cancel)
	l.count.served.Add(1)
	go l.answer(ctx, cancel, to.f, in, m)
	return nil
}

// answer runs a handler and sends its result.
func (l *Links) answer(ctx context.Context, cancel context.CancelFunc, f Responder, in *incoming, m *message.Message) {
	defer l.handlers.Done()
	defer l.program.Enter()()
	defer cancel()
	var data []byte
	var failure error
	code := message.Panicked // until f has returned
	defer func() { l.reply(ctx, in, m, code, data, failure) }()
	// The supervisor logs a panic; code reports it to the peer.
	_ = l.supervisor.Run("request "+m.Type, m, func() {
		data, failure = f(ctx, m)
		code = message.Failed
	})
}

// countActive changes the number of requests of p that count as being answered.
func (l *Links) countActive(p peer.ID, by int) {
	if by == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.peers[p].active += by
	l.active += by
	l.tidy(p)
}

// reply queues the outcome of a handler, unless nobody waits for it any more.
func (l *Links) reply(ctx context.Context, in *incoming, m *message.Message, code message.Code, data []byte, failure error) {
	in.returned(m.ID)
	late := ctx.Err()
	if errors.Is(late, context.Canceled) { // cancelled, disconnected, or closed
		l.countActive(in.peer, -1)
		in.settle()
		return
	}
	in.put(l.answerFrame(l.outcomeOf(m, late, code, data, failure)), outcomeOfHandler)
}

// answerFrame returns the frame of an answer, or of an error if the answer is too large.
func (l *Links) answerFrame(m *message.Message) []byte {
	frame, err := l.frame(m)
	if err != nil {
		frame, _ = l.frame(l.errorFor(m, message.Failed, fmt.Sprintf("the reply is too large: %v", err)))
	}
	return frame
}

// outcomeOf returns the envelope that answers a request. late is not nil if the time of
// the request is over.
func (l *Links) outcomeOf(m *message.Message, late error, code message.Code, data []byte, failure error) *message.Message {
	switch {
	case code == message.Panicked:
		return l.errorFor(m, code, "the handler crashed") // the peer gets no details
	case failure != nil && late != nil:
		return l.errorFor(m, message.Overdue, "the request's time ended: "+failure.Error())
	case failure != nil:
		return l.errorFor(m, message.Failed, failure.Error())
	}
	return &message.Message{Kind: message.Reply, ID: m.ID, Data: data}
}

// maxErrorText bounds the text of an error that answers a request, in bytes.
const maxErrorText = 1 << 10

// errorFor returns the envelope of an error that answers a request.
func (l *Links) errorFor(m *message.Message, code message.Code, text string) *message.Message {
	text = told.Text(text, min(maxErrorText, l.opts.MaxData))
	return &message.Message{Kind: message.Error, ID: m.ID, Code: code, Data: []byte(text)}
}

// wait waits for the goroutines and the handlers, whose contexts have ended, as long as
// the program allows.
func (l *Links) wait() {
	if !l.program.Await(l.goroutines.Wait) {
		l.log.Error("closed without " + postDone + ", which does not return")
	}
	if !l.program.Await(l.handlers.Wait) {
		for _, o := range l.supervisor.Stats().Overdue {
			l.log.Error("closed without a handler that does not return", "handler", o.Handler, "for", o.For)
		}
	}
}
