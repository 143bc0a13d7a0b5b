package replay_test

import (
	"io"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/internal/hosttest"
	"github.com/tombolo-net/tombolo/core/mesh/replay"
)

// ask opens a stream from a plain host and writes b to it.
func ask(t *testing.T, from, to host.Host, b []byte) network.Stream {
	t.Helper()
	require.NoError(t, from.Connect(t.Context(), hosttest.Info(to)))
	s, err := from.NewStream(t.Context(), to.ID(), replay.Protocol)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Reset() })
	require.NoError(t, s.SetDeadline(time.Now().Add(limit)))
	_, err = s.Write(b)
	require.NoError(t, err)
	require.NoError(t, s.CloseWrite())
	return s
}

func requireStatus(t *testing.T, s io.Reader, want uint64) (retryAfter time.Duration, entries int) {
	t.Helper()
	status, retryAfter, entries, err := replay.ReadStatus(s)
	require.NoError(t, err)
	require.Equal(t, want, status)
	return retryAfter, entries
}

func eventually(t *testing.T, is func() bool) {
	t.Helper()
	require.Eventually(t, is, limit, 5*time.Millisecond)
}

func TestAskThatMakesNoSenseIsToldSoAndTheNodeGoesOn(t *testing.T) {
	here := newNode(t, replay.Limits{}, nil)
	p := newPublisher(t)
	p.add(here.History, 1, 1, 3)
	other := hosttest.New(t, hosttest.Options{})
	twice := []replay.Cursor{{Publisher: p.id}, {Publisher: p.id}}
	bad := [][]byte{
		replay.AnyFrame([]byte{0xff}),
		replay.AskFrame(typ, twice),
		replay.AskFrame(typ, []replay.Cursor{{Publisher: p.id, Floor: 5, Epochs: []replay.EpochCursor{{Epoch: 4}}}}),
		replay.AskFrame(string(make([]byte, 200)), nil),
		{0xff, 0xff, 0xff, 0x7f}, // a length that is far too large
	}
	for _, b := range bad {
		requireStatus(t, ask(t, other, here.Host, b), replay.BadAsk)
	}
	require.EqualValues(t, len(bad), here.Service.Stats().BadAsks)
	_, entries := requireStatus(t, ask(t, other, here.Host, replay.AskFrame(typ, nil)), replay.Answered)
	require.Equal(t, 3, entries)
	requireStatus(t, ask(t, other, here.Host, replay.AskFrame("else", nil)), replay.NoHistory)
}

func TestPeerThatAsksTooOftenIsToldWhenToComeAgain(t *testing.T) {
	here := newNode(t, replay.Limits{}, func(o *replay.Options) { o.AskBurst, o.AsksPerSecond = 2, 0.001 })
	often, other := hosttest.New(t, hosttest.Options{}), hosttest.New(t, hosttest.Options{})
	for range 2 {
		requireStatus(t, ask(t, often, here.Host, replay.AskFrame(typ, nil)), replay.Answered)
	}
	after, _ := requireStatus(t, ask(t, often, here.Host, replay.AskFrame(typ, nil)), replay.BusyPeer)
	require.Greater(t, after, 10*time.Second)
	requireStatus(t, ask(t, other, here.Host, replay.AskFrame(typ, nil)), replay.Answered)
	require.Equal(t, uint64(1), here.Service.Stats().Busy)
}

// fill adds so many entries that the answer exceeds any receive window.
func fill(t *testing.T, h *replay.History) {
	t.Helper()
	for seq := range uint64(64) {
		require.True(t, h.Add(unsigned("large", 1, seq+1, 1<<16)).New)
	}
}

func TestReaderThatStopsIsCutOff(t *testing.T) {
	here := newNode(t, replay.Limits{}, func(o *replay.Options) { o.Timeout = 100 * time.Millisecond })
	fill(t, here.History)
	other := hosttest.New(t, hosttest.Options{})
	s := ask(t, other, here.Host, replay.AskFrame(typ, nil))
	eventually(t, func() bool { return here.Service.Stats().Failed == 1 })
	_, err := io.Copy(io.Discard, s)
	require.ErrorIs(t, err, network.ErrReset)
}

func TestAnswersAtOnceAreBounded(t *testing.T) {
	for name, c := range map[string]struct {
		change       func(*replay.Options)
		another, own uint64
	}{
		"of all":      {func(o *replay.Options) { o.Answers = 1 }, replay.BusyPeer, replay.BusyPeer},
		"of one peer": {func(o *replay.Options) { o.AnswersPerPeer = 1 }, replay.Answered, replay.BusyPeer},
	} {
		t.Run(name, func(t *testing.T) {
			here := newNode(t, replay.Limits{}, c.change)
			fill(t, here.History)
			slow, other := hosttest.New(t, hosttest.Options{}), hosttest.New(t, hosttest.Options{})
			s := ask(t, slow, here.Host, replay.AskFrame(typ, nil))
			eventually(t, func() bool { return here.Service.Stats().Sent > 0 }) // slow reads nothing
			requireStatus(t, ask(t, slow, here.Host, replay.AskFrame(typ, nil)), c.own)
			requireStatus(t, ask(t, other, here.Host, replay.AskFrame(typ, nil)), c.another)
			require.NoError(t, s.Reset())
			eventually(t, func() bool {
				status, _, _, err := replay.ReadStatus(ask(t, slow, here.Host, replay.AskFrame(typ, nil)))
				return err == nil && status == replay.Answered
			})
		})
	}
}

func TestCloseBreaksOffTheAnswersUnderWay(t *testing.T) {
	here := newNode(t, replay.Limits{}, nil)
	fill(t, here.History)
	other := hosttest.New(t, hosttest.Options{})
	s := ask(t, other, here.Host, replay.AskFrame(typ, nil))
	eventually(t, func() bool { return here.Service.Stats().Sent > 0 })
	require.NoError(t, here.Service.Close())
	require.Equal(t, uint64(1), here.Service.Stats().Failed)
	_, err := io.Copy(io.Discard, s)
	require.ErrorIs(t, err, network.ErrReset)
}

func TestServiceNeedsToKnowWhatItAnswersFor(t *testing.T) {
	h := hosttest.New(t, hosttest.Options{})
	_, err := replay.New(h, replay.Options{})
	require.Error(t, err)
}
