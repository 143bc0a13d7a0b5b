package link

import (
	"context"
	"fmt"
	"sync"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/tombolo-net/tombolo/core/message"
)

// moved is the type of the last request on the stream of a link that moves. The peer
// answers it as soon as it reads it, and has then read everything that was sent before.
const moved = message.Reserved + "moved"

// move moves the link to p to a direct connection, if it is on a circuit and there is
// one. First it opens the stream of a new link. Then the new link replaces the old one,
// which sends what is queued on it, and ends when the last of its requests is answered.
// The new link sends nothing before the peer has read everything that the old one sent,
// so the peer reads each message once and in order. If no stream can be opened, the link
// stays on the circuit until the next attempt.
func (l *Links) move(ctx context.Context, p peer.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.peers[p]
	if l.closed || r == nil || r.out == nil || r.moving || !l.canMove(r.out) {
		return
	}
	r.moving = true
	l.goroutines.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, l.opts.OpenTimeout)
		defer cancel()
		s, err := l.opts.Open(ctx, p, Protocol)
		if err == nil && !isCircuit(s.Conn()) && l.replace(p, s) {
			return
		}
		if s != nil {
			_ = s.Reset()
		}
		l.log.Debug("a link stays on its circuit", "peer", p, "error", err)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.peers[p].moving = false
		l.tidy(p)
	})
}

// canMove reports whether the stream of a link is on a circuit, and there is a direct
// connection to its peer.
func (l *Links) canMove(o *outgoing) bool {
	o.mu.Lock()
	s, taking := o.stream, o.ended == nil
	o.mu.Unlock()
	if s == nil || !taking || !isCircuit(s.Conn()) {
		return false
	}
	for _, c := range l.host.Network().ConnsToPeer(o.peer) {
		if !c.IsClosed() && !isCircuit(c) {
			return true
		}
	}
	return false
}

// replace makes s the stream of a new link, which replaces the one that is to move. It
// returns false if that link has ended meanwhile.
func (l *Links) replace(p peer.ID, s network.Stream) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.peers[p]
	if l.closed || r.out == nil || !isOn(r.out, isCircuit) {
		return false
	}
	old := r.out
	turn := make(chan struct{})
	if !old.leave(sync.OnceFunc(func() { close(turn) })) {
		return false
	}
	r.moving = false
	r.left[old] = struct{}{}
	r.out = l.start(p, func(o *outgoing) { o.stream, o.turn = s, turn })
	return true
}

func isOn(o *outgoing, where func(network.Conn) bool) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.stream != nil && where(o.stream.Conn())
}

func isCircuit(c network.Conn) bool {
	_, err := c.RemoteMultiaddr().ValueForProtocol(ma.P_CIRCUIT)
	return err == nil
}

// leave makes the link take nothing more except the cancels of its requests, and end when
// nothing is left to do. handOver is called when the peer has read everything that was
// sent, or when it never will. leave returns false if the link has ended.
func (o *outgoing) leave(handOver func()) bool {
	o.mu.Lock()
	if o.ended != nil {
		o.mu.Unlock()
		return false
	}
	o.handOver = handOver
	o.signalRoom() // there is room in the queue of its successor
	o.mu.Unlock()
	o.rouse()
	return true
}

// rouse wakes the writer, if it sleeps.
func (o *outgoing) rouse() {
	o.mu.Lock()
	wake := o.asleep
	o.asleep = false
	o.mu.Unlock()
	if wake {
		o.wake <- struct{}{}
	}
}

// finish decides what a link that leaves does when its queues are empty. First it asks
// whether the peer has read everything; when no request is left, it ends. finish returns
// true if it has queued something. o.mu is held.
func (o *outgoing) finish() bool {
	switch {
	case o.handOver == nil:
	case !o.asked:
		o.asked = true
		c := &call{id: o.links.seq.Add(1), answer: make(chan answer, 1), then: o.handOver}
		e := message.Message{Kind: message.Request, ID: message.ID{Seq: c.id}, Type: moved}
		frame, err := o.links.frame(&e)
		if err != nil {
			o.ended = fmt.Errorf("%w: %w", ErrLost, err)
			return false
		}
		o.enqueue(item{frame: frame, to: c}, Normal)
		return true
	case len(o.calls) == 0:
		o.ended = errMoved
	}
	return false
}

// awaitTurn waits until the link may send: at once, unless it has replaced another.
func (o *outgoing) awaitTurn(ctx context.Context) error {
	if o.turn == nil {
		return nil
	}
	select {
	case <-o.turn:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrLost, ctx.Err())
	}
}

// hasRead answers the request that a peer sends last on a stream that it leaves.
func (in *incoming) hasRead(m *message.Message) {
	in.answerAtOnce(&message.Message{Kind: message.Reply, ID: m.ID})
}

// moveAll moves the links that can move, such as one whose new stream could not be opened
// before.
func (l *Links) moveAll(ctx context.Context, outs []*outgoing) {
	for _, o := range outs {
		l.move(ctx, o.peer)
	}
}
