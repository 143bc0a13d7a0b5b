package link

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/internal/told"
	"github.com/tombolo-net/tombolo/core/message"
)

// RemoteError is returned by Request if the peer answered with an error. errors.Is
// matches it, by its Code, with ErrUnanswered, ErrBusy, ErrOverdue or ErrPanicked.
type RemoteError struct {
	Peer peer.ID
	Type string // of the request
	Code message.Code
	Text string // the peer's own words
}

// The errors that a RemoteError matches, by its Code.
var (
	// ErrUnanswered: the peer does not answer requests of that type.
	ErrUnanswered = errors.New("nobody answers that type")
	// ErrBusy: the peer answers too many requests already.
	ErrBusy = errors.New("peer is too busy")
	// ErrOverdue: the peer did not answer within the time of the request.
	ErrOverdue = errors.New("answer took too long")
	// ErrPanicked: the function that should have answered panicked.
	ErrPanicked = errors.New("handler panicked")
)

func (e *RemoteError) Error() string {
	return fmt.Sprintf("%s answered %q with an error: %s", e.Peer, e.Type, e.Text)
}

// Is reports whether target is the error that stands for Code.
func (e *RemoteError) Is(target error) bool {
	switch e.Code {
	case message.Unanswered:
		return target == ErrUnanswered
	case message.Busy:
		return target == ErrBusy
	case message.Overdue:
		return target == ErrOverdue
	case message.Panicked:
		return target == ErrPanicked
	}
	return false
}

// call is a request of this node that waits for its answer.
type call struct {
	id     uint64
	ended  atomic.Bool
	answer chan answer // of capacity 1
	then   func()      // called when it has ended, or nil
}

type answer struct {
	m   *message.Message
	err error
}

// sent is called when the request has been written, or with the reason why it was not.
func (c *call) sent(_ int32, err error) {
	if err != nil {
		c.end(answer{err: err})
	}
}

// end ends the call with an answer. It returns false if the call has ended already.
func (c *call) end(a answer) bool {
	if c.ended.Swap(true) {
		return false
	}
	c.answer <- a
	if c.then != nil {
		c.then()
	}
	return true
}

// Request sends a request of a type to p and returns the reply. If p answers with an
// error, the error is a *RemoteError. Any other error means that there is no answer: the
// request could not be sent, the link was lost (ErrLost, at once), or ctx ended. The
// deadline of ctx travels with the request. When the deadline passes or ctx ends, the
// context of the handler at p ends, too. Without a deadline, Options.RequestTimeout of p
// applies.
//
// Requests wait in the queue of Normal. They arrive after earlier events of that
// priority, and p does not read them while its Options.Deliver blocks. Answers come on
// the stream of the request, ahead of all events, so Deliver may itself call Request; but
// two peers that both do so wait for each other until the ctx of one ends. At most
// Options.Pending requests wait at a time; a further one fails with ErrPending.
func (l *Links) Request(ctx context.Context, p peer.ID, typ string, data []byte) (*message.Message, error) {
	m, err := l.request(ctx, p, typ, data)
	if err != nil {
		var remote *RemoteError
		if !errors.As(err, &remote) {
			l.count.failures.Add(1)
		}
		return nil, &sendError{"request", typ, p, err}
	}
	return m, nil
}

func (l *Links) request(ctx context.Context, p peer.ID, typ string, data []byte) (*message.Message, error) {
	if err := message.CheckType(typ); err != nil {
		return nil, err
	}
	defer l.count.pending.Add(-1)
	if l.count.pending.Add(1) > int64(l.opts.Pending) {
		return nil, fmt.Errorf("%w: %d do", ErrPending, l.opts.Pending)
	}
	c := &call{id: l.seq.Add(1), answer: make(chan answer, 1)}
	e := message.Message{Kind: message.Request, ID: message.ID{Seq: c.id}, Type: typ, Data: data}
	if deadline, ok := ctx.Deadline(); ok {
		e.Timeout = max(time.Until(deadline), time.Millisecond)
	}
	frame, err := l.frame(&e)
	if err != nil {
		return nil, err
	}
	o, err := l.put(ctx, p, item{frame: frame, to: c}, Normal)
	if err != nil {
		return nil, err
	}
	l.count.requests.Add(1)
	select {
	case a := <-c.answer:
		return l.result(p, typ, a)
	case <-ctx.Done():
	}
	if !c.ended.Swap(true) {
		l.giveUp(o, c)
		return nil, fmt.Errorf("no answer: %w", ctx.Err())
	}
	return l.result(p, typ, <-c.answer) // the answer came at the same time
}

func (l *Links) result(p peer.ID, typ string, a answer) (*message.Message, error) {
	switch {
	case a.err != nil:
		return nil, a.err
	case a.m.Kind == message.Error:
		l.count.remoteErrors.Add(1)
		return nil, &RemoteError{Peer: p, Type: typ, Code: a.m.Code, Text: told.Text(string(a.m.Data), maxErrorText)}
	}
	l.count.answers.Add(1)
	a.m.Type = typ // answers do not carry the type
	return a.m, nil
}

// giveUp forgets a call. It takes its request out of the queue, or else sends a cancel.
func (l *Links) giveUp(o *outgoing, c *call) {
	o.mu.Lock()
	delete(o.calls, c.id)
	o.mu.Unlock()
	if o.withdraw(Normal, c, 0) {
		return
	}
	e := message.Message{Kind: message.Cancel, ID: message.ID{Seq: c.id}}
	if frame, err := l.frame(&e); err == nil {
		o.cancelled(item{frame: frame}) // if this fails, the peer still knows the deadline
	}
}

// cancelled queues the cancel of a request that was sent on this link, if there is room.
func (o *outgoing) cancelled(it item) {
	o.mu.Lock()
	if o.ended == nil && !o.isFull(High, len(it.frame)) {
		o.enqueue(it, High)
	}
	o.mu.Unlock()
	o.rouse()
}

// answered ends the call that m answers. A request can be answered only on the stream
// that it was sent on.
func (o *outgoing) answered(m *message.Message) error {
	if m.Kind != message.Reply && m.Kind != message.Error {
		return fmt.Errorf("%w: a %s is not an answer to a request", errRules, m.Kind)
	}
	m.From, m.Via = o.peer, o.peer
	o.mu.Lock()
	c := o.calls[m.ID.Seq]
	delete(o.calls, m.ID.Seq)
	last := o.handOver != nil && len(o.calls) == 0
	o.mu.Unlock()
	if last {
		defer o.rouse()
	}
	if c == nil || !c.end(answer{m: m}) {
		o.links.count.strays.Add(1) // late, twice, or made up
	}
	return nil
}

// failCalls fails all requests of a link that wait for their answers.
func (o *outgoing) failCalls(err error) {
	o.mu.Lock()
	calls := o.calls
	o.calls = nil
	o.mu.Unlock()
	for _, c := range calls {
		c.end(answer{err: err})
	}
}
