package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/world"
	"github.com/tombolo-net/tombolo/core/world/demo"
)

// roomPlan is a room that is measured: so many players, behind so many connections,
// each of whom sees one in so many. All sail, and send 20 inputs a second.
type roomPlan struct {
	players, links, oneIn int
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

// roomOf measures a room. The players are in this process, the room in another.
func roomOf(p roomPlan) func(rounds int) ([]*figure, error) {
	return func(rounds int) ([]*figure, error) {
		area := fmt.Sprintf("rooms-1in%d/%d-players-%d-links", p.oneIn, p.players, p.links)
		f := func(name, unit string) *figure { return newFigure(area+"/"+name, unit, "ours") }
		tick, seen, cpu, bytes, memory := f("tick-p99", "ms"), f("input-to-seen-p99", "ms"), f("cpu-update", "us"), f("bytes-update", "B"), f("memory-player", "KiB")
		figures := []*figure{tick, seen, cpu, bytes, memory}
		for range rounds {
			m, err := p.measure()
			if err != nil {
				return figures, err
			}
			tick.add("ours", m.tick)
			seen.add("ours", m.seen)
			cpu.add("ours", m.cpu)
			bytes.add("ours", m.bytes)
			memory.add("ours", m.memory)
		}
		return figures, nil
	}
}

// roomMeasure is one round: ms, ms, us, bytes, KiB.
type roomMeasure struct{ tick, seen, cpu, bytes, memory float64 }

func (p roomPlan) measure() (m roomMeasure, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	process, line, err := startHelper(ctx, "room", strconv.Itoa(p.players), fmt.Sprint(p.radius()))
	if err != nil {
		return m, err
	}
	defer process.stop()
	addr, control, _ := strings.Cut(line, " ")
	idle, err := askRoom(control)
	if err != nil {
		return m, err
	}
	bots, stop, err := startBots(ctx, addr, p)
	if err != nil {
		return m, err
	}
	defer stop()
	play, endPlay := context.WithCancel(ctx)
	defer endPlay()
	played := make(chan error, 1)
	go func() { played <- bots.Play(play, roomInputs) }()
	var before roomState
	for _, wait := range []time.Duration{roomSettle, roomTime} {
		select {
		case err := <-played:
			return m, fmt.Errorf("a bot ended: %w", err)
		case <-time.After(wait):
		}
		if wait == roomSettle {
			if before, err = askRoom(control); err != nil {
				return m, err
			}
			bots.Report()
		}
	}
	after, err := askRoom(control)
	if err != nil {
		return m, err
	}
	report := bots.Report()
	endPlay()
	if err := <-played; err != nil {
		return m, err
	}
	updates := float64(after.Updates - before.Updates)
	ms := func(d time.Duration) float64 { return float64(d) / 1e6 }
	return roomMeasure{
		tick: ms(after.P99), seen: ms(report.SeenP99),
		cpu:    float64(after.CPU-before.CPU) / 1e3 / updates,
		bytes:  float64(after.Bytes-before.Bytes) / updates,
		memory: float64(after.Memory-idle.Memory) / 1024 / float64(p.players),
	}, nil
}

// startBots makes a host for each link, and has the players sit.
func startBots(ctx context.Context, addr string, p roomPlan) (*demo.Bots, func(), error) {
	info, err := core.ParsePeer(addr)
	if err != nil {
		return nil, nil, err
	}
	bots := new(demo.Bots)
	room := demo.Room{Name: roomName, Holder: info}
	err = bots.Embark(ctx, room, p.players, p.links, func() (host.Host, error) {
		return libp2p.New(libp2p.NoListenAddrs, libp2p.Transport(tcp.NewTCPTransport), libp2p.DisableRelay(),
			libp2p.ResourceManager(&network.NullResourceManager{}))
	})
	stop := func() { _ = bots.Close() }
	if err != nil {
		stop()
		return nil, nil, err
	}
	return bots, stop, nil
}

// roomState is what the process that holds the room tells of it.
type roomState struct {
	Updates, Bytes uint64
	P99            time.Duration
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

// serveRoom holds a room, and says where it is and where it tells of itself.
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
	go func() { _ = http.Serve(l, tellOf(room)) }()
	return fmt.Sprintf("%s http://%s/", n.Addrs()[0], l.Addr()), func() { _ = rooms.Close(); stop() }, nil
}

func tellOf(room *world.Room) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		var usage syscall.Rusage
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
		s := room.Stats()
		_ = json.NewEncoder(w).Encode(roomState{
			Updates: s.Updates + s.Entered, Bytes: s.Bytes, P99: s.P99,
			CPU:    time.Duration(usage.Utime.Nano() + usage.Stime.Nano()),
			Memory: resident(),
		})
	}
}
