package link

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/message"
	"github.com/tombolo-net/tombolo/core/supervise"
)

// Report lists the peers that a message reached, in the order given, and the failures. A
// message has reached a peer when the transport has it, as for Send.
type Report struct {
	Reached []peer.ID
	Failed  []Failure
}

// Failure is the reason why a message did not reach a peer.
type Failure struct {
	Peer peer.ID
	Err  error
}

// Err joins the failures. It returns nil if there are none.
func (r Report) Err() error {
	var errs []error
	for _, f := range r.Failed {
		errs = append(errs, fmt.Errorf("%s: %w", f.Peer, f.Err))
	}
	return errors.Join(errs...)
}

// SendAll sends m to each of peers as Send does, to all at once, and returns when each
// send has succeeded or failed. All of them share one frame. An invalid m fails for
// every peer.
func (l *Links) SendAll(ctx context.Context, peers []peer.ID, m *message.Message, prio Priority) Report {
	f := newFanout(len(peers))
	frame, err := l.encode(m, prio)
	if err != nil {
		for i := range peers {
			f.sent(int32(i), fmt.Errorf("send %q: %w", m.Type, err))
		}
		return f.report(peers)
	}
	outs := make([]*outgoing, len(peers))
	var waiting sync.WaitGroup // for room in High
	l.each(peers, prio, item{frame: frame, to: f}, outs, func(i int32, err error) {
		if prio != High || !errors.Is(err, ErrQueueFull) {
			l.countFull(err)
			f.sent(i, err)
			return
		}
		waiting.Go(func() {
			o, err := l.put(ctx, peers[i], item{frame: frame, to: f, i: i}, prio)
			if err != nil {
				f.sent(i, err)
			}
			outs[i] = o
		})
	})
	waiting.Wait()
	f.wait(ctx, func(i int32) bool { return outs[i].withdraw(prio, f, i) })
	return f.report(peers)
}

// PostAll queues m for each of peers and returns without waiting, even with High: if the
// queue of a peer is full, the message fails for that peer with ErrQueueFull. It is the
// cheapest way to send to many peers, because all of them share one frame.
//
// done, which may be nil, is called once for each peer, as for Post. For a peer whose
// queue was full, it is called before PostAll returns. If PostAll returns an error, m
// was queued for nobody and done is not called. peers must not be changed until done has
// been called for all.
func (l *Links) PostAll(peers []peer.ID, m *message.Message, prio Priority, done func(peer.ID, error)) error {
	frame, err := l.encode(m, prio)
	if err != nil {
		return fmt.Errorf("post %q: %w", m.Type, err)
	}
	it := item{frame: frame}
	if done != nil {
		it.to = &posted{l.supervisor, peers, done}
	}
	l.each(peers, prio, it, nil, func(i int32, err error) {
		l.countFull(err)
		it.i = i
		it.tell(err)
	})
	return nil
}

// posted calls the done of a PostAll.
type posted struct {
	supervisor *supervise.Supervisor
	peers      []peer.ID
	done       func(peer.ID, error)
}

func (p *posted) sent(i int32, err error) {
	defer p.supervisor.Catch(postDone)
	p.done(p.peers[i], err)
}

// each queues an item for each peer without waiting, and calls failed for those that did
// not take it, outside of locks. outs, if not nil, receives the links.
func (l *Links) each(peers []peer.ID, prio Priority, it item, outs []*outgoing, failed func(int32, error)) {
	var again []int32 // no link, or no room
	l.mu.RLock()
	for i, p := range peers {
		it.i = int32(i)
		r := l.peers[p]
		if r == nil || r.out == nil || r.out.push(it, prio) != nil {
			again = append(again, it.i)
		} else if outs != nil {
			outs[i] = r.out
		}
	}
	l.mu.RUnlock()
	for _, i := range again {
		it.i = i
		o, err := l.try(peers[i], it, prio)
		if err != nil {
			failed(i, err)
		} else if outs != nil {
			outs[i] = o
		}
	}
}

func (l *Links) countFull(err error) {
	if errors.Is(err, ErrQueueFull) {
		l.count.full.Add(1)
	}
}

// fanout collects the outcomes of one message to several peers.
type fanout struct {
	mu   sync.Mutex
	errs []error // to be read when all is closed
	told []bool
	left int
	all  chan struct{} // closed when left is 0
}

func newFanout(n int) *fanout {
	f := &fanout{errs: make([]error, n), told: make([]bool, n), left: n, all: make(chan struct{})}
	if n == 0 {
		close(f.all)
	}
	return f
}

// sent records the first outcome for i.
func (f *fanout) sent(i int32, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.told[i] {
		return
	}
	f.told[i] = true
	f.errs[i] = err
	if f.left--; f.left == 0 {
		close(f.all)
	}
}

// wait waits for all outcomes. When ctx ends, it withdraws the messages that it can; the
// others may still arrive.
func (f *fanout) wait(ctx context.Context, withdraw func(i int32) bool) {
	select {
	case <-f.all:
		return
	case <-ctx.Done():
	}
	for i := range int32(len(f.errs)) {
		f.mu.Lock()
		told := f.told[i]
		f.mu.Unlock()
		switch {
		case told:
		case withdraw(i):
			f.sent(i, fmt.Errorf("not sent, taken back out of the queue: %w", ctx.Err()))
		default:
			f.sent(i, fmt.Errorf("%w: %w", ErrMayArrive, ctx.Err()))
		}
	}
}

// report returns the Report when all outcomes are known.
func (f *fanout) report(peers []peer.ID) Report {
	var r Report
	for i, p := range peers {
		if err := f.errs[i]; err != nil {
			r.Failed = append(r.Failed, Failure{Peer: p, Err: err})
		} else {
			r.Reached = append(r.Reached, p)
		}
	}
	return r
}
