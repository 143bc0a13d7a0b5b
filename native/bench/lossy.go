package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tombolo-net/tombolo/core/world"
	"github.com/tombolo-net/tombolo/core/world/demo"
	"github.com/tombolo-net/tombolo/core/world/seat"
	"github.com/tombolo-net/tombolo/native"
	"github.com/tombolo-net/tombolo/native/stack"
)

const (
	lossyPlayers = 20 // each with its own connection
	lossyBuoys   = 40 // every player sees all of them, and all boats
	lossyTrip    = 40 * time.Millisecond
	lossySettle  = 2 * time.Second
	lossyTime    = 15 * time.Second
	lossyLimit   = 2 * time.Minute // for one round of one contender

	// lossyStall is the shortest gap between two frames that counts as a stall. A picture
	// that is drawn two ticks behind the room stands still after two ticks; after one
	// more, the player notices.
	lossyStall = (1 + seat.Behind) * tickTime
)

// lossyContender is a way to play in a room.
type lossyContender struct {
	name      string
	transport string       // tcp or quic
	options   seat.Options // of each seat
}

// lossyContenders are the contenders; the first is compared with the others.
var lossyContenders = []lossyContender{
	{name: "datagram", transport: "quic"},
	{name: "stream", transport: "quic", options: seat.Options{StreamOnly: true}},
	{name: "tcp", transport: "tcp"},
}

func findLossyContender(name string) (lossyContender, error) {
	i := slices.IndexFunc(lossyContenders, func(c lossyContender) bool { return c.name == name })
	if i < 0 {
		return lossyContender{}, fmt.Errorf("there is no contender %q", name)
	}
	return lossyContenders[i], nil
}

// lossyMeasure holds what the players of one round saw.
type lossyMeasure struct {
	// SeenMedian and SeenP99 are the time from an input until its player is told that the
	// game has taken it, in ms.
	SeenMedian, SeenP99 float64
	// GapP99 is the time between two frames that a player took, in ms.
	GapP99 float64
	// AgeP99 is a quantile over time: the age, at each moment, of the newest frame that a
	// player has, in ms, counted from the start of the frame's tick.
	AgeP99 float64
	// Stalls is the number of gaps over lossyStall, per player and minute.
	Stalls float64
	// Frozen is the time, in ms per player and minute, in which there was no frame to
	// draw towards, seat.Behind ticks behind the room.
	Frozen float64
	// Down is how much was sent on the line to a player, in bytes per second, with the
	// headers of IP and everything above it, and lost packets included.
	Down float64
}

// roomLosing measures what players see over a line that loses the given percentage of the
// packets in each direction.
func roomLosing(percent int) func(rounds int) ([]*figure, error) {
	return func(rounds int) ([]*figure, error) {
		area := fmt.Sprintf("rooms-lossy/%dpc", percent)
		ctx := context.Background()
		if _, err := runLossy(ctx, "check"); err != nil {
			fmt.Fprintf(os.Stderr, "bench: %s: %v: it needs network namespaces and /dev/net/tun: %v\n", area, errSkipped, err)
			return nil, nil
		}
		var names []string
		for _, c := range lossyContenders {
			names = append(names, c.name)
		}
		f := func(name, unit string) *figure { return newFigure(area+"/"+name, unit, names...) }
		median, p99 := f("input-to-seen-p50", "ms"), f("input-to-seen-p99", "ms")
		gap, age := f("frame-gap-p99", "ms"), f("age-p99", "ms")
		stalls, frozen := f("stalls-player-minute", "1/min"), f("frozen-player-minute", "ms/min")
		down := f("bytes-player-second", "B/s")
		figures := []*figure{median, p99, gap, age, stalls, frozen, down}
		for round := range rounds {
			for i := range names {
				name := names[(i+round)%len(names)]
				var m lossyMeasure
				out, err := runLossy(ctx, name, strconv.Itoa(percent), strconv.Itoa(round))
				if err == nil {
					err = json.Unmarshal(out, &m)
				}
				if err != nil {
					return figures, fmt.Errorf("%s: %w", name, err)
				}
				median.add(name, m.SeenMedian)
				p99.add(name, m.SeenP99)
				gap.add(name, m.GapP99)
				age.add(name, m.AgeP99)
				stalls.add(name, m.Stalls)
				frozen.add(name, m.Frozen)
				down.add(name, m.Down)
			}
		}
		return figures, nil
	}
}

// runLossy runs this program again in its own network (see lossyHelper) and returns its
// output. Everything that the new process makes ends with it, and it ends with this one.
func runLossy(ctx context.Context, args ...string) ([]byte, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, lossyLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, append([]string{helperWord, "lossy"}, args...)...)
	isolate(cmd)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w %s", errors.Join(err, ctx.Err()), strings.TrimSpace(said.String()))
	}
	return out, nil
}

// lossyHelper is the main function of the process that runs the line and the players, in
// its own network. It starts the room in another network.
func lossyHelper(args []string) int {
	m, err := func() (m lossyMeasure, err error) {
		switch {
		case len(args) == 1 && args[0] == "check":
			_, end, err := openLossyLine(0, 0, func() error { return nil })
			if err == nil {
				end()
			}
			return m, err
		case len(args) != 3:
			return m, errors.New("usage: bench tunnel lossy check | contender percent seed")
		}
		c, err := findLossyContender(args[0])
		var percent float64
		if err == nil {
			percent, err = strconv.ParseFloat(args[1], 64)
		}
		var seed uint64
		if err == nil {
			seed, err = strconv.ParseUint(args[2], 10, 64)
		}
		if err != nil {
			return m, err
		}
		return c.measure(percent/100, seed)
	}()
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(m)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// measure runs one round. The line loses nothing until all players are seated.
func (c lossyContender) measure(loss float64, seed uint64) (m lossyMeasure, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), lossyLimit)
	defer cancel()
	var room *process
	var addr string
	line, end, err := openLossyLine(lossyTrip/2, seed, func() (err error) {
		room, addr, err = startHelper(ctx, "lossy-room", c.transport)
		return err
	})
	if err != nil {
		return m, err
	}
	defer end()
	defer room.stop()
	all, err := embark(ctx, addr, c)
	defer all.close()
	if err != nil {
		return m, err
	}
	line.lose(loss)
	play, endPlay := context.WithCancel(ctx)
	defer endPlay()
	played := make(chan error, 1)
	go func() { played <- all.play(play) }()
	var down uint64
	for _, wait := range []time.Duration{lossySettle, lossyTime} {
		select {
		case err := <-played:
			return m, fmt.Errorf("a player ended: %w", err)
		case <-time.After(wait):
		}
		if wait == lossySettle {
			down = line.down.Load()
			all.forget()
		}
	}
	m = all.report()
	m.Down = float64(line.down.Load()-down) / lossyPlayers / lossyTime.Seconds()
	endPlay()
	return m, <-played
}

// serveLossyRoom hosts a room at the far end of the line and returns its address.
func serveLossyRoom(ctx context.Context, transport string) (string, func(), error) {
	listen := stack.ListenOn(lossyFar, 0, -1)[:1]
	if transport == "quic" {
		listen = stack.ListenOn(lossyFar, -1, 0)[:1]
	}
	n, err := native.New(ctx, native.Options{Listen: listen, NoMDNS: true, NoPortMapping: true})
	if err != nil {
		return "", nil, err
	}
	rooms, err := world.New(n)
	if err == nil {
		_, err = rooms.Host(&demo.Harbour{Buoys: lossyBuoys, Seed: 1}, world.Options{
			Name: roomName, Version: demo.Version, Players: lossyPlayers,
		})
	}
	if err != nil {
		return "", nil, errors.Join(err, n.Close())
	}
	return n.Addrs()[0].String(), func() { _ = rooms.Close(); _ = n.Close() }, nil
}
