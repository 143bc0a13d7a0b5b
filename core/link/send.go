package link

import (
	"context"
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/message"
	"github.com/tombolo-net/tombolo/core/supervise"
)

// Send queues m for p and returns when the transport has its frame, or with the reason
// why not. There is no confirmation that p has read it.
//
// m must be an Event and have a Type. If it has an ID, it is sent with that, so the same
// message can be sent again; otherwise it is sent with a new one. m is not changed.
//
// If the queue is full, Send fails with ErrQueueFull at once; with High, it waits for
// room. If ctx ends first, the message is taken out of the queue; if it was being written
// already, the error wraps ErrMayArrive.
func (l *Links) Send(ctx context.Context, p peer.ID, m *message.Message, prio Priority) error {
	f := newFanout(1)
	o, err := l.post(ctx, p, m, prio, f)
	if err == nil {
		f.wait(ctx, func(i int32) bool { return o.withdraw(prio, f, i) })
		err = f.errs[0]
	}
	if err != nil {
		return &sendError{"send", m.Type, p, err}
	}
	return nil
}

// sendError says what was tried. It makes its text only when asked for it, because errors
// are as frequent as messages while a queue is full.
type sendError struct {
	what string
	typ  string
	to   peer.ID
	err  error
}

func (e *sendError) Error() string { return fmt.Sprintf("%s %q to %s: %v", e.what, e.typ, e.to, e.err) }
func (e *sendError) Unwrap() error { return e.err }

// fullError is an ErrQueueFull that makes its text only when asked for it.
type fullError struct {
	prio     Priority
	messages int
	bytes    int
}

func (e *fullError) Error() string {
	return fmt.Sprintf("%v: %s holds %d messages or %d bytes that were not taken yet", ErrQueueFull, e.prio, e.messages, e.bytes)
}
func (e *fullError) Is(target error) bool { return target == ErrQueueFull }

// Post queues m for p as Send does, and returns at once. done, which may be nil, is
// called once: with nil when the transport has the frame, or with the reason why not. It
// runs on the goroutine that writes to p, so it must not block; a panic in it is logged.
// If Post itself returns an error, nothing was queued and done is not called.
//
// Post waits only for room in the queue of High, until ctx ends.
func (l *Links) Post(ctx context.Context, p peer.ID, m *message.Message, prio Priority, done func(error)) error {
	var to outcome
	if done != nil {
		to = &postedOne{l.supervisor, done}
	}
	if _, err := l.post(ctx, p, m, prio, to); err != nil {
		return &sendError{"post", m.Type, p, err}
	}
	return nil
}

// postedOne calls the done of a Post.
type postedOne struct {
	supervisor *supervise.Supervisor
	done       func(error)
}

func (p *postedOne) sent(_ int32, err error) {
	defer p.supervisor.Catch(postDone)
	p.done(err)
}

// postDone names the done of Post and PostAll in the log.
const postDone = "the done of a Post"

func (l *Links) post(ctx context.Context, p peer.ID, m *message.Message, prio Priority, to outcome) (*outgoing, error) {
	frame, err := l.encode(m, prio)
	if err != nil {
		return nil, err
	}
	return l.put(ctx, p, item{frame: frame, to: to}, prio)
}

// encode checks an event and makes its frame.
func (l *Links) encode(m *message.Message, prio Priority) ([]byte, error) {
	if m.Kind != message.Event {
		return nil, fmt.Errorf("a message to be sent is an event, not a %s", m.Kind)
	}
	if err := message.CheckType(m.Type); err != nil {
		return nil, err
	}
	if prio >= priorities {
		return nil, fmt.Errorf("there is no %s", prio)
	}
	e := message.Message{ID: m.ID, Type: m.Type, Data: m.Data}
	if e.ID == (message.ID{}) {
		e.ID.Seq = l.seq.Add(1)
	}
	return l.frame(&e)
}

func (l *Links) frame(e *message.Message) ([]byte, error) {
	if err := e.CheckSize(l.opts.MaxData); err != nil {
		l.count.tooLarge.Add(1)
		return nil, err
	}
	size := e.Size()
	return e.AppendFrame(make([]byte, 0, size+lengthBytes(size))), nil
}

// lengthBytes returns the number of bytes that the length of a frame takes.
func lengthBytes(size int) int {
	n := 1
	for ; size >= 0x80; size >>= 7 {
		n++
	}
	return n
}

// put queues an item on p's link. With High, it waits for room.
func (l *Links) put(ctx context.Context, p peer.ID, it item, prio Priority) (*outgoing, error) {
	for {
		if err := ctx.Err(); err != nil {
			l.count.expired.Add(1)
			return nil, fmt.Errorf("not sent: %w", err)
		}
		o, err := l.try(p, it, prio)
		if err == nil {
			return o, nil
		}
		if prio != High || !errors.Is(err, ErrQueueFull) {
			l.countFull(err)
			return nil, err
		}
		select {
		case <-o.roomInHigh(len(it.frame)):
		case <-ctx.Done():
		}
	}
}

// try queues an item on p's link, and makes the link if needed. It does not wait.
// With an ErrQueueFull, it returns the link, too.
func (l *Links) try(p peer.ID, it item, prio Priority) (*outgoing, error) {
	o := l.known(p)
	for {
		if o != nil {
			switch err := o.push(it, prio); {
			case err == nil:
				return o, nil
			case errors.Is(err, ErrQueueFull):
				return o, l.full(prio)
			} // else the link has ended, and the next one is another
		}
		var queued bool
		var err error
		if o, queued, err = l.link(p, it, prio); err != nil {
			return nil, err
		}
		if queued {
			return o, nil
		}
	}
}

// known returns the link to p, which may have ended, or nil.
func (l *Links) known(p peer.ID) *outgoing {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if r := l.peers[p]; r != nil {
		return r.out
	}
	return nil
}

func (l *Links) full(prio Priority) error {
	return &fullError{prio, l.opts.QueueMessages, l.opts.QueueBytes}
}

// link returns the link to p. If no link to p takes messages, it makes a new one and
// queues the item there before it opens the stream. If the stream cannot be opened, the
// item fails and is not tried again.
func (l *Links) link(p peer.ID, it item, prio Priority) (o *outgoing, queued bool, err error) {
	if p == l.host.ID() {
		return nil, false, errors.New("a node has no link to itself")
	}
	if err := p.Validate(); err != nil {
		return nil, false, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, false, ErrClosed
	}
	r := l.remote(p)
	if r.out != nil && r.out.takes() {
		return r.out, false, nil
	}
	r.out = l.start(p, func(o *outgoing) { o.enqueue(it, prio) })
	return r.out, true, nil
}

// start makes a link to p, and passes it to prepare before it runs. l.mu is held.
func (l *Links) start(p peer.ID, prepare func(*outgoing)) *outgoing {
	ctx, cancel := context.WithCancel(context.Background())
	o := &outgoing{links: l, peer: p, cancel: cancel, wake: make(chan struct{}, 1), writes: writer{count: &l.count}}
	prepare(o)
	l.goroutines.Go(func() {
		defer l.program.Enter()()
		o.run(ctx)
	})
	return o
}

func (o *outgoing) takes() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ended == nil && o.handOver == nil
}

// forget removes a link that has ended.
func (l *Links) forget(o *outgoing) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.peers[o.peer]; r != nil {
		if r.out == o { // no other link has replaced it
			r.out = nil
		}
		delete(r.left, o)
		l.tidy(o.peer)
	}
}
