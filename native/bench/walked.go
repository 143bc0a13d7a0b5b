package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/world"
	"github.com/tombolo-net/tombolo/core/world/demo"
	"github.com/tombolo-net/tombolo/core/world/seat"
)

const (
	// crossings is how often the player of a round walks to the other host.
	crossings = 50
	// crossEvery is how many ticks the player stays, and walkSteers the interval of its
	// inputs.
	crossEvery = 8
	walkSteers = 10 * time.Millisecond
)

// roomWalked measures for how long a player that walks between two rooms gets no tick, and
// for how long its inputs wait. The hosts of the rooms are separate processes. The rooms
// have 20 ticks a second and 500 entities.
func roomWalked(rounds int) ([]*figure, error) {
	names := []string{"gap", "gap-ticks", "inputs"}
	units := []string{"ms", "ticks", "ms"}
	var figures []*figure
	for i, name := range names {
		for _, of := range []string{"-p50", "-worst"} {
			figures = append(figures, newFigure("rooms-walked/"+name+of, units[i], "ours"))
		}
	}
	for range rounds {
		gaps, waits, err := walkRooms()
		if err != nil {
			return figures, err
		}
		in := func(d time.Duration, per time.Duration) float64 { return float64(d) / float64(per) }
		period := time.Second / world.DefaultHz
		for i, of := range []struct {
			all []time.Duration
			per time.Duration
		}{{gaps, time.Millisecond}, {gaps, period}, {waits, time.Millisecond}} {
			figures[2*i].add("ours", in(of.all[len(of.all)/2], of.per))
			figures[2*i+1].add("ours", in(of.all[len(of.all)-1], of.per))
		}
	}
	return figures, nil
}

// walkRooms makes a player walk to and fro. It returns for how long, each time, no tick came
// and no input was taken, each list sorted.
func walkRooms() (gaps, waits []time.Duration, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 4*startLimit)
	defer cancel()
	n, stop, err := tunnelEnd{ours: true, transport: "tcp"}.node(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer stop()
	var hosts []peer.AddrInfo
	for i, name := range walkingRooms {
		args := []string{"walking-room", name}
		if i > 0 {
			args = append(args, hosts[0].Addrs[0].String()+"/p2p/"+hosts[0].ID.String())
		}
		host, addr, err := startHelper(ctx, args...)
		if err != nil {
			return nil, nil, err
		}
		defer host.stop()
		info, err := core.ParsePeer(addr)
		if err == nil {
			err = n.ConnectPeer(ctx, info)
		}
		if err != nil {
			return nil, nil, err
		}
		hosts = append(hosts, info)
	}
	s, err := seat.Join(ctx, n, walkingRooms[0], seat.Options{Host: hosts[0].ID, Version: demo.Version})
	if err != nil {
		return nil, nil, err
	}
	defer s.Leave()
	return walkToAndFro(ctx, s, hosts)
}

var walkingRooms = []string{"west", "east"}

func walkToAndFro(ctx context.Context, s *seat.Seat, hosts []peer.AddrInfo) (gaps, waits []time.Duration, err error) {
	steering, cancel := context.WithCancel(ctx)
	steered := make(chan struct{})
	defer func() { cancel(); <-steered }()
	go func() {
		defer close(steered)
		for ; steering.Err() == nil; time.Sleep(walkSteers) {
			_, _ = s.Input(demo.AppendInput(nil, 2, 1)) // if this fails, the next input is sent
		}
	}()
	at, here := 0, 0
	last, applied := time.Now(), time.Now()
	for len(gaps) < crossings || len(waits) < crossings {
		tick, err := s.Next(ctx)
		if err != nil {
			return nil, nil, fmt.Errorf("the player that walks: %w", err)
		}
		now := time.Now()
		if s.Room() != walkingRooms[at] && tick.Reset {
			gaps = append(gaps, now.Sub(last))
			at, here = 1-at, 0
		}
		if last = now; tick.Applied > 0 {
			if len(waits) < len(gaps) {
				waits = append(waits, now.Sub(applied))
			}
			applied = now
		}
		word := map[int]string{crossEvery / 2: "ready", crossEvery: "walk"}[here]
		if here++; word != "" && len(gaps) < crossings {
			if _, err := s.Input(fmt.Appendf(nil, "%s %s %s", word, walkingRooms[1-at], hosts[1-at].ID)); err != nil {
				return nil, nil, err
			}
		}
	}
	slices.Sort(gaps)
	slices.Sort(waits)
	return gaps, waits, nil
}

// walked is a harbour whose players choose where to walk.
type walked struct {
	demo.Harbour
	room atomic.Pointer[world.Room]
}

// Input handles "ready" or "walk" followed by a room and its host, besides the harbour's
// own inputs.
func (w *walked) Input(p *world.Player, data []byte) {
	words := strings.Fields(string(data))
	if len(words) != 3 {
		w.Harbour.Input(p, data)
		return
	}
	host, err := peer.Decode(words[2])
	if err != nil {
		p.Kick(err.Error())
		return
	}
	to := world.Area{Room: words[1], Host: host}
	if words[0] == "walk" {
		p.Walk(to, nil)
		return
	}
	w.room.Load().NameNeighbours(host)
	p.Ready(to)
}

// Stays ends the measurement, because a player that stays cannot be measured.
func (w *walked) Stays(p *world.Player, _ world.Area, why error) { p.Kick(why.Error()) }

// serveWalkingRoom hosts one of the rooms until the process ends. The second one gets the
// address of the first.
func serveWalkingRoom(ctx context.Context, name string, neighbour []string) (string, func(), error) {
	n, stop, err := tunnelEnd{ours: true, transport: "tcp"}.node(ctx)
	if err != nil {
		return "", nil, err
	}
	opts := world.Options{Name: name, Version: demo.Version, Hidden: true, Radius: 40, Inputs: 1000}
	for _, addr := range neighbour {
		p, err := n.Connect(ctx, addr)
		if err != nil {
			stop()
			return "", nil, err
		}
		opts.Neighbours = append(opts.Neighbours, p)
	}
	rooms, err := world.New(n)
	if err != nil {
		stop()
		return "", nil, err
	}
	game := &walked{Harbour: demo.Harbour{Buoys: 500}}
	room, err := rooms.Host(game, opts)
	if err != nil {
		stop()
		return "", nil, err
	}
	game.room.Store(room)
	return n.Addrs()[0].String(), func() { _ = rooms.Close(); stop() }, nil
}
