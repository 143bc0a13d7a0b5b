package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/world"
	"github.com/tombolo-net/tombolo/core/world/demo"
)

// roomPlan is a room to measure: its number of players, the number of connections they
// share, and which share of the others each player sees: one in oneIn. All players sail and
// send 20 inputs a second.
type roomPlan struct {
	players, links, oneIn int
	rivals                bool // measure all roomContenders, not only ours; needs a link per player
}

const (
	roomName   = "harbour"
	roomSize   = 1000
	roomInputs = 20 // a second
	roomSettle = 5 * time.Second
	roomTime   = 10 * time.Second
)

func (p roomPlan) radius() float64 {
	return math.Sqrt(roomSize * roomSize / float64(p.oneIn) / math.Pi)
}

// roomOf measures a room. The players are in this process, the room in another one.
func roomOf(p roomPlan) func(rounds int) ([]*figure, error) {
	return func(rounds int) ([]*figure, error) {
		contenders := roomContenders
		if !p.rivals {
			contenders = slices.DeleteFunc(slices.Clone(contenders), func(c roomContender) bool { return c.name != "ours" })
		}
		area := fmt.Sprintf("rooms-1in%d/%d-players-%d-links", p.oneIn, p.players, p.links)
		figures := newRoomFigures(area, contenders)
		missing := make(map[string]bool)
		for round := range rounds {
			for i := range contenders {
				c := contenders[(i+round)%len(contenders)]
				if missing[c.name] {
					continue
				}
				m, err := p.measure(c)
				if errors.Is(err, errSkipped) {
					fmt.Fprintf(os.Stderr, "bench: %s: %s: %v\n", area, c.name, err)
					missing[c.name] = true
					continue
				}
				if err != nil {
					return figures.all(), fmt.Errorf("%s: %w", c.name, err)
				}
				figures.add(c.name, m)
			}
		}
		return figures.all(), nil
	}
}

// roomMeasure is the result of one round of a contender. The CPU time is that of the room's
// process.
type roomMeasure struct {
	tick, seen float64 // 99th percentiles, in ms
	cpu        float64 // µs per update
	bytes      float64 // per update
	memory     float64 // KiB per player
	// Per player and second. They show what the cost of an update does not: our room
	// updates far entities less often than every tick, the rivals do not.
	playerUpdates, playerBytes float64
	playerCPU                  float64 // µs
}

type roomFigures struct {
	tick, seen, cpu, bytes, memory, playerUpdates, playerBytes, playerCPU *figure
}

func newRoomFigures(area string, contenders []roomContender) *roomFigures {
	var names []string
	for _, c := range contenders {
		names = append(names, c.name)
	}
	f := func(name, unit string) *figure { return newFigure(area+"/"+name, unit, names...) }
	figures := &roomFigures{
		f("tick-p99", "ms"), f("input-to-seen-p99", "ms"), f("cpu-update", "us"), f("bytes-update", "B"), f("memory-player", "KiB"),
		f("updates-player", "1/s"), f("bytes-player", "B/s"), f("cpu-player", "us/s"),
	}
	figures.playerUpdates.more = true
	return figures
}

func (f *roomFigures) all() []*figure {
	return []*figure{f.tick, f.seen, f.cpu, f.bytes, f.memory, f.playerUpdates, f.playerBytes, f.playerCPU}
}

func (f *roomFigures) add(contender string, m roomMeasure) {
	f.tick.add(contender, m.tick)
	f.seen.add(contender, m.seen)
	f.cpu.add(contender, m.cpu)
	f.bytes.add(contender, m.bytes)
	f.memory.add(contender, m.memory)
	f.playerUpdates.add(contender, m.playerUpdates)
	f.playerBytes.add(contender, m.playerBytes)
	f.playerCPU.add(contender, m.playerCPU)
}

// roomContender hosts a room in a separate process.
type roomContender struct {
	name string
	// start returns the line that the process printed: the room's address and the URL of
	// its roomState.
	start func(ctx context.Context, p roomPlan) (*process, string, error)
	// embark lets the players join.
	embark func(ctx context.Context, addr string, p roomPlan) (crew, error)
}

// crew is the players of a room.
type crew interface {
	// Play sends the given number of inputs a second from each player, until ctx ends or
	// a player is lost.
	Play(ctx context.Context, inputs int) error
	// seen returns the 99th percentile, since the last call, of the time from an input
	// until its player is told that the game has taken it.
	seen() time.Duration
	// count sets the fields that the crew counts and the room does not.
	count(*roomState)
	Close() error
}

var roomContenders = []roomContender{
	{"ours", startRoom(roomPlan.radius), startBots},
	{"colyseus", startColyseus, embarkColyseus},
	{"centrifuge", startCentrifuge, embarkCentrifuge},
	{"ours-all", startRoom(func(roomPlan) float64 { return 0 }), startBots}, // every player sees everything
}

func startRoom(radius func(roomPlan) float64) func(context.Context, roomPlan) (*process, string, error) {
	return func(ctx context.Context, p roomPlan) (*process, string, error) {
		return startHelper(ctx, "room", strconv.Itoa(p.players), fmt.Sprint(radius(p)))
	}
}

func (p roomPlan) measure(c roomContender) (m roomMeasure, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	process, line, err := c.start(ctx, p)
	if err != nil {
		return m, err
	}
	defer process.stop()
	addr, control, _ := strings.Cut(line, " ")
	idle, err := askRoom(control)
	if err != nil {
		return m, err
	}
	crew, err := c.embark(ctx, addr, p)
	if err != nil {
		return m, err
	}
	defer func() { _ = crew.Close() }()
	before, after, seen, err := play(ctx, crew, control)
	if err != nil {
		return m, err
	}
	ms := func(d time.Duration) float64 { return float64(d) / 1e6 }
	cpu := float64(after.CPU-before.CPU) / 1e3
	updates, bytes := float64(after.Updates-before.Updates), float64(after.Bytes-before.Bytes)
	playerSeconds := float64(p.players) * roomTime.Seconds()
	return roomMeasure{
		tick: ms(after.P99), seen: ms(seen),
		cpu: cpu / updates, bytes: bytes / updates,
		memory:        (float64(after.Memory) - float64(idle.Memory)) / 1024 / float64(p.players),
		playerUpdates: updates / playerSeconds, playerBytes: bytes / playerSeconds, playerCPU: cpu / playerSeconds,
	}, nil
}

// play lets the crew play. It returns the state of the room before and after roomTime, and
// what the crew has seen in between.
func play(ctx context.Context, crew crew, control string) (before, after roomState, seen time.Duration, err error) {
	ctx, end := context.WithCancel(ctx)
	defer end()
	played := make(chan error, 1)
	go func() { played <- crew.Play(ctx, roomInputs) }()
	for _, wait := range []time.Duration{roomSettle, roomTime} {
		select {
		case err := <-played:
			return before, after, 0, fmt.Errorf("a player ended: %w", err)
		case <-time.After(wait):
		}
		before = after
		if after, err = askRoom(control); err != nil {
			return before, after, 0, err
		}
		crew.count(&after)
		seen = crew.seen()
	}
	end()
	return before, after, seen, <-played
}

// bots are the players of our rooms.
type bots struct{ demo.Bots }

func (b *bots) seen() time.Duration { return b.Report().SeenP99 }

func (b *bots) count(*roomState) {} // our room counts

// startBots makes a host for each link and seats the players.
func startBots(ctx context.Context, addr string, p roomPlan) (crew, error) {
	info, err := core.ParsePeer(addr)
	if err != nil {
		return nil, err
	}
	b := new(bots)
	room := demo.Room{Name: roomName, Holder: info}
	err = b.Embark(ctx, room, p.players, p.links, func() (host.Host, error) {
		return libp2p.New(libp2p.NoListenAddrs, libp2p.Transport(tcp.NewTCPTransport), libp2p.DisableRelay(),
			libp2p.ResourceManager(&network.NullResourceManager{}))
	})
	if err != nil {
		_ = b.Close()
		return nil, err
	}
	return b, nil
}

// roomState is the state that the room's process reports.
type roomState struct {
	Updates, Bytes uint64
	P99            time.Duration // of its ticks since it was last asked
	CPU            time.Duration
	Memory         uint64 // resident, in bytes
}

func askRoom(control string) (s roomState, err error) {
	answer, err := http.Get(control)
	if err != nil {
		return s, err
	}
	defer answer.Body.Close()
	return s, json.NewDecoder(answer.Body).Decode(&s)
}

// serveRoom hosts a room and returns its address and the URL of its roomState.
func serveRoom(ctx context.Context, players, radius string) (string, func(), error) {
	n, stop, err := tunnelEnd{ours: true, transport: "tcp"}.node(ctx)
	if err != nil {
		return "", nil, err
	}
	count, err := strconv.Atoi(players)
	var r float64
	if err == nil {
		r, err = strconv.ParseFloat(radius, 32)
	}
	var rooms *world.Rooms
	if err == nil {
		rooms, err = world.New(n)
	}
	var room *world.Room
	if err == nil {
		room, err = rooms.Host(&demo.Harbour{Size: roomSize}, world.Options{
			Name: roomName, Version: demo.Version, Players: count, Radius: float32(r), Visible: 2048, Budget: 64 << 10,
		})
	}
	var l net.Listener
	if err == nil {
		l, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		stop()
		return "", nil, err
	}
	took := new(durations)
	go watchTicks(room, took)
	go func() {
		_ = http.Serve(l, tellOf(func() roomState {
			s := room.Stats()
			return roomState{Updates: s.Updates + s.Entered, Bytes: s.Bytes, P99: took.take(0.99)}
		}))
	}()
	return fmt.Sprintf("%s http://%s/", n.Addrs()[0], l.Addr()), func() { _ = rooms.Close(); stop() }, nil
}

// watchTicks notes how long each tick of the room takes. (The durations in Stats include
// the ticks while players joined.)
func watchTicks(room *world.Room, took *durations) {
	last := uint32(0)
	for {
		select {
		case <-room.Done():
			return
		case <-time.After(time.Second / world.DefaultHz / 3):
		}
		if s := room.Stats(); s.Tick != last {
			last = s.Tick
			p := s.Phases
			took.add(p.Inputs + p.Game + p.Encoding + p.Looking + p.Telling)
		}
	}
}

// tellOf answers requests with the state, and with the CPU time and memory of the process.
func tellOf(state func() roomState) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		s := state()
		s.CPU = usageNow().cpu
		s.Memory = resident()
		_ = json.NewEncoder(w).Encode(s)
	}
}
