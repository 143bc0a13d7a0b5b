package seat

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/tombolo-net/tombolo/core/world/wire"
)

// read takes what the host sends, until its stream ends or the visit has an error.
func (v *Visit) read(ctx context.Context, c *current) error {
	if c.first != nil {
		if err := v.takeWelcome(c.first); err != nil {
			return err
		}
	}
	for {
		if v.setQuiet(c.stream) {
			return errMoving
		}
		kind, body, err := c.messages.Next()
		if err != nil {
			return err
		}
		switch kind {
		case wire.KindTick:
			err = v.takeTick(body)
		case wire.KindWelcome:
			err = v.takeWelcome(body)
		case wire.KindLine:
			err = v.learn(body)
		case wire.KindWay:
			err = v.takeWay(ctx, body)
		case wire.KindOut:
			var o wire.Out
			if o, err = wire.DecodeOut(body); err == nil {
				err = v.outed(o)
			}
		default:
			err = fmt.Errorf("%w: kind %d", wire.ErrMalformed, kind)
		}
		if err != nil {
			return err
		}
	}
}

func (v *Visit) takeTick(body []byte) error {
	v.taking.Lock()
	defer v.taking.Unlock()
	if err := wire.DecodeTick(body, &v.tick); err != nil {
		return err
	}
	v.noteSeen(v.tick.Number)
	if len(v.tick.Sections) == 0 {
		v.mu.Lock()
		all := slices.Collect(maps.Values(v.seats))
		v.mu.Unlock()
		for _, s := range all {
			if err := s.take(v.tick.Number, &wire.Section{}); err != nil {
				return err
			}
		}
	}
	return v.takeSections((*Seat).take)
}

// takeSections gives each seat its section of v.tick.
func (v *Visit) takeSections(take func(*Seat, uint32, *wire.Section) error) error {
	for i := range v.tick.Sections {
		sec := &v.tick.Sections[i]
		v.mu.Lock()
		s := v.seats[sec.Seat]
		v.mu.Unlock()
		if s == nil {
			continue // the seat was just left
		}
		if err := take(s, v.tick.Number, sec); err != nil {
			return err
		}
	}
	return nil
}

// noteSeen acknowledges the newest tick, if no input has done so lately.
func (v *Visit) noteSeen(tick uint32) {
	v.mu.Lock()
	v.seen = max(v.seen, tick)
	silent := v.seen-v.acked >= ackEvery
	if silent {
		v.acked = v.seen
		v.out = wire.AppendAck(v.out, wire.Ack{Seen: v.seen})
	}
	v.mu.Unlock()
	if silent {
		v.nudge()
	}
}

func (v *Visit) takeWelcome(body []byte) error {
	w, err := wire.DecodeWelcome(body)
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.seats[w.Seat]
	if s == nil {
		return nil
	}
	v.seated = true
	first := s.welcome == nil
	w.Data = slices.Clone(w.Data)
	s.welcome = &w
	if first {
		close(s.joined)
	}
	return nil
}

// outed ends the seat. It returns an error if the host refuses this peer altogether.
func (v *Visit) outed(o wire.Out) error {
	out := &Out{Code: o.Code, Reason: o.Reason}
	if v.isGivenBack(o) {
		return errBack
	}
	if o.All {
		return out
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if s := v.seats[o.Seat]; s != nil {
		v.endSeat(s, out)
	}
	if v.single && len(v.seats) == 0 {
		return out
	}
	return nil
}

// endSeat is called with mu held.
func (v *Visit) endSeat(s *Seat, err error) {
	if v.seats[s.number] == s {
		delete(v.seats, s.number)
		v.changed()
		s.err = err
		close(s.ended)
	}
}

func (v *Visit) end(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.err = err
	for _, s := range v.seats {
		v.endSeat(s, err)
	}
}
