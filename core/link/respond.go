package link

import (
	"context"
	"errors"
	"fmt"
	"strings"
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
	case r.active >= l.opts.PeerRequests || l.active >= l.opts.Requests:
		l.mu.Unlock()
		l.count.busy.Add(1)
		l.answerError(m, message.Busy, "too busy: too many requests are being answered")
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	r.running[m.ID] = &running{in: in, cancel: cancel}
	r.active++
	l.active++
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
		l.reply(ctx, m, code, data, failure)
		l.mu.Lock()
		delete(l.peers[m.From].running, m.ID)
		l.tidy(m.From)
		l.mu.Unlock()
	}()
	// The supervisor logs a panic; code tells of it.
	_ = l.supervisor.Run("request "+m.Type, m, func() {
		data, failure = f(ctx, m)
		code = message.Failed
	})
}

// countActive changes how many requests of p are being answered.
func (l *Links) countActive(p peer.ID, by int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.peers[p].active += by
	l.active += by
}

// reply sends the outcome of a handler, unless nobody waits for it any more.
//
// The request counts no longer as being answered when its answer is queued:
// whoever reads it may ask again at once. It counts while its answer waits for
// room: a peer that asks and does not read has no more of them than another.
func (l *Links) reply(ctx context.Context, m *message.Message, code message.Code, data []byte, failure error) {
	l.countActive(m.From, -1)
	ended := ctx.Err()
	if errors.Is(ended, context.Canceled) {
		return // taken back, gone, or closed
	}
	frame, err := l.frame(outcomeOf(m, ended, code, data, failure))
	if err != nil {
		failure = fmt.Errorf("the reply is too large: %w", err)
		frame, err = l.frame(outcomeOf(m, nil, message.Failed, nil, failure))
	}
	if err == nil {
		_, err = l.try(m.From, item{frame: frame}, High)
	}
	if errors.Is(err, ErrQueueFull) && ended == nil {
		l.countActive(m.From, 1)
		_, err = l.put(ctx, m.From, item{frame: frame}, High)
		l.countActive(m.From, -1)
	}
	l.countUnreplied(m.From, err)
}

// outcomeOf is the envelope that answers a request. ended says that its time is
// over.
func outcomeOf(m *message.Message, ended error, code message.Code, data []byte, failure error) *message.Message {
	switch {
	case code == message.Panicked:
		return errorFor(m, code, "the handler crashed") // no more than that
	case failure != nil && ended != nil:
		return errorFor(m, message.Overdue, "the request's time ended: "+failure.Error())
	case failure != nil:
		return errorFor(m, message.Failed, failure.Error())
	}
	return &message.Message{Kind: message.Reply, ID: m.ID, Data: data}
}

// errorFor is the envelope of an error that answers a request.
func errorFor(m *message.Message, code message.Code, text string) *message.Message {
	const most = 1 << 10 // bytes of text
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "")
	}
	return &message.Message{Kind: message.Error, ID: m.ID, Code: code, Data: []byte(text)}
}

// answerError answers a request with an error, if there is room for it now.
func (l *Links) answerError(m *message.Message, code message.Code, text string) {
	frame, err := l.frame(errorFor(m, code, text))
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
