package world

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/dispatch"
	"github.com/tombolo-net/tombolo/core/world/wire"
)

// How rooms are found: a peer that holds one is present on the type of all rooms and on
// that of its name. seat.Watch sees which peers are present there, and opens a stream of
// wire.LobbyProtocol to each: the peer sends a list of its rooms, and then the changes.

// announced is a node's presence on types while it holds a room.
type announced struct{ subs []*dispatch.Subscription }

// announce makes the node visible to peers that look for one of the types.
func (rs *Rooms) announce(types ...string) (*announced, error) {
	a := &announced{}
	for _, typ := range types {
		// No messages are expected on these types; any that come are dropped.
		sub, err := rs.node.Subscribe(typ, dispatch.Buffer(1))
		if err != nil {
			return nil, errors.Join(err, a.close())
		}
		a.subs = append(a.subs, sub)
	}
	return a, nil
}

func (a *announced) close() error {
	var errs []error
	for _, sub := range a.subs {
		errs = append(errs, sub.Close())
	}
	return errors.Join(errs...)
}

// Listings returns the descriptions of the node's rooms that other peers receive, in the
// order of their names.
func (rs *Rooms) Listings() []wire.Listing {
	list := []wire.Listing{}
	for _, r := range rs.Rooms() {
		if !r.opts.Hidden && len(list) < wire.MaxListed {
			list = append(list, r.listing())
		}
	}
	return list
}

func (r *Room) listing() wire.Listing {
	r.mu.Lock()
	defer r.mu.Unlock()
	return wire.Listing{
		Name: r.opts.Name, Version: r.opts.Version, Tags: r.tags, Password: r.opts.Password != "", Hz: r.opts.Hz,
		Players: r.stats.Players, MaxPlayers: r.opts.Players,
		Spectators: r.stats.Spectators, MaxSpectators: r.opts.Spectators,
	}
}

// Tags returns the tags that other peers see, besides the numbers of the room.
func (r *Room) Tags() map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.tags)
}

// SetTags changes the tags that other peers see, for example the map; see Options.Tags. A
// peer that watches the rooms of the mesh gets the change within a second. The game may
// call it.
func (r *Room) SetTags(tags map[string]string) error {
	if err := wire.CheckTags(tags); err != nil {
		return err
	}
	tags = maps.Clone(tags)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tags = tags
	return nil
}

const (
	// tellEvery is how often the watchers get what has changed.
	tellEvery = 500 * time.Millisecond
	// tellLimit is how long a watcher may take to read it.
	tellLimit = 10 * time.Second
	// mostWatchers bounds the watchers, and mostOfPeer the watchers of one peer.
	mostWatchers = 1024
	mostOfPeer   = 8
	// roomsAtOnce bounds the rooms in a message.
	roomsAtOnce = 16
)

// lobby sends the list of the node's rooms to other peers, and to the node itself.
type lobby struct {
	listings func() []wire.Listing

	mu       sync.Mutex
	watchers map[peer.ID]int
	count    int
	now      *listed // nil while nobody watches
	stop     chan struct{}
	closed   chan struct{}
	close    func() // closes closed
}

func (l *lobby) begin(listings func() []wire.Listing) {
	l.listings, l.closed = listings, make(chan struct{})
	l.close = sync.OnceFunc(func() { close(l.closed) })
}

// listed is the list of open rooms, valid until next is closed.
type listed struct {
	rooms map[string]wire.Listing
	next  chan struct{}
}

// enter adds a watcher, if there is room for it.
func (l *lobby) enter(p peer.ID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count >= mostWatchers || l.watchers[p] >= mostOfPeer {
		return false
	}
	if l.count++; l.count == 1 {
		l.watchers, l.stop = make(map[peer.ID]int), make(chan struct{})
		go l.run(l.stop)
	}
	l.watchers[p]++
	l.look()
	return true
}

func (l *lobby) leave(p peer.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watchers[p]--; l.watchers[p] == 0 {
		delete(l.watchers, p)
	}
	if l.count--; l.count == 0 {
		close(l.stop)
		l.now = nil
	}
}

// run looks for changes while there are watchers.
func (l *lobby) run(stop chan struct{}) {
	ticker := time.NewTicker(tellEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-stop:
			return
		}
		l.mu.Lock()
		if l.stop == stop && l.count > 0 {
			l.look()
		}
		l.mu.Unlock()
	}
}

// look updates the list of rooms. It is called with mu held.
func (l *lobby) look() {
	rooms := make(map[string]wire.Listing)
	for _, listing := range l.listings() {
		rooms[listing.Name] = listing
	}
	if l.now != nil {
		if maps.EqualFunc(rooms, l.now.rooms, wire.Listing.Equal) {
			return
		}
		close(l.now.next)
	}
	l.now = &listed{rooms, make(chan struct{})}
}

func (l *lobby) current() *listed {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

// serve sends a peer the rooms that it asks for, until the peer ends the stream.
func (l *lobby) serve(p peer.ID, s network.Stream) {
	messages, filter, ok := readFirst(s, wire.MaxFilter, wire.KindFilter, wire.DecodeFilter)
	if !ok {
		return
	}
	if !l.enter(p) {
		_ = s.ResetWithError(network.StreamResourceLimitExceeded)
		return
	}
	defer l.leave(p)
	defer s.Reset()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _, _ = messages.Next() // the peer has nothing more to say
	}()
	w := watcher{filter: filter, told: make(map[string]wire.Listing)}
	for {
		now := l.current()
		_ = s.SetWriteDeadline(time.Now().Add(tellLimit))
		if _, err := s.Write(w.tell(now.rooms)); err != nil {
			return
		}
		select {
		case <-now.next:
		case <-gone:
			return
		case <-l.closed:
			return
		}
	}
}

// watcher is a peer that watches the rooms, with what it was sent.
type watcher struct {
	filter wire.Filter
	told   map[string]wire.Listing
	begun  bool
}

// tell returns the messages that bring the watcher up to date with these rooms.
func (w *watcher) tell(rooms map[string]wire.Listing) (messages []byte) {
	var news wire.News
	for name := range w.told {
		if room, there := rooms[name]; !there || !w.filter.Passes(&room) {
			delete(w.told, name)
			news.Gone = append(news.Gone, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(rooms)) {
		room := rooms[name]
		if was, told := w.told[name]; !w.filter.Passes(&room) || told && room.Equal(was) {
			continue
		}
		w.told[name] = room
		if news.Rooms = append(news.Rooms, room); len(news.Rooms) == roomsAtOnce {
			messages = wire.AppendNews(messages, news)
			news = wire.News{}
		}
	}
	news.Ready, w.begun = !w.begun, true
	if news.Ready || len(news.Rooms) > 0 || len(news.Gone) > 0 {
		messages = wire.AppendNews(messages, news)
	}
	return messages
}
