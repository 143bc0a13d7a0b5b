package world

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-datastore/query"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/internal/behind"
	"github.com/tombolo-net/tombolo/core/world/wire"
)

const (
	// feedEvery is how often the standbys receive what has changed. A host that crashes
	// loses what changed since, and what was on its way.
	feedEvery = 200 * time.Millisecond
	// sealEvery is how often the host signs what it has sent.
	sealEvery = time.Second
	// feedStall is how long a standby may take to read one batch.
	feedStall = 10 * time.Second
	// mostBatches bounds the batches that wait for a slow standby.
	mostBatches = 256
	// feedPart is the size, in bytes, from which on records are sent in a message of
	// their own.
	feedPart = 64 << 10
)

// feed is a host's stream to one standby.
type feed struct {
	room   *Room
	peer   peer.ID
	stream network.Stream
	key    crypto.PrivKey
	kick   chan struct{}
	ended  chan struct{}
	once   sync.Once
	took   chan wire.Line // the line by which the standby has taken over
	// handing is set while the room waits for the standby to take over.
	handing atomic.Bool

	mu     sync.Mutex
	queue  []*moment
	synced bool // it has received the whole world

	// The fields of the writer.
	chain  wire.Chain
	number uint32
	sealed time.Time
	out    []byte
	line   []byte // the message that was last sent
}

// serveStandby runs the stream of a peer that wants to stand by.
func (rs *Rooms) serveStandby(s network.Stream) {
	p := s.Conn().RemotePeer()
	messages, hello, ok := readHello(s)
	if !ok {
		return
	}
	rs.mu.Lock()
	r, stands := rs.rooms[hello.Room], rs.stands[hello.Room]
	rs.mu.Unlock()
	if r == nil && stands != nil {
		r = stands.takesOver(p, s)
	}
	if r == nil {
		refuse(s, wire.NoRoom)
		return
	}
	switch line, _ := r.claims(); {
	case r.opts.Version != hello.Version:
		refuse(s, wire.Version)
		return
	case !line.Names(p):
		refuse(s, wire.Refused)
		return
	}
	f := &feed{
		room: r, peer: p, stream: s, key: r.key(),
		kick: make(chan struct{}, 1), ended: make(chan struct{}), took: make(chan wire.Line, 1),
	}
	if !r.addFeed(f) {
		refuse(s, wire.Closed)
		return
	}
	defer r.dropFeed(f)
	var reading sync.WaitGroup
	reading.Go(func() { f.read(messages) })
	if err := f.write(); err != nil {
		r.opts.Logger.Warn("a standby is not fed any more", "room", r.opts.Name, "standby", p, "error", err)
	}
	f.end()
	reading.Wait()
}

// addFeed starts to feed a standby, in place of an earlier stream of it.
func (r *Room) addFeed(f *feed) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return false
	}
	if before := r.feeds[f.peer]; before != nil {
		before.end()
	}
	if r.feeds == nil {
		r.feeds = make(map[peer.ID]*feed)
	}
	r.feeds[f.peer] = f
	r.serving.Add(1)
	r.calls = append(r.calls, func() { r.keep.begin(f) })
	return true
}

func (r *Room) dropFeed(f *feed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.feeds[f.peer] == f {
		delete(r.feeds, f.peer)
	}
	r.serving.Done()
}

func (f *feed) end() {
	f.once.Do(func() {
		close(f.ended)
		_ = f.stream.Reset()
	})
}

func (f *feed) isEnded() bool {
	select {
	case <-f.ended:
		return true
	default:
		return false
	}
}

func (f *feed) nudge() {
	select {
	case f.kick <- struct{}{}:
	default:
	}
}

// push queues a moment for the standby. It is called by the tick.
func (f *feed) push(m *moment) {
	f.mu.Lock()
	full := len(f.queue) >= mostBatches
	if !full {
		f.queue = append(f.queue, m)
	}
	f.mu.Unlock()
	if full {
		f.room.opts.Logger.Warn("a standby is too slow for its room", "room", f.room.opts.Name, "standby", f.peer)
		f.end()
	}
	f.nudge()
}

// isSynced reports whether the standby could take over.
func (f *feed) isSynced() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.synced && !f.isEnded()
}

// read waits for the standby to report that it has taken over.
func (f *feed) read(messages *wire.Reader) {
	defer f.end()
	kind, body, err := messages.Next()
	if err != nil || kind != wire.KindLine {
		return
	}
	l, err := wire.DecodeVerified(body, f.room.opts.Name)
	if err != nil || l.Newest().Host != f.peer {
		f.room.opts.Logger.Warn("a standby claims a room without right", "room", f.room.opts.Name, "standby", f.peer, "error", err)
		return
	}
	f.took <- l
	if !f.handing.Load() {
		f.room.hear(l)
	}
}

// write sends the standby the line and what is queued, until the feed ends.
func (f *feed) write() error {
	for {
		select {
		case <-f.kick:
		case <-f.ended:
			return nil
		}
		if _, line := f.room.claims(); string(line) != string(f.line) {
			f.line = line
			if err := f.send(line); err != nil {
				return err
			}
		}
		f.mu.Lock()
		queue := f.queue
		f.queue = nil
		f.mu.Unlock()
		for _, m := range queue {
			if err := f.batch(m); err != nil {
				return err
			}
		}
	}
}

func (f *feed) send(b []byte) error {
	if err := f.stream.SetWriteDeadline(time.Now().Add(feedStall)); err != nil {
		return err
	}
	_, err := f.stream.Write(b)
	return err
}

// batch sends a moment. Before the first one it sends the boards, and the players that
// only the store has.
func (f *feed) batch(m *moment) error {
	f.out = f.out[:0]
	f.number++
	if f.number == 1 {
		if err := f.stored(); err != nil {
			return fmt.Errorf("read what is kept of players: %w", err)
		}
		err := f.room.boards.each(func(key string, value []byte) error {
			return f.record(func(dst []byte) []byte { return wire.AppendBoard(dst, key, value) })
		})
		if err != nil {
			return err
		}
	}
	if err := m.each(f.record); err != nil {
		return err
	}
	if err := f.part(); err != nil {
		return err
	}
	mark := wire.Mark{Number: f.number, Tick: m.tick, Flags: m.flags, Sum: f.chain.End(f.number, m.tick, m.flags)}
	if now := time.Now(); now.Sub(f.sealed) >= sealEvery || m.flags != 0 {
		f.sealed = now
		line, _ := f.room.claims()
		if err := mark.Sign(f.key, f.room.opts.Name, line.Newest().Epoch); err != nil {
			return err
		}
	}
	if err := f.send(wire.AppendMark(nil, mark)); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.synced = true
	return nil
}

// record adds a record to what is sent next.
func (f *feed) record(add func([]byte) []byte) error {
	from := len(f.out)
	f.out = add(f.out)
	if size := len(f.out) - from; size > wire.MaxFeed/2 {
		return fmt.Errorf("a record of %d bytes; the host can hand over %d at most", size, wire.MaxFeed/2)
	}
	if len(f.out) >= feedPart {
		return f.part()
	}
	return nil
}

// part sends the records so far.
func (f *feed) part() error {
	if len(f.out) == 0 {
		return nil
	}
	f.chain.Add(f.out)
	err := f.send(wire.AppendRecords(nil, f.out))
	f.out = f.out[:0]
	return err
}

// stored adds the players in the store, most of which are not in memory.
func (f *feed) stored() error {
	k := f.room.keep
	if k.store == nil {
		return nil
	}
	return behind.Each(k.ctx, k.store, query.Query{Prefix: k.root.ChildString("p").String()}, func(name string, value []byte) error {
		key, err := k.parsePlayer(name)
		if err != nil {
			return err
		}
		return f.record(func(dst []byte) []byte { return wire.AppendPlayer(dst, key.peer, key.number, value) })
	})
}

// each calls yield with a function for each record of the moment, which appends the
// record.
func (m *moment) each(yield func(func([]byte) []byte) error) error {
	data := m.data
	for _, s := range m.entities {
		e := uint32(s.e)
		if s.size < 0 {
			if err := yield(func(dst []byte) []byte { return wire.AppendGone(dst, e) }); err != nil {
				return err
			}
			continue
		}
		var one []byte
		one, data = data[:s.size], data[s.size:]
		x, y := readPlace(one)
		if err := yield(func(dst []byte) []byte { return wire.AppendEntity(dst, e, x, y, one[8:]) }); err != nil {
			return err
		}
	}
	for _, p := range m.players {
		if err := yield(func(dst []byte) []byte { return wire.AppendPlayer(dst, p.key.peer, p.key.number, p.data) }); err != nil {
			return err
		}
	}
	for _, in := range m.inputs {
		if err := yield(func(dst []byte) []byte {
			return wire.AppendInputSeq(dst, in.key.peer, in.key.number, in.program, in.seq)
		}); err != nil {
			return err
		}
	}
	for _, b := range m.bans {
		if err := yield(func(dst []byte) []byte { return wire.AppendBan(dst, b.peer, b.banned) }); err != nil {
			return err
		}
	}
	for name, value := range m.values {
		if err := yield(func(dst []byte) []byte { return wire.AppendValue(dst, name, value) }); err != nil {
			return err
		}
	}
	for key, value := range m.boards {
		if err := yield(func(dst []byte) []byte { return wire.AppendBoard(dst, key, value) }); err != nil {
			return err
		}
	}
	return nil
}
