package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/world"
	"github.com/tombolo-net/tombolo/core/world/demo"
	"github.com/tombolo-net/tombolo/core/world/seat"
)

const (
	// moves is how many rooms lose their host in a round, movesAtOnce of them at a time.
	moves       = 50
	movesAtOnce = 10
)

// roomMoved measures for how long a player gets no tick when the host of its room is
// killed, and when it leaves. A room has 20 ticks a second, 500 entities, a standby and a
// player; its host is a separate process.
func roomMoved(rounds int) ([]*figure, error) {
	var figures []*figure
	for _, m := range []struct {
		name, unit string
		per        time.Duration
		end        func(movingRoom) error
	}{
		{"killed", "s", time.Second, movingRoom.kill},
		{"left", "ms", time.Millisecond, movingRoom.leave},
	} {
		p50 := newFigure("rooms-moved/"+m.name+"-p50", m.unit, "ours")
		worst := newFigure("rooms-moved/"+m.name+"-worst", m.unit, "ours")
		for range rounds {
			gaps, err := moveRooms(m.end)
			if err != nil {
				return figures, err
			}
			p50.add("ours", float64(gaps[len(gaps)/2])/float64(m.per))
			worst.add("ours", float64(gaps[len(gaps)-1])/float64(m.per))
		}
		figures = append(figures, p50, worst)
	}
	return figures, nil
}

// moveRooms ends the hosts of several rooms and returns for how long each room was silent,
// sorted.
func moveRooms(end func(movingRoom) error) ([]time.Duration, error) {
	var mu sync.Mutex
	var gaps []time.Duration
	var failed error
	for range moves / movesAtOnce {
		var moving sync.WaitGroup
		for range movesAtOnce {
			moving.Go(func() {
				gap, err := moveRoom(end)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					failed = err
				}
				gaps = append(gaps, gap)
			})
		}
		moving.Wait()
	}
	slices.Sort(gaps)
	return gaps, failed
}

// movingRoom is a room with its standby and a player.
type movingRoom struct {
	host    *process
	holder  peer.ID
	standby *world.Standby
	seat    *seat.Seat
}

// kill ends the host as kill -9 does.
func (r movingRoom) kill() error { r.host.stop(); return nil }

// leave makes the host shut down.
func (r movingRoom) leave() error { return r.host.stdin.Close() }

// moveRoom makes a room, ends its host, and returns how long no tick came.
func moveRoom(end func(movingRoom) error) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*startLimit)
	defer cancel()
	e := tunnelEnd{ours: true, transport: "tcp"}
	at, stopAt, err := e.node(ctx)
	if err != nil {
		return 0, err
	}
	defer stopAt()
	rooms, err := world.New(at)
	if err != nil {
		return 0, err
	}
	defer rooms.Close()
	host, addr, err := startHelper(ctx, "moving-room", at.ID().String())
	if err != nil {
		return 0, err
	}
	defer host.stop()
	holder, err := core.ParsePeer(addr)
	if err == nil {
		err = at.ConnectPeer(ctx, holder)
	}
	if err != nil {
		return 0, err
	}
	standby, err := rooms.StandBy(holder.ID, &demo.Harbour{}, movingOptions)
	if err != nil {
		return 0, err
	}
	defer standby.Close()
	player, stopPlayer, err := e.node(ctx)
	if err != nil {
		return 0, err
	}
	defer stopPlayer()
	for _, p := range []peer.AddrInfo{holder, {ID: at.ID(), Addrs: at.Host().Addrs()}} {
		if err := player.ConnectPeer(ctx, p); err != nil {
			return 0, err
		}
	}
	s, err := seat.Join(ctx, player, movingOptions.Name, seat.Options{Host: holder.ID, Version: movingOptions.Version})
	if err != nil {
		return 0, err
	}
	defer s.Leave()
	if _, err := s.Input(demo.AppendInput(nil, 2, 1)); err != nil { // so that something changes in each tick
		return 0, err
	}
	return movingRoom{host, holder.ID, standby, s}.silence(ctx, end)
}

// silence ends the host once the standby and the player are ready, and returns how long no
// tick came.
func (r movingRoom) silence(ctx context.Context, end func(movingRoom) error) (time.Duration, error) {
	ended := make(chan error, 1)
	go func() {
		ended <- until(startLimit, func() bool {
			ready, _ := r.standby.Ready()
			return ready && r.standby.Waiting() == 1
		})
		ended <- end(r)
	}()
	var gap time.Duration
	for last := time.Now(); ; last = time.Now() {
		tick, err := r.seat.Next(ctx)
		if err != nil {
			return 0, fmt.Errorf("the player whose room moves: %w", err)
		}
		if tick.Reset && r.seat.Host() != r.holder {
			gap = time.Since(last)
			break
		}
	}
	for range cap(ended) + 1 {
		if err := <-ended; err != nil {
			return 0, err
		}
	}
	return gap, nil
}

var movingOptions = world.Options{Name: "moving", Version: demo.Version, Hidden: true, Radius: 40}

// serveMovingRoom hosts a room with a standby until the process ends.
func serveMovingRoom(ctx context.Context, standby string) (string, func(), error) {
	p, err := peer.Decode(standby)
	if err != nil {
		return "", nil, err
	}
	n, stop, err := tunnelEnd{ours: true, transport: "tcp"}.node(ctx)
	if err != nil {
		return "", nil, err
	}
	rooms, err := world.New(n)
	if err == nil {
		opts := movingOptions
		opts.Standbys = []peer.ID{p}
		_, err = rooms.Host(&demo.Harbour{Buoys: 500}, opts)
	}
	if err != nil {
		stop()
		return "", nil, err
	}
	return n.Addrs()[0].String(), func() { _ = rooms.Close(); stop() }, nil
}
