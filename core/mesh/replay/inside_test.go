package replay

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/message"
)

func newHistory(t *testing.T, opts HistoryOptions) *History {
	t.Helper()
	h, err := Open(t.Context(), "chat", opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	return h
}

func TestRangesAreTheSetOfNumbersThatWereAdded(t *testing.T) {
	const top = 60
	r := rand.New(rand.NewPCG(3, 4))
	random := func(n int) (set Ranges, in [top + 1]bool) {
		for range n {
			x := 1 + r.IntN(top)
			set.add(uint64(x))
			in[x] = true
		}
		return set, in
	}
	for range 500 {
		a, inA := random(r.IntN(40))
		b, inB := random(r.IntN(40))
		rest, both := a.minus(b), a.plus(b)
		requireRanges(t, a)
		requireRanges(t, both)
		size := uint64(0)
		for x := 1; x <= top; x++ {
			require.Equal(t, inA[x], a.Contains(uint64(x)))
			require.Equal(t, inA[x] || inB[x], both.Contains(uint64(x)), "%v plus %v is %v", a, b, both)
			require.Equal(t, inA[x] && !inB[x], rest.Contains(uint64(x)), "%v minus %v is %v", a, b, rest)
			if inA[x] {
				size++
			}
		}
		require.Equal(t, size, a.size())
	}
	ends := Ranges{{math.MaxUint64, math.MaxUint64}}
	ends.add(1)
	ends.add(math.MaxUint64)
	require.Equal(t, Ranges{{1, 1}, {math.MaxUint64, math.MaxUint64}}, ends)
	require.Equal(t, upTo(math.MaxUint64), ends.plus(upTo(math.MaxUint64-1)))
	require.Equal(t, Ranges{{2, math.MaxUint64 - 1}}, upTo(math.MaxUint64).minus(ends))
}

func TestWhatWasForgottenLongAgoMakesNoAnswerIncomplete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHistory(t, HistoryOptions{publishers: 1})
		for _, p := range []peer.ID{"a", "b"} {
			require.True(t, h.Add(Entry{Publisher: p, ID: message.ID{Epoch: 1, Seq: 1}}).New)
			time.Sleep(10 * time.Minute)
		}
		all := bounds{messages: 10, bytes: 10, entry: 10}
		require.Equal(t, uint64(1), h.extract(nil, all).forgotten)
		all.cutoff = time.Now().Add(-time.Hour)
		require.Equal(t, uint64(1), h.extract(nil, all).forgotten)
		all.cutoff = time.Now().Add(-15 * time.Minute)
		require.Zero(t, h.extract(nil, all).forgotten)
	})
}

func TestWhatWasGivenUpLongAgoMakesNoAnswerIncomplete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHistory(t, HistoryOptions{})
		for i := range uint64(MaxRanges + 1) {
			require.True(t, h.Add(Entry{Publisher: "a", ID: message.ID{Epoch: 1, Seq: 2 + 2*i}}).New)
		}
		require.Equal(t, uint64(1), h.givenUp(time.Time{}))
		require.Equal(t, uint64(1), h.givenUp(time.Now()))
		time.Sleep(time.Minute)
		require.Zero(t, h.givenUp(time.Now().Add(-30*time.Second)))
	})
}

// Publishers with as many ranges as can be remembered, and with the largest numbers,
// make an Ask that is larger than allowed.
func TestAskThatWouldBeTooLargeAsksForLessOfThoseWhoTakeTheMost(t *testing.T) {
	var ask wireAsk
	honest := Cursor{Publisher: somebody, Floor: 1, Epochs: []EpochCursor{{2, Ranges{{1, 5}, {9, 9}, {11, 20}}}}}
	ask.have = append(ask.have, honest)
	for i := range maxPublishers - 1 {
		c := Cursor{Publisher: peer.ID(fmt.Sprintf("\x00\x3e%062d", i))}
		for e := range uint64(MaxEpochs) {
			x := EpochCursor{Epoch: math.MaxUint64 - MaxEpochs + e}
			for n := range uint64(MaxRanges / MaxEpochs) {
				x.Had = append(x.Had, Range{1<<60 + n<<57, 1<<60 + n<<57 + 1<<56})
			}
			c.Epochs = append(c.Epochs, x)
		}
		ask.have = append(ask.have, c)
	}
	require.Greater(t, len(ask.append(nil)), 3*maxAsk)
	require.True(t, ask.fit(maxAsk))
	b := ask.append(nil)
	require.LessOrEqual(t, len(b), maxAsk)
	require.Equal(t, honest, ask.have[0])
	again, err := decodeAsk(b)
	require.NoError(t, err)
	require.Len(t, again.have, maxPublishers)
	require.False(t, ask.fit(maxAsk))
}

// A peer that holds as much as it may, of publishers that take the most bytes to
// describe, still sends an answer that an asker accepts.
func TestWhatAPeerKnowsFitsAnAnswer(t *testing.T) {
	told := 0
	for p := range maxPublishers {
		k := Known{Publisher: peer.ID(fmt.Sprintf("\x00\x3e%062d", p))}
		for e := range uint64(MaxEpochs) {
			x := EpochKnown{Epoch: math.MaxUint64 - MaxEpochs + e, High: math.MaxUint64}
			for n := range uint64(maxCount / maxPublishers / MaxEpochs) {
				x.Held = append(x.Held, Range{n<<61 + 1<<60, n<<61 + 1<<60})
			}
			k.Epochs = append(k.Epochs, x)
		}
		told += len(k.append(nil))
	}
	require.LessOrEqual(t, told, maxKnown)
}
