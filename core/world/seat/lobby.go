package seat

import (
	"cmp"
	"container/list"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/tombolo-net/tombolo/core/mesh"
	"github.com/tombolo-net/tombolo/core/world/wire"
)

// Finder is the part of a node that finds rooms. *core.Node implements it, and so does
// *world.Rooms, which finds its own rooms, too.
type Finder interface {
	ID() peer.ID
	Presence(typ string) (*mesh.Presence, error)
	Open(ctx context.Context, p peer.ID, proto protocol.ID) (network.Stream, error)
}

// Filter selects rooms. The zero value selects all of them.
type Filter = wire.Filter

// Room is a room of the mesh, as its host describes it.
type Room struct {
	Host peer.ID `json:"host"`
	wire.Listing
}

// Change is a change of a room. The room is new, or its description changed; or it is
// Gone, because its host closed it or cannot be reached, or because it no longer passes
// the filter.
type Change struct {
	Room
	Gone bool `json:"gone,omitempty"`
}

const (
	// mostHosts bounds the hosts that a Lobby listens to, and mostRooms their rooms.
	mostHosts = 1024
	mostRooms = 16 << 10
	// openFor is how long a host may take to start reporting its rooms.
	openFor = 10 * time.Second
	// pauseLimit is the longest pause before a host is asked again.
	pauseLimit = 30 * time.Second
)

// ErrLobbyClosed is returned by Next after Close.
var ErrLobbyClosed = errors.New("the lobby is closed")

// Lobby watches the rooms of the mesh. It keeps a stream to each peer that holds one, on
// which the peer reports its rooms and their changes, at most twice a second. All methods
// may be called concurrently.
type Lobby struct {
	node     Finder
	filter   Filter
	presence *mesh.Presence
	ctx      context.Context
	stop     context.CancelFunc
	hearing  sync.WaitGroup

	mu      sync.Mutex
	rooms   map[peer.ID]map[string]wire.Listing
	count   int                // of the rooms in all
	told    map[place]struct{} // rooms that Next has returned and that are not gone
	queue   *list.List         // of the places for which Next has a change
	queued  map[place]*list.Element
	omitted uint64
	news    chan struct{} // something is queued
}

// place identifies a room by its host and name.
type place struct {
	host peer.ID
	name string
}

// Watch starts to watch the rooms that pass the filter, until Close.
func Watch(node Finder, f Filter) (*Lobby, error) {
	if err := f.Check(); err != nil {
		return nil, fmt.Errorf("watch rooms: %w", err)
	}
	typ := wire.RoomsType
	if f.Name != "" {
		typ = wire.RoomType(f.Name)
	}
	presence, err := node.Presence(typ)
	if err != nil {
		return nil, fmt.Errorf("watch rooms: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	l := &Lobby{
		node: node, filter: f, presence: presence, ctx: ctx, stop: stop,
		rooms: make(map[peer.ID]map[string]wire.Listing), told: make(map[place]struct{}),
		queue: list.New(), queued: make(map[place]*list.Element), news: make(chan struct{}, 1),
	}
	l.hearing.Go(func() { _, _ = l.listen(ctx, node.ID()) }) // a node that holds no rooms has none to report
	l.hearing.Go(l.run)
	return l, nil
}

// Close ends the lobby, and waits for its goroutines.
func (l *Lobby) Close() error {
	l.stop()
	err := l.presence.Close()
	l.hearing.Wait()
	return err
}

// Rooms returns the rooms that are known now, in the order of their names and hosts.
func (l *Lobby) Rooms() []Room {
	l.mu.Lock()
	defer l.mu.Unlock()
	rooms := make([]Room, 0, l.count)
	for host, listings := range l.rooms {
		for _, listing := range listings {
			rooms = append(rooms, Room{host, listing})
		}
	}
	slices.SortFunc(rooms, func(a, b Room) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.Host, b.Host))
	})
	return rooms
}

// Omitted returns how often a room or a host was left out because there are too many:
// more than 1,024 hosts, 256 rooms of one host, or 16,384 rooms in all. A narrower filter
// finds more.
func (l *Lobby) Omitted() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.omitted
}

// Next waits for a change. If a room has changed several times since it was last
// returned, Next returns its newest state. The error is the error of ctx, or
// ErrLobbyClosed.
func (l *Lobby) Next(ctx context.Context) (Change, error) {
	for {
		if change, ok := l.take(); ok {
			return change, nil
		}
		select {
		case <-l.news:
		case <-ctx.Done():
			return Change{}, ctx.Err()
		case <-l.ctx.Done():
			return Change{}, ErrLobbyClosed
		}
	}
}

func (l *Lobby) take() (change Change, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := l.queue.Front()
	if first == nil {
		return change, false
	}
	at := first.Value.(place)
	l.unqueue(at)
	if l.queue.Len() > 0 {
		l.wake() // for another Next that waits
	}
	if listing, there := l.rooms[at.host][at.name]; there {
		l.told[at] = struct{}{}
		return Change{Room: Room{at.host, listing}}, true
	}
	delete(l.told, at)
	return Change{Room: Room{at.host, wire.Listing{Name: at.name}}, Gone: true}, true
}

func (l *Lobby) unqueue(at place) {
	if element := l.queued[at]; element != nil {
		l.queue.Remove(element)
		delete(l.queued, at)
	}
}

func (l *Lobby) wake() {
	select {
	case l.news <- struct{}{}:
	default:
	}
}

// set records a room's listing or, if listing is nil, that the room is gone. It is called
// with mu held.
func (l *Lobby) set(at place, listing *wire.Listing) {
	rooms := l.rooms[at.host]
	_, known := rooms[at.name]
	switch {
	case listing == nil && !known:
		return
	case listing == nil:
		l.count--
		if delete(rooms, at.name); len(rooms) == 0 {
			delete(l.rooms, at.host)
		}
		if _, told := l.told[at]; !told {
			l.unqueue(at) // it came and went before Next returned it
			return
		}
	case !known && (l.count >= mostRooms || len(rooms) >= wire.MaxListed):
		l.omitted++
		return
	case !known:
		l.count++
		if rooms == nil {
			rooms = make(map[string]wire.Listing)
			l.rooms[at.host] = rooms
		}
		fallthrough
	default:
		rooms[at.name] = *listing
	}
	if l.queued[at] == nil {
		l.queued[at] = l.queue.PushBack(at)
	}
	l.wake()
}

// run listens to each host while it is present.
func (l *Lobby) run() {
	hosts := make(map[peer.ID]context.CancelFunc)
	for {
		change, err := l.presence.Next(l.ctx)
		if err != nil {
			return
		}
		stop, known := hosts[change.Peer]
		switch {
		case !change.Joined && known:
			stop()
			delete(hosts, change.Peer)
		case change.Joined && !known && change.Peer != l.node.ID():
			if len(hosts) >= mostHosts {
				l.omit()
				continue
			}
			ctx, stop := context.WithCancel(l.ctx)
			hosts[change.Peer] = stop
			l.hearing.Go(func() { l.attend(ctx, change.Peer) })
		}
	}
}

func (l *Lobby) omit() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.omitted++
}

// attend listens to a host, again after each end of its stream.
func (l *Lobby) attend(ctx context.Context, host peer.ID) {
	defer l.forget(host, nil)
	pause := firstPause
	for {
		heard, err := l.listen(ctx, host)
		if ctx.Err() != nil {
			return
		}
		if heard {
			pause = firstPause // the stream has ended, most probably because its connection was replaced
		}
		if err != nil {
			l.forget(host, nil)
		}
		select {
		case <-time.After(pause + rand.N(pause)):
		case <-ctx.Done():
			return
		}
		pause = min(2*pause, pauseLimit)
	}
}

// forget removes a host's rooms, except for those in but.
func (l *Lobby) forget(host peer.ID, but map[string]struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name := range l.rooms[host] {
		if _, there := but[name]; !there {
			l.set(place{host, name}, nil)
		}
	}
}

// listen reads a host's reports until the stream ends. It returns an error if the host
// has reported nothing, or something malformed.
func (l *Lobby) listen(ctx context.Context, host peer.ID) (heard bool, err error) {
	opening, cancel := context.WithTimeout(ctx, openFor)
	defer cancel()
	s, err := l.node.Open(opening, host, wire.LobbyProtocol)
	if err != nil {
		return false, err
	}
	defer s.Reset()
	defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
	_ = s.SetDeadline(time.Now().Add(openFor))
	if _, err := s.Write(wire.AppendFilter(nil, l.filter)); err != nil {
		return false, err
	}
	messages := wire.NewReader(s, wire.MaxNews)
	first := make(map[string]struct{}) // the rooms of the first report, until it is complete
	for {
		kind, body, err := messages.Next()
		if err != nil {
			if heard {
				err = nil
			}
			return heard, err
		}
		if kind != wire.KindNews {
			return heard, wire.ErrMalformed
		}
		news, err := wire.DecodeNews(body)
		if err == nil {
			err = l.hear(host, news, first)
		}
		if err != nil {
			return heard, err
		}
		if news.Ready && !heard {
			l.forget(host, first)
			heard, first = true, nil
			_ = s.SetDeadline(time.Time{})
		}
	}
}

// hear handles a report of a host.
func (l *Lobby) hear(host peer.ID, news wire.News, first map[string]struct{}) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range news.Gone {
		l.set(place{host, name}, nil)
	}
	for _, listing := range news.Rooms {
		if !l.filter.Passes(&listing) {
			return errors.New("the host tells of a room that was not asked for")
		}
		l.set(place{host, listing.Name}, &listing)
		if first != nil {
			first[listing.Name] = struct{}{}
		}
	}
	return nil
}
