package replay_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/mesh/replay"
	"github.com/tombolo-net/tombolo/core/message"
)

func TestPeerThatWasAwayCatchesUpCompletely(t *testing.T) {
	here, away := newNode(t, replay.Limits{}, nil), newNode(t, replay.Limits{}, nil)
	a, b := newPublisher(t), newPublisher(t)
	a.add(away.History, 1, 1, 5)
	a.add(here.History, 1, 1, 40)
	b.add(here.History, 9, 1, 7)

	answer, got, err := away.sync(t, here.Host, replay.Ask{})
	require.NoError(t, err)
	require.True(t, answer.Complete(), "%+v", answer)
	require.Equal(t, 42, answer.Received)
	require.Equal(t, numbers(1, 6, 40), got.ids(a.id))
	require.Equal(t, numbers(9, 1, 7), got.ids(b.id))
	for _, m := range got {
		require.Equal(t, message.Message{
			From: m.From, Via: here.Host.ID(), ID: m.ID, Type: typ, Data: []byte("hello"), Broadcast: true, Replayed: true,
		}, *m)
	}
	require.Equal(t, here.Cursors(), away.Cursors())

	answer, got, err = away.sync(t, here.Host, replay.Ask{})
	require.NoError(t, err)
	require.True(t, answer.Complete())
	require.Empty(t, got)
}

func TestHistoryTooShortNamesTheExactGap(t *testing.T) {
	here, away := newNode(t, replay.Limits{Count: 10}, nil), newNode(t, replay.Limits{}, nil)
	p := newPublisher(t)
	p.add(away.History, 1, 1, 5)
	p.add(here.History, 1, 1, 40)

	answer, got, err := away.sync(t, here.Host, replay.Ask{})
	require.NoError(t, err)
	require.False(t, answer.Complete())
	require.Equal(t, []replay.Gap{{Publisher: p.id, Epoch: 1, From: 6, To: 30}}, answer.Gaps)
	require.Equal(t, uint64(25), answer.Gaps[0].Count())
	require.False(t, answer.More)
	require.Equal(t, numbers(1, 31, 40), got.ids(p.id))

	other := newNode(t, replay.Limits{}, nil)
	p.add(other.History, 1, 6, 28)
	answer, got, err = away.sync(t, other.Host, replay.Ask{})
	require.NoError(t, err)
	require.Equal(t, []replay.Gap{{Publisher: p.id, Epoch: 1, From: 29, To: 30}}, answer.Gaps)
	require.Equal(t, numbers(1, 6, 28), got.ids(p.id))

	p.add(other.History, 1, 29, 30)
	answer, got, err = away.sync(t, other.Host, replay.Ask{})
	require.NoError(t, err)
	require.True(t, answer.Complete(), "a second peer fills the gap")
	require.Equal(t, numbers(1, 29, 30), got.ids(p.id))
}

func TestPublisherThatBeganAnewIsToldApart(t *testing.T) {
	here, away := newNode(t, replay.Limits{}, nil), newNode(t, replay.Limits{}, nil)
	p := newPublisher(t)
	p.add(away.History, 1000, 1, 5)
	p.add(here.History, 1000, 1, 8)
	p.add(here.History, 2000, 3, 9)

	answer, got, err := away.sync(t, here.Host, replay.Ask{})
	require.NoError(t, err)
	require.Equal(t, append(numbers(1000, 6, 8), numbers(2000, 3, 9)...), got.ids(p.id))
	require.Equal(t, []replay.Gap{{Publisher: p.id, Epoch: 2000, From: 1, To: 2}}, answer.Gaps)
	require.Equal(t, []replay.Unknown{{Publisher: p.id, Last: message.ID{Epoch: 1000, Seq: 8}, Next: 2000}}, answer.Unknown)
	require.False(t, answer.Complete())

	p.add(here.History, 2000, 1, 2)
	answer, got, err = away.sync(t, here.Host, replay.Ask{})
	require.NoError(t, err)
	require.True(t, answer.Complete(), "a new epoch is news once: %+v", answer)
	require.Equal(t, numbers(2000, 1, 2), got.ids(p.id))
}

func TestNewcomerMissesABeginning(t *testing.T) {
	here, fresh := newNode(t, replay.Limits{Count: 5}, nil), newNode(t, replay.Limits{}, nil)
	p := newPublisher(t)
	p.add(here.History, 1, 1, 20)

	answer, got, err := fresh.sync(t, here.Host, replay.Ask{})
	require.NoError(t, err)
	require.Equal(t, numbers(1, 16, 20), got.ids(p.id))
	require.Equal(t, []replay.Gap{{Publisher: p.id, Epoch: 1, From: 1, To: 15, Before: true}}, answer.Gaps)
	require.Empty(t, answer.Unknown)
}

func TestWhatIsOlderThanAskedForIsNoGap(t *testing.T) {
	here, fresh := newNode(t, replay.Limits{Count: 30}, nil), newNode(t, replay.Limits{}, nil)
	p := newPublisher(t)
	for seq := uint64(1); seq <= 40; seq++ { // 11 to 40 are held, and 11 to 20 are old
		e := p.entry(1, seq)
		if seq <= 20 {
			e.Received = time.Now().Add(-20 * time.Minute)
		}
		require.True(t, here.Add(e).New)
	}
	answer, got, err := fresh.sync(t, here.Host, replay.Ask{MaxAge: 10 * time.Minute})
	require.NoError(t, err)
	require.Equal(t, numbers(1, 21, 40), got.ids(p.id))
	require.True(t, answer.Complete(), "%+v", answer)

	answer, got, err = fresh.sync(t, here.Host, replay.Ask{})
	require.NoError(t, err)
	require.Equal(t, numbers(1, 11, 20), got.ids(p.id))
	require.Equal(t, []replay.Gap{{Publisher: p.id, Epoch: 1, From: 1, To: 10, Before: true}}, answer.Gaps)
}
