package world_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/world"
	"github.com/tombolo-net/tombolo/core/world/demo"
	"github.com/tombolo-net/tombolo/core/world/seat"
)

// These tests check the demo's game as the players of a room see it.

func papers(name string, hue byte) []byte {
	return demo.AppendPapers(nil, demo.Papers{Name: name, Hue: hue})
}

func TestABoatSailsUnderTheNameAndColourThatItsPlayerGave(t *testing.T) {
	at, _ := hold(t, &demo.Harbour{Size: 32, Sight: 40}, harbour(world.Options{Hz: 50, Radius: 40}))
	a := join(t, at, seat.Options{Data: papers(" Ann\u202e ", 7)})
	b := join(t, at, seat.Options{})
	b.until(t, "a enters", b.sees(a.boat))
	seen, _ := b.view.Get(a.boat)
	require.True(t, seen.Boat)
	require.Equal(t, "Ann", seen.Name)
	require.EqualValues(t, 7, seen.Hue)
	answer, err := demo.DecodeAnswer(a.Answer())
	require.NoError(t, err)
	require.Equal(t, demo.Answer{Boat: a.boat, Afloat: true, Size: 32, Sight: 40, SightEnd: 48}, answer)

	n := newNode(t)
	n.connect(t, at)
	_, err = seat.Join(bounded(t), n, "harbour", seat.Options{Host: at.ID(), Version: demo.Version, Data: []byte{1}})
	var out *seat.Out
	require.ErrorAs(t, err, &out)
	require.Contains(t, out.Reason, "not of the harbour's form")
}

// scores waits until the player receives scores for which wanted returns true.
func (p *player) scores(t *testing.T, what string, wanted func(demo.Scores) bool) {
	t.Helper()
	p.until(t, what, func(tick *seat.Tick) bool {
		for _, note := range tick.Notes {
			s, err := demo.DecodeScores(note)
			require.NoError(t, err)
			if wanted(s) {
				return true
			}
		}
		return false
	})
}

func TestWhoReachesABuoyScoresAndTheBuoyIsElsewhere(t *testing.T) {
	t.Parallel()
	opts := harbour(world.Options{Hz: 50, Spectators: 1})
	at, _ := hold(t, &demo.Harbour{Size: 16, Buoys: 30}, opts) // so many that the boat meets some
	a := join(t, at, seat.Options{Data: papers("Ann", 7)})
	score := func() uint16 { boat, _ := a.view.Get(a.boat); return boat.Score }
	a.until(t, "it scores", func(*seat.Tick) bool { return score() >= 3 })
	require.Equal(t, 31, a.view.Len(), "no buoy is lost")
	a.scores(t, "it is the best", func(s demo.Scores) bool {
		return s.Rank == 1 && s.Of == 1 && s.Lines[0].Name == "Ann" && s.Lines[0].Hue == 7 && s.Lines[0].Score >= 3
	})
	had := score()
	b := join(t, at, seat.Options{Data: papers("Bob", 9)})
	b.scores(t, "there are two", func(s demo.Scores) bool { return s.Of == 2 && s.Lines[0].Score >= had && len(s.Lines) == 2 })
}

func TestWhoIsBlindIsToldOfItsInputsAlone(t *testing.T) {
	at, _ := hold(t, &demo.Harbour{Size: 32, Buoys: 40}, harbour(world.Options{Hz: 50, Radius: 40}))
	blind := join(t, at, seat.Options{Data: demo.AppendPapers(nil, demo.Papers{Blind: true})})
	a := join(t, at, seat.Options{})
	a.until(t, "a sees the boat", a.sees(blind.boat))
	before, _ := a.view.Get(blind.boat)
	seq := blind.steer(t, 3, 3)
	blind.until(t, "the input is taken", func(tick *seat.Tick) bool { return tick.Applied == seq })
	require.Zero(t, blind.view.Len())
	a.until(t, "the boat sails", func(*seat.Tick) bool { now, _ := a.view.Get(blind.boat); return now != before })
}

func TestASeatTakenBesideAnotherSharesItsConnectionAndOutlastsIt(t *testing.T) {
	at, room := hold(t, &demo.Harbour{Size: 32}, harbour(world.Options{Hz: 50, SeatsPerPeer: 2, Grace: time.Nanosecond}))
	a := join(t, at, seat.Options{})
	b, err := a.Beside(bounded(t), 7, seat.Options{})
	require.NoError(t, err)
	_, err = a.Beside(bounded(t), 8, seat.Options{})
	var out *seat.Out
	require.ErrorAs(t, err, &out)
	require.Contains(t, out.Reason, "all the seats that one may have")
	require.Equal(t, 1, room.Stats().Peers)

	require.NoError(t, a.Leave())
	seq, err := b.Input(demo.AppendInput(nil, 1, 1))
	require.NoError(t, err)
	for {
		tick, err := b.Next(bounded(t))
		require.NoError(t, err)
		if tick.Applied == seq {
			break
		}
	}
	require.NoError(t, b.Leave())
	require.Eventually(t, func() bool { return room.Stats().Peers == 0 }, limit, time.Millisecond, "the connection has ended with its last seat")
}
