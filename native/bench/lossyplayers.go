package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/world"
	"github.com/tombolo-net/tombolo/core/world/demo"
	"github.com/tombolo-net/tombolo/core/world/seat"
)

// players are the players of a room over a lossy line, each with its own host. Unlike
// demo.Bots, they measure every input and keep every frame: after a stall, the room takes
// several inputs in one tick, and the first of them has waited longest.
type players []*player

// player is one player. The reader of its visit calls tick.
type player struct {
	host  host.Host
	visit *seat.Visit
	seat  *seat.Seat

	mu      sync.Mutex
	sent    [1024]time.Time // of the inputs, by number
	applied uint32          // the last input that the game took
	seen    []time.Duration // of each input, until the player was told that it was taken
	frames  []frame
}

// frame is a tick of the room that a player got.
type frame struct {
	number uint32
	at     time.Time
}

// embark connects the players to the room and seats them. The players that it returns must
// be closed, also after an error.
func embark(ctx context.Context, addr string, c lossyContender) (players, error) {
	info, err := core.ParsePeer(addr)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	all := make(players, lossyPlayers)
	errs := make([]error, len(all))
	var boarding sync.WaitGroup
	for i := range all {
		all[i] = new(player)
		boarding.Go(func() { errs[i] = all[i].board(ctx, info, c) })
	}
	boarding.Wait()
	return all, errors.Join(errs...)
}

func (p *player) board(ctx context.Context, room peer.AddrInfo, c lossyContender) (err error) {
	transport := libp2p.Transport(tcp.NewTCPTransport)
	if c.transport == "quic" {
		transport = libp2p.Transport(quic.NewTransport)
	}
	p.host, err = libp2p.New(libp2p.NoListenAddrs, transport, libp2p.DisableRelay())
	if err != nil {
		return err
	}
	if err := p.host.Connect(ctx, room); err != nil {
		return err
	}
	opts := c.options
	opts.Host, opts.Version, opts.Each = room.ID, demo.Version, p.tick
	if p.visit, err = seat.Connect(ctx, opener{p.host}, roomName, opts); err != nil {
		return err
	}
	p.seat, err = p.visit.Sit(ctx, 0, opts)
	return err
}

// opener is a host with the methods that seats need.
type opener struct{ host.Host }

func (o opener) Open(ctx context.Context, p peer.ID, proto protocol.ID) (network.Stream, error) {
	return o.NewStream(ctx, p, proto)
}

func (all players) close() {
	var closing sync.WaitGroup
	for _, p := range all {
		closing.Go(func() {
			if p.visit != nil {
				_ = p.visit.Close()
			}
			if p.host != nil {
				_ = p.host.Close()
			}
		})
	}
	closing.Wait()
}

// play makes each player send its inputs until ctx ends. The players' inputs are spread
// evenly over the tick, because the wait for the tick is a part of the measurement. play
// returns the first error of a seat that has ended.
func (all players) play(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	const period = time.Second / roomInputs
	var playing sync.WaitGroup
	for i, p := range all {
		playing.Go(func() {
			if err := p.play(ctx, period, period*time.Duration(i)/time.Duration(len(all))); err != nil {
				cancel(fmt.Errorf("player %d: %w", i, err))
			}
		})
	}
	playing.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (p *player) play(ctx context.Context, period, phase time.Duration) error {
	time.Sleep(phase)
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	var input []byte
	for n := 0; ; n++ {
		select {
		case <-ticker.C:
		case <-p.seat.Done():
			return p.seat.Err()
		case <-ctx.Done():
			return nil
		}
		if n%roomInputs == 0 {
			input = demo.AppendInput(input[:0], int8(rand.IntN(9)-4), int8(rand.IntN(9)-4))
		}
		if err := p.send(input); err != nil {
			return err
		}
	}
}

// send sends one input. As in a game, an input that cannot be sent now is dropped.
func (p *player) send(input []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := time.Now()
	number, err := p.seat.Input(input)
	if errors.Is(err, seat.ErrAway) || errors.Is(err, seat.ErrBehind) {
		return nil
	}
	p.sent[number%uint32(len(p.sent))] = at
	return err
}

func (p *player) tick(t *seat.Tick) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if n := len(p.frames); n == 0 || t.Number > p.frames[n-1].number { // an older tick is not shown
		p.frames = append(p.frames, frame{t.Number, now})
	}
	for ; p.applied < t.Applied; p.applied++ {
		p.seen = append(p.seen, now.Sub(p.sent[(p.applied+1)%uint32(len(p.sent))]))
	}
}

// forget makes the next report begin with the newest frame of each player.
func (all players) forget() {
	for _, p := range all {
		p.mu.Lock()
		p.seen, p.frames = nil, p.frames[max(len(p.frames)-1, 0):]
		p.mu.Unlock()
	}
}

// report returns what the players saw since forget.
func (all players) report() (m lossyMeasure) {
	var seen []time.Duration
	var frames [][]frame
	for _, p := range all {
		p.mu.Lock()
		seen, frames = append(seen, p.seen...), append(frames, slices.Clone(p.frames))
		p.mu.Unlock()
	}
	m.SeenMedian, m.SeenP99 = quantile(seen, 0.5), quantile(seen, 0.99)
	m.look(frames, time.Now())
	return m
}

// tickTime is the length of a tick of the room.
const tickTime = time.Second / world.DefaultHz

// look measures, from the frames of each player, how recent the player's view of the world
// was at each moment up to now.
func (m *lossyMeasure) look(frames [][]frame, now time.Time) {
	var began time.Time // of tick 0, estimated from the frame with the shortest delay
	for _, of := range frames {
		for _, f := range of {
			at := f.at.Add(-lossyTrip/2 - time.Duration(f.number)*tickTime)
			if began.IsZero() || at.Before(began) {
				began = at
			}
		}
	}
	var gaps, ages []time.Duration
	var whole, frozen time.Duration
	for _, of := range frames {
		for i, f := range of {
			end := now // a gap that has not ended counts up to now
			if i+1 < len(of) {
				end = of[i+1].at
			}
			gap := end.Sub(f.at)
			gaps = append(gaps, gap)
			whole += gap
			if gap > lossyStall {
				m.Stalls++
			}
			age := f.at.Sub(began) - time.Duration(f.number)*tickTime
			for most := age + gap; age < most; age += time.Millisecond {
				ages = append(ages, age)
				if age > lossyTrip/2+seat.Behind*tickTime {
					frozen += time.Millisecond
				}
			}
		}
	}
	m.GapP99, m.AgeP99 = quantile(gaps, 0.99), quantile(ages, 0.99)
	m.Stalls /= whole.Minutes()
	m.Frozen = float64(frozen) / 1e6 / whole.Minutes()
}

// quantile returns a quantile of d in ms, or zero if d is empty. It sorts d.
func quantile(d []time.Duration, q float64) float64 {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return float64(d[int(q*float64(len(d)-1))]) / 1e6
}
