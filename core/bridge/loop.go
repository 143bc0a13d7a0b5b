package bridge

import (
	"errors"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// A forward leads to itself when its peer's listener dials the very address that
// the forward listens on, as may happen to two nodes of one machine: each
// connection then makes another, without end. Nothing comes back through such a
// forward, so it is suspected when many of its streams have brought nothing. The
// peer is then told the sockets at this end of those streams. That it dialled
// several of them itself, for streams of the same protocol from this node, is no
// chance, and no chain that ends somewhere.
const (
	loopSuspected = 8  // live streams; asked again at each doubling
	loopCertain   = 4  // sockets that the peer dialled itself
	loopNamed     = 16 // sockets named in one question, the newest
)

var errLoop = errors.New("the forward is connected to itself: the peer's listener connects to the address that the forward listens on")

// Socketed is a Local that is a socket of this machine.
type Socketed interface {
	// Socket names the connection by the addresses of both its ends, and is the
	// same at either; it is empty where the ends have no addresses of their own.
	Socket() string
}

// socket is the socket of the local stream; empty if it has no socket.
func (c *Conn) socket() string {
	c.mu.Lock()
	local, _ := c.local.(Socketed)
	c.mu.Unlock()
	if local == nil {
		return ""
	}
	return local.Socket()
}

// suspect asks the peer whether the forward leads to itself, where that may be.
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
		for _, c := range f.silent() { // with those that have come since
			c.abort(&Error{Reason: Loop, Err: errLoop})
		}
	}()
}

// silent are the streams of the forward, or of another that leads to the same, on
// which nothing has come.
func (f *Forward) silent() []*Conn {
	return f.bridge.spliced(f.peer, f.protocol, func(c *Conn) bool { return !c.inbound && c.received.Load() == 0 })
}

// afterLoop says whether an error is what is left of a loop that was just ended:
// the ends of each stream of it break off those of others. It is called with f.mu
// held.
func (f *Forward) afterLoop(err error) bool {
	return err != nil && reasonOf(err, "") != Loop && reasonOf(f.last, "") == Loop && time.Since(f.lastAt) < askTimeout
}

// loop says whether streams of a peer lead back to it. The peer ends them; why is
// noted here.
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

// spliced are the live streams of a peer and a protocol that are joined to a
// socket, and of which f says so, the oldest first.
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
