package replay_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/mesh/replay"
	"github.com/tombolo-net/tombolo/core/message"
)

// named returns a peer ID that belongs to no key.
func named(name string) peer.ID { return peer.ID("\x00" + string(rune(len(name))) + name) }

// unsigned returns an entry for tests in which nobody reads its content.
func unsigned(from string, epoch, seq uint64, size int) replay.Entry {
	return replay.Entry{Publisher: named(from), ID: message.ID{Epoch: epoch, Seq: seq}, Signed: make([]byte, size)}
}

// hads returns the numbers that a history has received of a publisher, by epoch.
func hads(h *replay.History, of peer.ID) map[uint64]replay.Ranges {
	for _, c := range h.Cursors() {
		if c.Publisher == of {
			m := make(map[uint64]replay.Ranges)
			for _, e := range c.Epochs {
				m[e.Epoch] = e.Had
			}
			return m
		}
	}
	return nil
}

func TestHistoryStaysWithinItsCountAndItsBytes(t *testing.T) {
	h := openHistory(t, replay.HistoryOptions{Limits: replay.Limits{Count: 100, Bytes: 10_000}})
	r := rand.New(rand.NewPCG(1, 2))
	for i := range uint64(2000) {
		require.True(t, h.Add(unsigned(fmt.Sprint("p", r.IntN(5)), 1, i+1, r.IntN(400))).New)
		s := h.Stats()
		require.LessOrEqual(t, s.Entries, 100)
		require.LessOrEqual(t, s.Bytes, 10_000)
		require.EqualValues(t, i+1, uint64(s.Entries)+s.Evicted)
	}
	require.Greater(t, h.Stats().Entries, 30)
}

func TestEntryLargerThanTheHistoryIsKnownButNotHeld(t *testing.T) {
	h := openHistory(t, replay.HistoryOptions{Limits: replay.Limits{Bytes: 100}})
	require.True(t, h.Add(unsigned("p", 1, 1, 101)).New)
	require.Zero(t, h.Stats().Entries)
	require.False(t, h.Add(unsigned("p", 1, 1, 1)).New, "it was received")
}

func TestWhatIsTooOldIsLetGoWithoutAnythingElseHappening(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openHistory(t, replay.HistoryOptions{Limits: replay.Limits{Age: time.Minute}})
		require.True(t, h.Add(unsigned("p", 1, 1, 10)).New)
		time.Sleep(30 * time.Second)
		require.True(t, h.Add(unsigned("p", 1, 2, 10)).New)
		older := unsigned("q", 1, 1, 10)
		older.Received = time.Now().Add(-50 * time.Second) // it came by replay
		require.True(t, h.Add(older).New)
		held := func(after time.Duration) int {
			time.Sleep(after)
			synctest.Wait()
			return h.Stats().Entries
		}
		require.Equal(t, 3, held(9*time.Second))
		require.Equal(t, 2, held(2*time.Second), "the older one goes first")
		require.Equal(t, 1, held(20*time.Second))
		require.Equal(t, 0, held(30*time.Second))
		require.Equal(t, uint64(3), h.Stats().Aged)
		require.False(t, h.Add(unsigned("p", 1, 1, 10)).New, "its number stays known")
	})
}

func TestClockOfAPublisherOrBearerDoesNotMakeAnEntryYoungerThanNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openHistory(t, replay.HistoryOptions{Limits: replay.Limits{Age: time.Minute}})
		e := unsigned("p", 1, 1, 10)
		e.Received = time.Now().Add(1000 * time.Hour)
		require.True(t, h.Add(e).New)
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		require.Zero(t, h.Stats().Entries)
	})
}

func TestPublisherThatFloodsDisplacesOnlyItself(t *testing.T) {
	for name, size := range map[string]int{"with many": 10, "with large ones": 1000} {
		t.Run(name, func(t *testing.T) {
			here, fresh := newNode(t, replay.Limits{Count: 100, Bytes: 100_000}, nil), newNode(t, replay.Limits{}, nil)
			quiet := newPublisher(t)
			quiet.add(here.History, 1, 1, 20)
			for seq := range uint64(1000) {
				require.True(t, here.Add(unsigned("flood", 1, seq+1, size)).New)
			}
			answer, got, err := fresh.sync(t, here.Host, replay.Ask{MaxMessages: 20})
			require.NoError(t, err)
			require.True(t, answer.More)
			require.Equal(t, numbers(1, 1, 20), got.ids(quiet.id))
		})
	}
}

func TestEpochsArePutApartAndTheOldestLetGo(t *testing.T) {
	h := openHistory(t, replay.HistoryOptions{})
	for epoch := range uint64(replay.MaxEpochs) {
		require.True(t, h.Add(unsigned("p", 10*(epoch+1), 1, 1)).New)
	}
	require.False(t, h.Add(unsigned("p", 5, 1, 1)).New, "it would be the oldest, which is evicted")
	require.Equal(t, uint64(1), h.Stats().Refused)
	require.True(t, h.Add(unsigned("p", 15, 1, 1)).New, "an epoch in between takes the place of the oldest")
	had := hads(h, named("p"))
	require.Len(t, had, replay.MaxEpochs)
	require.NotContains(t, had, uint64(10))
	require.Contains(t, had, uint64(15))
	require.False(t, h.Add(unsigned("p", 10, 2, 1)).New)
	require.Equal(t, replay.MaxEpochs, h.Stats().Entries)
	require.Equal(t, uint64(1), h.Stats().Evicted)
}

func TestPublisherCannotMakeANodeRememberManyGaps(t *testing.T) {
	h := openHistory(t, replay.HistoryOptions{})
	for i := range uint64(1000) {
		require.True(t, h.Add(unsigned("p", 1+i%4, 1+i*2, 1)).New)
	}
	ranges := 0
	for _, r := range hads(h, named("p")) {
		ranges += len(r)
	}
	require.LessOrEqual(t, ranges, replay.MaxRanges)
	require.NotZero(t, h.Stats().GivenUp)
	require.True(t, h.Add(unsigned("p", 1, math.MaxUint64, 1)).New)
	require.False(t, h.Add(unsigned("p", 1, math.MaxUint64, 1)).New)
	require.False(t, h.Add(unsigned("p", 1, 0, 1)).New)
	require.False(t, h.Add(unsigned("p", 0, 1, 1)).New)
	require.False(t, h.Add(unsigned(strings.Repeat("x", 63), 1, 1, 1)).New, "no key has such an ID")
}

func TestPublishersAreBoundedAndTheLongestSilentForgotten(t *testing.T) {
	h := openHistory(t, replay.HistoryOptions{}.OfPublishers(3))
	for i, p := range []string{"a", "b", "c", "a", "d"} {
		require.True(t, h.Add(unsigned(p, 1, uint64(i+1), 1)).New)
	}
	require.NotNil(t, hads(h, named("a")), "it spoke again")
	require.Nil(t, hads(h, named("b")))
	require.NotNil(t, hads(h, named("d")))
	s := h.Stats()
	require.Equal(t, 3, s.Publishers)
	require.Equal(t, uint64(1), s.Forgot)
	require.Equal(t, 4, s.Entries)
}

func TestLimitsThatMakeNoSenseAreErrors(t *testing.T) {
	for _, l := range []replay.Limits{{Count: -1}, {Bytes: -1}, {Age: -1}, {Count: 1 << 20}} {
		_, err := replay.Open(context.Background(), typ, replay.HistoryOptions{Limits: l})
		require.Error(t, err, "%+v", l)
	}
}

func TestWhatWasSkippedIsNotAskedForAgain(t *testing.T) {
	h := openHistory(t, replay.HistoryOptions{})
	require.True(t, h.Skip(named("p"), message.ID{Epoch: 1, Seq: 1}))
	require.False(t, h.Skip(named("p"), message.ID{Epoch: 1, Seq: 1}))
	require.False(t, h.Add(unsigned("p", 1, 1, 1)).New)
	require.Equal(t, map[uint64]replay.Ranges{1: {{From: 1, To: 1}}}, hads(h, named("p")))
	require.Zero(t, h.Stats().Entries)
}

func TestClosedHistoryTakesNothing(t *testing.T) {
	h := openHistory(t, replay.HistoryOptions{})
	require.True(t, h.Add(unsigned("p", 1, 1, 1)).New)
	require.NoError(t, h.Close())
	require.NoError(t, h.Close())
	require.False(t, h.Add(unsigned("p", 1, 2, 1)).New)
	require.False(t, h.Skip(named("p"), message.ID{Epoch: 1, Seq: 2}))
	require.Equal(t, 1, h.Stats().Entries)
}

func TestStillMissingIsWhatWasNotFilledMeanwhile(t *testing.T) {
	h := openHistory(t, replay.HistoryOptions{})
	gaps := []replay.Gap{{Publisher: named("p"), Epoch: 1, From: 1, To: 9}, {Publisher: named("p"), Epoch: 1, From: 1, To: 9}, {Publisher: named("q"), Epoch: 2, From: 3, To: 3}}
	require.Len(t, h.StillMissing(gaps), 2, "two peers named the same")
	for _, seq := range []uint64{1, 5, 6} {
		require.True(t, h.Add(unsigned("p", 1, seq, 1)).New)
	}
	require.Equal(t, []replay.Gap{
		{Publisher: named("p"), Epoch: 1, From: 2, To: 4}, {Publisher: named("p"), Epoch: 1, From: 7, To: 9}, {Publisher: named("q"), Epoch: 2, From: 3, To: 3},
	}, h.StillMissing(gaps))
}

func TestHistoryIsSharedByManyAtOnce(t *testing.T) {
	h := openHistory(t, replay.HistoryOptions{Limits: replay.Limits{Count: 50}, Store: newMemory(), FlushDelay: time.Millisecond}.OfPublishers(4))
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			for seq := range uint64(300) {
				h.Add(unsigned(fmt.Sprint(i), 1, seq+1, 10))
				h.Cursors()
				h.Stats()
			}
		})
	}
	all.Wait()
	require.LessOrEqual(t, h.Stats().Entries, 50)
}

func TestLimitsThatAreSetHoldAtOnceAndBadOnesChangeNothing(t *testing.T) {
	h, err := replay.Open(context.Background(), "t", replay.HistoryOptions{})
	require.NoError(t, err)
	for from := range 8 {
		for seq := range 4 {
			require.True(t, h.Add(unsigned(fmt.Sprint("peer ", from), 1, uint64(seq+1), 100)).New)
		}
	}
	before := h.Limits()
	require.Error(t, h.SetLimits(replay.Limits{Count: -1}))
	require.Equal(t, before, h.Limits())
	require.Equal(t, 32, h.Stats().Entries)
	require.NoError(t, h.SetLimits(replay.Limits{Count: 16}))
	require.Equal(t, 16, h.Stats().Entries)
	require.NoError(t, h.SetLimits(replay.Limits{Bytes: 500}))
	require.Equal(t, 500, h.Stats().Bytes)
	require.NoError(t, h.Close())
	require.ErrorIs(t, h.SetLimits(replay.Limits{}), replay.ErrClosed)
}
