package core

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/tombolo-net/tombolo/core/reservation"
)

// EventType says what an Event tells.
type EventType int

const (
	// PeerConnected: the first connection to Peer was made.
	PeerConnected EventType = iota + 1
	// PeerDisconnected: the last connection to Peer ended.
	PeerDisconnected
	// ReservationMade: the node can be dialled through the relay Peer, under
	// Addrs, until Expires unless renewed. Sent again when Addrs change.
	ReservationMade
	// ReservationLost: the node can no longer be dialled through the relay
	// Peer; Err says why. It is trying to get the reservation back.
	ReservationLost
	// EchoAnswered: Peer had Bytes bytes echoed.
	EchoAnswered
	// EventsMissed: the subscriber read too slowly; Missed events that came
	// before this one are lost to it.
	EventsMissed
)

func (t EventType) String() string {
	names := [...]string{"", "peer connected", "peer disconnected", "reservation made", "reservation lost", "echo answered", "events missed"}
	if t < 1 || int(t) >= len(names) {
		return fmt.Sprintf("event %d", int(t))
	}
	return names[t]
}

// Event is one piece of news of a node. Which fields are set depends on Type.
type Event struct {
	Type    EventType
	Time    time.Time
	Peer    peer.ID
	Addrs   []ma.Multiaddr
	Expires time.Time
	Bytes   int64
	Missed  int
	Err     error
}

// eventBuffer is how many events a subscriber may be behind.
const eventBuffer = 256

// Events subscribes to the node's news from now on. A subscriber that falls
// more than 256 events behind loses the oldest, and is told with EventsMissed.
func (n *Node) Events() *Events { return n.events.subscribe() }

// Events is one subscription. One goroutine at a time may read it; Close may
// be called from any.
type Events struct {
	hub    *eventHub
	mu     sync.Mutex
	queue  []Event
	missed int
	ready  chan struct{} // holds a token while there is something to read
	closed chan struct{}
	once   sync.Once
}

// Next waits for the next event. It returns ErrClosed when the subscription or
// the node is closed and everything before has been read.
func (e *Events) Next(ctx context.Context) (Event, error) {
	for {
		if ev, ok := e.take(); ok {
			return ev, nil
		}
		select {
		case <-e.ready:
		case <-ctx.Done():
			return Event{}, ctx.Err()
		case <-e.closed:
			if ev, ok := e.take(); ok {
				return ev, nil
			}
			return Event{}, ErrClosed
		}
	}
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
func (e *Events) Close() {
	e.hub.remove(e)
	e.once.Do(func() { close(e.closed) })
}

func (e *Events) take() (Event, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.missed > 0 {
		ev := Event{Type: EventsMissed, Time: time.Now(), Missed: e.missed}
		e.missed = 0
		return ev, true
	}
	if len(e.queue) == 0 {
		return Event{}, false
	}
	ev := e.queue[0]
	e.queue = e.queue[1:]
	return ev, true
}

func (e *Events) put(ev Event) {
	e.mu.Lock()
	if len(e.queue) >= eventBuffer {
		e.queue = e.queue[1:]
		e.missed++
	}
	e.queue = append(e.queue, ev)
	e.mu.Unlock()
	select {
	case e.ready <- struct{}{}:
	default:
	}
}

// eventHub hands events to the subscribers.
type eventHub struct {
	mu     sync.Mutex
	subs   map[*Events]struct{}
	closed bool
	stop   func()
	done   sync.WaitGroup
}

func newEventHub() *eventHub {
	return &eventHub{subs: make(map[*Events]struct{}), stop: func() {}}
}

func (h *eventHub) subscribe() *Events {
	e := &Events{hub: h, ready: make(chan struct{}, 1), closed: make(chan struct{})}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		e.once.Do(func() { close(e.closed) })
		return e
	}
	h.subs[e] = struct{}{}
	return e
}

func (h *eventHub) remove(e *Events) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.subs, e)
}

func (h *eventHub) emit(ev Event) {
	ev.Time = time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	for e := range h.subs {
		e.put(ev)
	}
}

// close stops the source and ends every subscription.
func (h *eventHub) close() error {
	h.stop()
	h.done.Wait()
	h.mu.Lock()
	subs := h.subs
	h.subs, h.closed = nil, true
	h.mu.Unlock()
	for e := range subs {
		e.Close()
	}
	return nil
}

// startEvents turns the host's connectedness into events.
func (n *Node) startEvents(context.Context) error {
	sub, err := n.host.EventBus().Subscribe(new(event.EvtPeerConnectednessChanged), eventbus.Name("tombolo node"), eventbus.BufSize(eventBuffer))
	if err != nil {
		return err
	}
	n.events.stop = func() { _ = sub.Close() }
	n.events.done.Go(func() {
		connected := make(map[peer.ID]struct{})
		for e := range sub.Out() {
			change := e.(event.EvtPeerConnectednessChanged)
			_, was := connected[change.Peer]
			is := change.Connectedness != network.NotConnected
			switch {
			case is && !was:
				connected[change.Peer] = struct{}{}
				n.events.emit(Event{Type: PeerConnected, Peer: change.Peer})
			case was && !is:
				delete(connected, change.Peer)
				n.events.emit(Event{Type: PeerDisconnected, Peer: change.Peer})
			}
		}
	})
	return nil
}

func (n *Node) reservationsPart() Part {
	if n.reservations == nil {
		return Part{Name: "reservations"}
	}
	return Part{
		Name: "reservations",
		Start: func(context.Context) error {
			return n.reservations.Start(n.host, func(r reservation.Reservation, lost error) {
				ev := Event{Type: ReservationMade, Peer: r.Relay, Addrs: r.Addrs, Expires: r.Expires}
				if lost != nil {
					ev.Type, ev.Err = ReservationLost, lost
				}
				n.events.emit(ev)
			})
		},
		Close: n.reservations.Close,
	}
}
