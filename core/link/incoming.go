package link

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/message"
)

// peerStreams bounds the inbound streams of one peer. An honest peer has one. In
// addition, it may have the one that it is moving from, and lost ones whose end this node
// has not noticed yet.
const peerStreams = 4

// incoming is a stream that a peer opened. Events and requests are read from it, and the
// answers to those requests are written to it.
type incoming struct {
	links *Links
	peer  peer.ID

	// Used only by the reading goroutine.
	reads    reader
	lastType string // the last type that passed checkType

	// Used only by the goroutine that writes answers, which runs while there are any.
	writes writer

	mu      sync.Mutex
	queues  queues                            // answers, all in High
	running map[message.ID]context.CancelFunc // requests whose handlers have not returned
	open    int                               // requests not yet answered or given up
	settled sync.Cond                         // open is 0, or the stream has ended
	writing bool
	ended   bool
}

// accept reads a stream until it ends. It is called in a separate goroutine for each
// stream.
func (l *Links) accept(ctx context.Context, s network.Stream) {
	in := l.admit(s)
	if in == nil {
		_ = s.Reset()
		return
	}
	defer l.goroutines.Done()
	err := in.receive(ctx)
	if ended(err) {
		in.drain()
		err = nil
	}
	l.judge(in.peer, err)
	in.end(err)
	l.mu.Lock()
	delete(l.peers[in.peer].in, in)
	l.tidy(in.peer)
	l.mu.Unlock()
}

// admit registers a stream, or returns nil if its peer may not open one. The caller must
// call Done on goroutines.
func (l *Links) admit(s network.Stream) *incoming {
	p := s.Conn().RemotePeer()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	if l.offenders.refused(p, time.Now()) {
		l.count.refused.Add(1)
		return nil
	}
	r := l.remote(p)
	if len(r.in) >= peerStreams {
		l.count.refused.Add(1)
		return nil
	}
	in := &incoming{links: l, peer: p, writes: writer{count: &l.count}}
	in.settled.L = &in.mu
	in.reads.open(l, s)
	r.in[in] = struct{}{}
	l.goroutines.Add(1)
	return in
}

// receive handles messages until the stream ends, and returns the reason.
func (in *incoming) receive(ctx context.Context) error {
	for {
		m, err := in.reads.next()
		if err != nil {
			return err
		}
		m.From, m.Via = in.peer, in.peer
		switch m.Kind {
		case message.Event:
			if err := in.checkType(m.Type); err != nil {
				return err
			}
			in.links.opts.Deliver(ctx, m)
		case message.Request:
			if m.Type == moved {
				in.hasRead(m)
				continue
			}
			if err := in.checkType(m.Type); err != nil {
				return err
			}
			if err := in.links.serve(ctx, in, m); err != nil {
				return err
			}
		case message.Cancel:
			in.cancel(m.ID)
		case message.Reply, message.Error:
			return fmt.Errorf("%w: a %s belongs on the stream of its request", errRules, m.Kind)
		default:
			return fmt.Errorf("%w: a %s is for broadcasts", errRules, m.Kind)
		}
		if ctx.Err() != nil {
			return ErrClosed
		}
	}
}

func (in *incoming) checkType(t string) error {
	if t == in.lastType && t != "" {
		return nil
	}
	if err := message.CheckType(t); err != nil {
		return fmt.Errorf("%w: %w", errRules, err)
	}
	in.lastType = t
	return nil
}
