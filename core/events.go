package core

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/tombolo-net/tombolo/core/internal/feed"
	"github.com/tombolo-net/tombolo/core/reservation"
)

// EventType is the kind of an Event.
type EventType int

const (
	// PeerConnected: the first connection to Peer was made; Conn describes it. A peer
	// that has already disconnected again gets no event.
	PeerConnected EventType = iota + 1
	// PeerDisconnected: the last connection to Peer ended.
	PeerDisconnected
	// PeerDirect: the connection in use to Peer no longer passes a relay; Conn describes
	// it.
	PeerDirect
	// PeerRelayed: the direct connections to Peer have ended, and the one in use passes a
	// relay; Conn describes it.
	PeerRelayed
	// ReservationMade: other peers can reach the node through the relay Peer, at Addrs,
	// until Expires unless renewed. Sent again when Addrs change.
	ReservationMade
	// ReservationLost: other peers can no longer reach the node through the relay Peer, for
	// the reason Err. The node tries to get the reservation back.
	ReservationLost
	// ReservationFailed: the relay Peer could not be reached, or refused a reservation. Err
	// has the reason for each address that was tried. The node tries again, at growing
	// intervals. Peer is empty if the page at URL has not answered yet.
	ReservationFailed
	// EchoAnswered: the node sent Bytes bytes back to Peer.
	EchoAnswered
	// EventsMissed: the subscriber read too slowly, and lost Missed events before this one.
	EventsMissed
)

func (t EventType) String() string {
	names := [...]string{"", "peer connected", "peer disconnected", "peer direct", "peer relayed", "reservation made", "reservation lost", "reservation failed", "echo answered", "events missed"}
	if t < 1 || int(t) >= len(names) {
		return fmt.Sprintf("event %d", int(t))
	}
	return names[t]
}

// Event reports a change of a node. Its Type decides which fields are set.
type Event struct {
	Type    EventType
	Time    time.Time
	Peer    peer.ID
	URL     string // of the relay, if it was given as a URL
	Conn    *Peer  // must not be changed
	Addrs   []ma.Multiaddr
	Expires time.Time
	Bytes   int64
	Missed  int
	Err     error
}

// Events subscribes to the events of the node from now on. A subscriber that falls more
// than 256 events behind loses the oldest, and gets an EventsMissed.
func (n *Node) Events() *Events { return &Events{n.events.Subscribe()} }

// Events is one subscription. One goroutine at a time may read it; Close may
// be called from any.
type Events struct{ reader *feed.Reader[Event] }

// Next waits for the next event. When the subscription or the node is closed and all
// earlier events have been read, it returns ErrClosed.
func (e *Events) Next(ctx context.Context) (Event, error) {
	ev, missed, err := e.reader.Next(ctx)
	switch {
	case errors.Is(err, feed.ErrClosed):
		return Event{}, ErrClosed
	case missed > 0:
		return Event{Type: EventsMissed, Time: time.Now(), Missed: missed}, nil
	}
	return ev, err
}

// All yields events until ctx ends or the subscription is closed.
func (e *Events) All(ctx context.Context) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		for {
			ev, err := e.Next(ctx)
			if err != nil || !yield(ev) {
				return
			}
		}
	}
}

// Close ends the subscription. It may be called more than once.
func (e *Events) Close() { e.reader.Close() }

func (n *Node) emit(ev Event) {
	ev.Time = time.Now()
	n.events.Emit(ev)
}

// eventsPart turns the host's connectedness into events, and ends all
// subscriptions when it closes.
func (n *Node) eventsPart() Part {
	var stop func() error
	var done sync.WaitGroup
	return Part{
		Name: "events",
		Start: func(context.Context) error {
			sub, err := n.host.EventBus().Subscribe(new(event.EvtPeerConnectednessChanged), eventbus.Name("tombolo node"), eventbus.BufSize(feed.Buffer))
			if err != nil {
				return err
			}
			ways := &changedWays{peers: make(map[peer.ID]struct{}), wake: make(chan struct{}, 1)}
			notify := &network.NotifyBundle{
				ConnectedF:    func(_ network.Network, c network.Conn) { ways.note(c.RemotePeer()) },
				DisconnectedF: func(_ network.Network, c network.Conn) { ways.note(c.RemotePeer()) },
			}
			n.host.Network().Notify(notify)
			stop = func() error {
				n.host.Network().StopNotify(notify)
				return sub.Close()
			}
			done.Go(func() { n.tellConnectedness(sub.Out(), ways) })
			return nil
		},
		Close: func() error {
			err := stop()
			done.Wait()
			n.events.Close()
			return err
		},
	}
}

// changedWays collects the peers to which a connection was made or has ended.
type changedWays struct {
	mu    sync.Mutex
	peers map[peer.ID]struct{}
	wake  chan struct{} // of capacity 1
}

func (w *changedWays) note(p peer.ID) {
	w.mu.Lock()
	w.peers[p] = struct{}{}
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// take returns the peers noted since the last call.
func (w *changedWays) take() map[peer.ID]struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	peers := w.peers
	w.peers = make(map[peer.ID]struct{})
	return peers
}

func (n *Node) tellConnectedness(changes <-chan any, ways *changedWays) {
	relayed := make(map[peer.ID]bool) // of the connected peers
	for {
		select {
		case e, ok := <-changes:
			if !ok {
				return
			}
			n.tellChange(e.(event.EvtPeerConnectednessChanged), relayed)
		case <-ways.wake:
			for p := range ways.take() {
				n.tellWay(p, relayed)
			}
		}
	}
}

// tellChange emits an event if a peer has connected or disconnected.
func (n *Node) tellChange(change event.EvtPeerConnectednessChanged, relayed map[peer.ID]bool) {
	_, was := relayed[change.Peer]
	is := change.Connectedness != network.NotConnected
	switch {
	case is && !was:
		if p, ok := n.Peer(change.Peer); ok {
			relayed[change.Peer] = p.Relayed
			n.emit(Event{Type: PeerConnected, Peer: change.Peer, Conn: &p})
		}
	case was && !is:
		delete(relayed, change.Peer)
		n.emit(Event{Type: PeerDisconnected, Peer: change.Peer})
	}
}

// tellWay emits an event if the connection in use to a peer now passes a relay, or no
// longer does.
func (n *Node) tellWay(id peer.ID, relayed map[peer.ID]bool) {
	was, connected := relayed[id]
	p, ok := n.Peer(id)
	if !connected || !ok || p.Relayed == was {
		return
	}
	relayed[id] = p.Relayed
	ev := Event{Type: PeerDirect, Peer: id, Conn: &p}
	if p.Relayed {
		ev.Type = PeerRelayed
	}
	n.emit(ev)
}

func (n *Node) reservationsPart() Part {
	if n.reservations == nil {
		return Part{Name: "reservations"}
	}
	return Part{
		Name: "reservations",
		Start: func(context.Context) error {
			return n.reservations.Start(n.host, func(r reservation.Reservation, lost error) {
				ev := Event{Type: ReservationMade, Peer: r.Relay, URL: r.URL, Addrs: r.Addrs, Expires: r.Expires}
				switch {
				case lost != nil && r.Expires.IsZero():
					ev.Type, ev.Err = ReservationFailed, lost
				case lost != nil:
					ev.Type, ev.Err = ReservationLost, lost
				}
				n.emit(ev)
			})
		},
		Close: n.reservations.Close,
	}
}
