package bridge

import (
	"errors"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// A forward is a loop if the peer's listener dials the very address that the forward
// listens on, which can happen to two nodes on one machine: each connection then makes
// another, without end. No byte comes back through such a forward, so a loop is suspected
// when many of its streams have received nothing. The forward then sends the peer the
// sockets at this end of those streams. If the peer dialled several of them itself, for
// streams of the same protocol from this node, that is neither chance nor a chain that
// ends somewhere.
const (
	loopSuspected = 8  // open streams; checked again each time the number doubles
	loopCertain   = 4  // sockets that the peer dialled itself
	loopNamed     = 16 // sockets sent in one question, the newest ones
)

var errLoop = errors.New("the forward is connected to itself: the peer's listener connects to the address that the forward listens on")

// Socketed is a Local that is a socket of this machine.
type Socketed interface {
	// Socket returns the addresses of both ends of the connection, in a form that is the
	// same at either end; empty if the ends have no addresses of their own.
	Socket() string
}

// socket returns the socket of the local stream; empty if it has none.
func (c *Conn) socket() string {
	c.mu.Lock()
	local, _ := c.local.(Socketed)
	c.mu.Unlock()
	if local == nil {
		return ""
	}
	return local.Socket()
}

// suspect asks the peer whether the forward is a loop, if that is likely.
func (f *Forward) suspect() {
	f.mu.Lock()
	live := f.streams
	f.mu.Unlock()
	if live < loopSuspected || live&(live-1) != 0 {
		return
	}
	b := f.bridge
	silent := f.silent()
	if len(silent) < loopCertain || !b.enter() {
		return
	}
	sockets := make([]string, 0, loopNamed)
	for _, c := range silent[max(0, len(silent)-loopNamed):] {
		sockets = append(sockets, c.socket())
	}
	go func() {
		defer b.tasks.Done()
		ctx := network.WithNoDial(b.ctx, "a loop ends with its connection")
		a, err := b.ask(ctx, f.peer, question{Ask: "loop", Protocol: f.protocol, Sockets: sockets})
		if err != nil || a.Reason != Loop {
			return
		}
		for _, c := range f.silent() { // including streams opened since
			c.abort(&Error{Reason: Loop, Err: errLoop})
		}
	}()
}

// silent returns the streams that have received nothing, of this forward or of another to
// the same peer and protocol.
func (f *Forward) silent() []*Conn {
	return f.bridge.spliced(f.peer, f.protocol, func(c *Conn) bool { return !c.inbound && c.received.Load() == 0 })
}

// afterLoop reports whether an error is an effect of a loop that was just ended: each
// stream of a loop that ends breaks off others. It is called with f.mu held.
func (f *Forward) afterLoop(err error) bool {
	return err != nil && reasonOf(err, "") != Loop && reasonOf(f.last, "") == Loop && time.Since(f.lastAt) < askTimeout
}

// loop reports whether streams of a peer go back to it. The peer ends them; the reason is
// recorded here.
func (b *Bridge) loop(p peer.ID, proto protocol.ID, sockets []string) Reason {
	back := b.spliced(p, proto, func(c *Conn) bool { return c.inbound && slices.Contains(sockets, c.socket()) })
	if len(back) < loopCertain {
		return ""
	}
	for _, c := range back {
		c.fail(&Error{Reason: Loop, Err: errLoop})
	}
	return Loop
}

// spliced returns the open streams of a peer and a protocol that are spliced to a socket
// and for which f returns true, oldest first.
func (b *Bridge) spliced(p peer.ID, proto protocol.ID, f func(*Conn) bool) (found []*Conn) {
	b.mu.Lock()
	for _, c := range b.streams {
		if c.peer == p && c.protocol == proto {
			found = append(found, c)
		}
	}
	b.mu.Unlock()
	found = slices.DeleteFunc(found, func(c *Conn) bool { return c.socket() == "" || !f(c) })
	slices.SortFunc(found, func(x, y *Conn) int { return int(x.id) - int(y.id) })
	return found
}
