package replay

import (
	"bufio"
	"bytes"
	"math"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/message"
)

const somebody = peer.ID("\x00\x03one")

var (
	someAsk = wireAsk{typ: "chat", messages: 10, bytes: 1 << 20, age: time.Hour, entry: 1 << 10, have: []Cursor{{
		Publisher: somebody, Floor: 3,
		Epochs: []EpochCursor{{4, Ranges{{1, 9}, {11, 11}}}, {math.MaxUint64, Ranges{{7, math.MaxUint64}}}},
	}, {Publisher: "\x00\x03two"}}}
	someFrames = []wireFrame{
		{entry: &wireEntry{signed: []byte("signed"), age: time.Minute}},
		{known: &Known{
			Publisher: somebody, Old: message.ID{Epoch: 4, Seq: 2},
			Epochs: []EpochKnown{{Epoch: 4, High: 9, Held: Ranges{{3, 5}, {7, 9}}}, {Epoch: 5, High: 1}},
		}},
		{end: &wireEnd{status: busy, more: true, forgotten: 5, retryAfter: time.Second}},
	}
)

// An Ask that is accepted is encoded as it was decoded, and stays within the bounds.
func FuzzAsk(f *testing.F) {
	f.Add(someAsk.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		ask, err := decodeAsk(b)
		if err != nil {
			require.ErrorIs(t, err, errMalformed)
			return
		}
		require.LessOrEqual(t, len(ask.have), maxPublishers)
		for _, c := range ask.have {
			require.LessOrEqual(t, len(c.Epochs), MaxEpochs)
			for _, e := range c.Epochs {
				requireRanges(t, e.Had)
				require.LessOrEqual(t, len(e.Had), MaxRanges)
			}
		}
		again, err := decodeAsk(ask.append(nil))
		require.NoError(t, err)
		require.Equal(t, ask, again)
		ask.fit(200)
		_, err = decodeAsk(ask.append(nil))
		require.NoError(t, err)
	})
}

// An answer of any bytes is checked without panic and in bounded memory. A frame
// that is accepted is encoded as it was decoded.
func FuzzAnswer(f *testing.F) {
	var answer []byte
	for i := range someFrames {
		answer = appendFrame(answer, someFrames[i].append(nil))
	}
	f.Add(answer)
	f.Fuzz(func(t *testing.T, b []byte) {
		const limit = 1 << 16
		c := newChecker(&wireAsk{typ: "chat", messages: 100, bytes: 1 << 20}, "topic", limit)
		for r := bufio.NewReader(bytes.NewReader(b)); ; {
			frame, err := readFrame(r, limit)
			if err != nil {
				return
			}
			if x, err := decodeFrame(frame); err == nil {
				again, err := decodeFrame(x.append(nil))
				require.NoError(t, err)
				require.Equal(t, x.known, again.known)
				require.Equal(t, x.end, again.end)
				if x.known != nil {
					for _, e := range x.known.Epochs {
						requireRanges(t, e.Held)
					}
				}
			}
			if _, x, err := c.frame(frame); err != nil || x.end != nil {
				return
			}
		}
	})
}

// A stored record that is accepted is encoded as it was decoded.
func FuzzStored(f *testing.F) {
	p := &publisher{id: somebody, floor: 1, active: time.UnixMicro(5), epochs: []*epoch{
		{number: 2, had: Ranges{{1, 4}}, givenUp: 1, givenTo: 3, out: 2, outAt: time.UnixMicro(4)},
	}}
	f.Add(p.append(nil))
	f.Add((&record{Entry: Entry{Publisher: somebody, ID: message.ID{Epoch: 1, Seq: 2}, Received: time.UnixMicro(3), Signed: []byte("s")}}).append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := decodeRecord(b); err == nil {
			again, err := decodeRecord(r.append(nil))
			require.NoError(t, err)
			require.Equal(t, r.Entry.ID, again.Entry.ID)
			require.Equal(t, r.Received, again.Received)
			require.True(t, bytes.Equal(r.Signed, again.Signed))
		}
		if p, err := decodeStoredPublisher(b); err == nil {
			again, err := decodeStoredPublisher(p.append(nil))
			require.NoError(t, err)
			require.Equal(t, p, again)
		}
		if got, err := unseal(seal(b)); err != nil || !bytes.Equal(got, b) {
			t.Fatal("what is sealed can be opened")
		}
	})
}

func requireRanges(t *testing.T, set Ranges) {
	t.Helper()
	last := uint64(0)
	for i, r := range set {
		require.True(t, r.From > last && r.To >= r.From, "%v", set)
		require.False(t, i > 0 && r.From == last+1, "%v: two touch", set)
		last = r.To
	}
}

func TestWireKeepsWhatItIsGiven(t *testing.T) {
	ask, err := decodeAsk(someAsk.append(nil))
	require.NoError(t, err)
	require.Equal(t, &someAsk, ask)
	for _, f := range someFrames {
		got, err := decodeFrame(f.append(nil))
		require.NoError(t, err)
		require.Equal(t, f, got)
	}
}

func TestFieldsOfALaterVersionPass(t *testing.T) {
	later := appendNumber(appendBytes(nil, 100, []byte("new")), 101, 7)
	ask, err := decodeAsk(append(later, someAsk.append(nil)...))
	require.NoError(t, err)
	require.Equal(t, &someAsk, ask)
	_, err = decodeFrame(later)
	require.ErrorIs(t, err, errMalformed, "a frame of no known kind")
}
