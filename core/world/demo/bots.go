package demo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/tombolo-net/tombolo/core/world/seat"
)

// Bots are players of a harbour that steer at random and measure what a person would
// notice: how long it takes from an input until the host confirms it to the player. All
// methods may be called concurrently.
type Bots struct {
	hosts   []host.Host
	visits  []*seat.Visit
	bots    []*bot
	ticks   atomic.Uint64
	updates atomic.Uint64
	inputs  atomic.Uint64
	refused atomic.Uint64
	seen    histogram
}

// bot is one player. Its visit's reader calls tick.
type bot struct {
	all  *Bots
	seat *seat.Seat
	sent [64]atomic.Int64 // when each of the last inputs was sent
}

// Sit takes a number of seats on the visit, all at once, and adds them to the bots.
func (b *Bots) Sit(ctx context.Context, v *seat.Visit, seats int, opts seat.Options) error {
	b.visits = append(b.visits, v)
	bots, errs := make([]*bot, seats), make([]error, seats)
	var sitting sync.WaitGroup
	for i := range bots {
		bots[i] = &bot{all: b}
		sitting.Go(func() {
			opts := opts
			opts.Each = bots[i].tick
			var err error
			if bots[i].seat, err = v.Sit(ctx, uint32(i), opts); err != nil {
				errs[i] = fmt.Errorf("bot %d: %w", len(b.bots)+i, err)
			}
		})
	}
	sitting.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	b.bots = append(b.bots, bots...)
	return nil
}

// Room is the room in which bots play.
type Room struct {
	Name     string
	Holder   peer.AddrInfo // the peer that holds it
	Password string
	Timeout  time.Duration // bounds connecting and seating for each link; if zero, there is no bound
}

// Embark makes links hosts with newHost, connects each to the room, and takes an equal
// share of the players' seats there. Close closes the hosts. ctx bounds the whole call.
func (b *Bots) Embark(ctx context.Context, room Room, players, links int, newHost func() (host.Host, error)) error {
	for i := range links {
		h, err := newHost()
		if err != nil {
			return fmt.Errorf("connection %d: %w", i+1, err)
		}
		b.hosts = append(b.hosts, h)
		seats := players / links
		if i < players%links {
			seats++
		}
		if err := b.board(ctx, room, h, seats); err != nil {
			return fmt.Errorf("connection %d: %w", i+1, err)
		}
	}
	return nil
}

func (b *Bots) board(ctx context.Context, room Room, h host.Host, seats int) error {
	if room.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, room.Timeout)
		defer cancel()
	}
	if err := h.Connect(ctx, room.Holder); err != nil {
		return err
	}
	v, err := seat.Connect(ctx, hostNode{h}, room.Name, seat.Options{Host: room.Holder.ID, Version: Version})
	if err != nil {
		return err
	}
	return b.Sit(ctx, v, seats, seat.Options{Password: room.Password})
}

// hostNode makes a libp2p host a seat.Node.
type hostNode struct{ host.Host }

func (n hostNode) Open(ctx context.Context, p peer.ID, proto protocol.ID) (network.Stream, error) {
	return n.NewStream(ctx, p, proto)
}

// Play makes each bot send inputs inputs a second until ctx ends. It returns the first
// error of a bot whose seat has ended.
func (b *Bots) Play(ctx context.Context, inputs int) error {
	var playing sync.WaitGroup
	failed := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, bot := range b.bots {
		playing.Go(func() {
			if err := bot.play(ctx, time.Second/time.Duration(inputs)); err != nil {
				select {
				case failed <- err:
					cancel()
				default:
				}
			}
		})
	}
	playing.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

func (bot *bot) play(ctx context.Context, period time.Duration) error {
	input := make([]byte, 0, 2)
	next := time.Now().Add(rand.N(period)) // not all at once
	timer := time.NewTimer(time.Until(next))
	defer timer.Stop()
	for n := 0; ; n++ {
		select {
		case <-timer.C:
		case <-bot.seat.Done():
			return bot.seat.Err()
		case <-ctx.Done():
			return nil
		}
		if n%20 == 0 {
			input = AppendInput(input[:0], int8(rand.IntN(9)-4), int8(rand.IntN(9)-4))
		}
		at := time.Now()
		seq, err := bot.seat.Input(input)
		switch {
		case err == nil:
			bot.sent[seq%64].Store(at.UnixNano())
			bot.all.inputs.Add(1)
		case errors.Is(err, seat.ErrAway) || errors.Is(err, seat.ErrBehind):
			bot.all.refused.Add(1)
		default:
			return err
		}
		next = next.Add(period)
		if now := time.Now(); next.Before(now) {
			next = now
		}
		timer.Reset(time.Until(next))
	}
}

func (bot *bot) tick(t *seat.Tick) {
	bot.all.ticks.Add(1)
	bot.all.updates.Add(uint64(len(t.Updates)))
	if t.Applied > 0 {
		if at := bot.sent[t.Applied%64].Load(); at > 0 {
			bot.all.seen.add(time.Duration(time.Now().UnixNano() - at))
		}
	}
}

// Report is what bots measured.
type Report struct {
	Bots    int
	Ticks   uint64 // received
	Updates uint64
	Inputs  uint64
	Refused uint64 // inputs that were not sent: the connection was lost, or too many waited
	// SeenMedian and SeenP99 are the time from an input until its player received that
	// the game has taken it.
	SeenMedian, SeenP99 time.Duration
}

// Report returns the measurements since the last call.
func (b *Bots) Report() Report {
	r := Report{
		Bots: len(b.bots), Ticks: b.ticks.Swap(0), Updates: b.updates.Swap(0),
		Inputs: b.inputs.Swap(0), Refused: b.refused.Swap(0),
	}
	r.SeenMedian, r.SeenP99 = b.seen.take()
	return r
}

// Close ends the visits, and closes the hosts that Embark made.
func (b *Bots) Close() error {
	var closing sync.WaitGroup
	for _, v := range b.visits {
		closing.Go(func() { _ = v.Close() })
	}
	closing.Wait()
	for _, h := range b.hosts {
		closing.Go(func() { _ = h.Close() })
	}
	closing.Wait()
	return nil
}

// histogram counts durations in steps of half a millisecond, up to two seconds.
type histogram struct{ counts [4001]atomic.Uint64 }

const step = 500 * time.Microsecond

func (h *histogram) add(d time.Duration) {
	h.counts[min(max(d/step, 0), time.Duration(len(h.counts)-1))].Add(1)
}

// take returns the median and the 99th percentile, and resets the counts.
func (h *histogram) take() (median, p99 time.Duration) {
	var counts [len(h.counts)]uint64
	total := uint64(0)
	for i := range h.counts {
		counts[i] = h.counts[i].Swap(0)
		total += counts[i]
	}
	at := func(q float64) time.Duration {
		left := uint64(q * float64(total))
		for i, n := range counts {
			if n > left {
				return time.Duration(i)*step + step/2
			}
			left -= n
		}
		return 0
	}
	return at(0.5), at(0.99)
}
