package link

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/message"
)

// closeGrace is how long Close waits for handlers whose ctx it has ended.
const closeGrace = 3 * time.Second

// ErrTaken is returned by Respond for a type that is answered already.
var ErrTaken = errors.New("requests of that type are answered already")

// Responder answers a request: what it returns is the reply, and its error
// travels as text. ctx ends when the request's time does, when the sender takes
// it back or is gone, and on Close. The message must not be changed.
type Responder func(ctx context.Context, m *message.Message) ([]byte, error)

type responder struct{ f Responder }

// running is a request that is being answered.
type running struct {
	in     *incoming
	cancel context.CancelFunc
}

// Respond answers requests of a type with f, each in a goroutine of its own: at
// most Options.PeerRequests of one peer and Options.Requests of all at a time,
// beyond which the answer is that this node is busy. A panic in f is answered
// with an error that says no more than that, and logged with its stack. remove
// stops it: requests under way are still answered.
func (l *Links) Respond(typ string, f Responder) (remove func(), err error) {
	if err := message.CheckType(typ); err != nil {
		return nil, fmt.Errorf("respond: %w", err)
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
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return ErrClosed
	}
	r := l.peers[m.From]
	to := l.responders[m.Type]
	switch {
	case r.running[m.ID] != nil:
		l.mu.Unlock()
		return fmt.Errorf("%w: the request %s came twice", errRules, m.ID)
	case to == nil:
		l.mu.Unlock()
		l.count.unanswered.Add(1)
		l.answerError(m, message.Unanswered, fmt.Sprintf("nobody answers %q here", m.Type))
		return nil
	case len(r.running) >= l.opts.PeerRequests || l.running >= l.opts.Requests:
		l.mu.Unlock()
		l.count.busy.Add(1)
		l.answerError(m, message.Busy, "too busy: too many requests are being answered")
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	r.running[m.ID] = &running{in: in, cancel: cancel}
	l.running++
	l.handlers.Add(1)
	l.mu.Unlock()
	l.count.served.Add(1)
	go l.answer(ctx, cancel, to.f, m)
	return nil
}

// answer runs a handler and sends what it returns.
func (l *Links) answer(ctx context.Context, cancel context.CancelFunc, f Responder, m *message.Message) {
	defer l.handlers.Done()
	defer cancel()
	var data []byte
	var failure error
	code := message.Panicked // until f has returned
	defer func() {
		l.mu.Lock()
		delete(l.peers[m.From].running, m.ID)
		l.running--
		l.tidy(m.From)
		l.mu.Unlock()
		l.reply(ctx, m, code, data, failure)
	}()
	err := l.supervisor.Run("request "+m.Type, m, func() {
		data, failure = f(ctx, m)
		code = message.Failed
	})
	if err != nil {
		failure = errCrashed
	}
}

// errCrashed is all that a peer is told of a panic.
var errCrashed = errors.New("the handler crashed")

// reply sends the outcome of a handler, unless nobody waits for it any more.
func (l *Links) reply(ctx context.Context, m *message.Message, code message.Code, data []byte, failure error) {
	ended := ctx.Err()
	switch {
	case errors.Is(ended, context.Canceled):
		return // taken back, gone, or closed
	case code == message.Panicked:
		l.answerError(m, code, errCrashed.Error())
		return
	case failure != nil && ended != nil:
		l.answerError(m, message.Overdue, "the request's time ended: "+failure.Error())
		return
	case failure != nil:
		l.answerError(m, message.Failed, failure.Error())
		return
	}
	e := message.Message{Kind: message.Reply, ID: m.ID, Data: data}
	frame, err := l.frame(&e)
	if err != nil {
		l.answerError(m, message.Failed, "the reply is too large: "+err.Error())
		return
	}
	if ended != nil { // a last try, without waiting
		_, err = l.try(m.From, item{frame: frame}, High)
	} else {
		_, err = l.put(ctx, m.From, item{frame: frame}, High)
	}
	l.countUnreplied(m.From, err)
}

// answerError answers a request with an error, if there is room for it now.
func (l *Links) answerError(m *message.Message, code message.Code, text string) {
	const most = 1 << 10 // bytes of text
	e := message.Message{Kind: message.Error, ID: m.ID, Code: code, Data: []byte(text[:min(len(text), most)])}
	frame, err := l.frame(&e)
	if err == nil {
		_, err = l.try(m.From, item{frame: frame}, High)
	}
	l.countUnreplied(m.From, err)
}

func (l *Links) countUnreplied(p peer.ID, err error) {
	if err != nil {
		l.count.unreplied.Add(1)
		l.log.Debug("an answer could not be sent", "peer", p, "error", err)
	}
}

// canceled ends the ctx of the handler of a request that was taken back.
func (l *Links) canceled(m *message.Message) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if running := l.peers[m.From].running[m.ID]; running != nil {
		running.cancel()
	}
}

// waitForHandlers waits for the handlers, whose ctx has ended, but not for
// ever.
func (l *Links) waitForHandlers() {
	done := make(chan struct{})
	go func() {
		l.handlers.Wait()
		close(done)
	}()
	grace := time.NewTimer(closeGrace)
	defer grace.Stop()
	select {
	case <-done:
	case <-grace.C:
		for _, o := range l.supervisor.Stats().Overdue {
			l.log.Error("closed without a handler that does not return", "handler", o.Handler, "running", o.For)
		}
	}
}
