package replay_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/internal/hosttest"
	"github.com/tombolo-net/tombolo/core/mesh/replay"
	"github.com/tombolo-net/tombolo/core/message"
)

func TestCatchingUpTakesAsManyAnswersAsItNeeds(t *testing.T) {
	here := newNode(t, replay.Limits{}, func(o *replay.Options) { o.AnswerMessages, o.AskBurst, o.AsksPerSecond = 7, 3, 1000 })
	fresh := newNode(t, replay.Limits{}, nil)
	a, b := newPublisher(t), newPublisher(t)
	for seq := uint64(1); seq <= 50; seq++ {
		a.add(here.History, 1, seq, seq)
		b.add(here.History, 1+seq/25, seq, seq)
	}
	answer, got, err := fresh.sync(t, here.Host, replay.Ask{})
	require.NoError(t, err)
	require.False(t, answer.More)
	require.Equal(t, 100, answer.Received)
	require.Equal(t, numbers(1, 1, 50), got.ids(a.id))
	require.Equal(t, append(numbers(1, 1, 24), append(numbers(2, 25, 49), numbers(3, 50, 50)...)...), got.ids(b.id))
	require.GreaterOrEqual(t, here.Service.Stats().Answered, uint64(14))
	require.Equal(t, uint64(100), here.Service.Stats().Sent)
}

func TestAnyPeerThatHeardItCanHandItOn(t *testing.T) {
	p := newPublisher(t)
	first := newNode(t, replay.Limits{}, nil)
	p.add(first.History, 1, 1, 10)
	for range 3 {
		next := newNode(t, replay.Limits{}, nil)
		answer, got, err := next.sync(t, first.Host, replay.Ask{})
		require.NoError(t, err)
		require.True(t, answer.Complete())
		require.Equal(t, numbers(1, 1, 10), got.ids(p.id))
		require.Equal(t, first.Host.ID(), got[0].Via)
		require.NoError(t, first.Service.Close())
		first = next
	}
}

func TestSyncStaysWithinWhatWasAskedFor(t *testing.T) {
	here, fresh := newNode(t, replay.Limits{}, nil), newNode(t, replay.Limits{}, nil)
	p := newPublisher(t)
	p.add(here.History, 1, 1, 20)
	size := len(p.entry(1, 1).Signed)

	answer, got, err := fresh.sync(t, here.Host, replay.Ask{MaxMessages: 3})
	require.NoError(t, err)
	require.True(t, answer.More)
	require.False(t, answer.Complete())
	require.Empty(t, answer.Gaps, "the peer holds the rest")
	require.Equal(t, numbers(1, 1, 3), got.ids(p.id))

	answer, got, err = fresh.sync(t, here.Host, replay.Ask{MaxBytes: 2*size + 1})
	require.NoError(t, err)
	require.True(t, answer.More)
	require.Equal(t, numbers(1, 4, 6), got.ids(p.id), "the last one exceeds the limit")
}

func TestEntryLargerThanTheAskerTakesIsAGap(t *testing.T) {
	here := newNode(t, replay.Limits{}, nil)
	fresh := newNode(t, replay.Limits{}, func(o *replay.Options) { o.MaxEntry = 500 })
	p := newPublisher(t)
	p.add(here.History, 1, 1, 1)
	large := message.Message{ID: message.ID{Epoch: 1, Seq: 2}, Data: make([]byte, 1000)}
	require.True(t, here.Add(replay.Entry{Publisher: p.id, ID: large.ID, Signed: p.sign(large.Append(nil), nil)}).New)
	answer, got, err := fresh.sync(t, here.Host, replay.Ask{})
	require.NoError(t, err)
	require.Equal(t, numbers(1, 1, 1), got.ids(p.id))
	require.Equal(t, []replay.Gap{{Publisher: p.id, Epoch: 1, From: 2, To: 2}}, answer.Gaps)
}

func TestWhatCheckRefusesIsPassedOverOnce(t *testing.T) {
	here, fresh := newNode(t, replay.Limits{}, nil), newNode(t, replay.Limits{}, nil)
	p := newPublisher(t)
	p.add(here.History, 1, 1, 4)
	checked := 0
	check := func(_ context.Context, m *message.Message) bool {
		checked++
		return m.ID.Seq != 2
	}
	answer, got, err := fresh.sync(t, here.Host, replay.Ask{Check: check})
	require.NoError(t, err)
	require.Equal(t, 1, answer.Refused)
	require.Equal(t, append(numbers(1, 1, 1), numbers(1, 3, 4)...), got.ids(p.id))
	require.Equal(t, 3, fresh.History.Stats().Entries)
	_, _, err = fresh.sync(t, here.Host, replay.Ask{Check: check})
	require.NoError(t, err)
	require.Equal(t, 4, checked)
}

func TestSyncOfATypeOfWhichThereIsNoHistory(t *testing.T) {
	here, other := newNode(t, replay.Limits{}, nil), newNode(t, replay.Limits{}, nil)
	ctx := t.Context()
	require.NoError(t, here.Host.Connect(ctx, hosttest.Info(other.Host)))
	_, err := here.Sync(ctx, other.Host.ID(), "unheard of", replay.Ask{})
	require.ErrorIs(t, err, replay.ErrNoHistory)
	require.Zero(t, other.Service.Stats().Asked, "this node itself has no history of the type")
	_, err = here.Sync(ctx, other.Host.ID(), message.Reserved+"x", replay.Ask{})
	require.ErrorIs(t, err, message.ErrType)

	none := newNode(t, replay.Limits{}, func(o *replay.Options) { o.Histories = func(string) *replay.History { return nil } })
	_, _, err = here.sync(t, none.Host, replay.Ask{})
	require.ErrorIs(t, err, replay.ErrNoHistory)
	require.ErrorContains(t, err, none.Host.ID().String())
}

// liar makes a host that answers with whatever answer writes.
func liar(t *testing.T, answer func(s network.Stream, have []replay.Cursor)) host.Host {
	t.Helper()
	h := hosttest.New(t, hosttest.Options{})
	var running sync.WaitGroup
	t.Cleanup(running.Wait)
	h.SetStreamHandler(replay.Protocol, func(s network.Stream) {
		running.Add(1)
		defer running.Done()
		have, _, err := replay.ReadAsk(s)
		if err != nil {
			_ = s.Reset()
			return
		}
		answer(s, have)
		_ = s.Close()
	})
	return h
}

func write(s network.Stream, frames ...[]byte) {
	for _, f := range frames {
		if _, err := s.Write(f); err != nil {
			return
		}
	}
}

func TestPeerThatLiesIsNamedAndWhatWasGoodIsKept(t *testing.T) {
	p, q := newPublisher(t), newPublisher(t)
	entry := func(epoch, seq uint64) []byte { return replay.EntryFrame(p.entry(epoch, seq).Signed) }
	event := message.Message{ID: message.ID{Epoch: 1, Seq: 3}}
	signed := func(data []byte, change func(*pb.Message)) []byte { return replay.EntryFrame(p.sign(data, change)) }
	after := func(change func(*pb.Message)) []byte {
		var m pb.Message
		require.NoError(t, m.Unmarshal(p.entry(1, 3).Signed))
		change(&m)
		b, err := m.Marshal()
		require.NoError(t, err)
		return replay.EntryFrame(b)
	}
	rsa, _, err := crypto.GenerateKeyPairWithReader(crypto.RSA, 2048, rand.Reader)
	require.NoError(t, err)
	rsaKey, err := crypto.MarshalPublicKey(rsa.GetPublic())
	require.NoError(t, err)
	known := func(held ...replay.Range) []byte {
		return replay.KnownFrame(replay.Known{Publisher: p.id, Epochs: []replay.EpochKnown{{Epoch: 1, High: 9, Held: held}}})
	}
	good := known(replay.Range{From: 2, To: 2})
	end := replay.EndFrame(replay.Answered, false, 0)
	more := replay.EndFrame(replay.Answered, true, 0)

	for name, lie := range map[string]struct {
		frames [][]byte
		why    string
	}{
		"data changed":                 {[][]byte{after(func(m *pb.Message) { m.Data = p.sign([]byte("x"), nil) })}, "signature"},
		"signature changed":            {[][]byte{after(func(m *pb.Message) { m.Signature[3] ^= 1 })}, "signature"},
		"no signature":                 {[][]byte{after(func(m *pb.Message) { m.Signature = nil })}, "signature"},
		"another publisher":            {[][]byte{after(func(m *pb.Message) { m.From = []byte(q.id) })}, "signature"},
		"no publisher":                 {[][]byte{after(func(m *pb.Message) { m.From = nil })}, "nobody"},
		"another's key":                {[][]byte{after(func(m *pb.Message) { m.Key = rsaKey })}, "not the publisher's"},
		"no key":                       {[][]byte{after(func(m *pb.Message) { m.Key = []byte{1} })}, "key of"},
		"something after the message":  {[][]byte{replay.EntryFrame(append(p.entry(1, 3).Signed, 0x50, 1))}, "signature"},
		"marshalled another way":       {[][]byte{replay.EntryFrame(append(p.entry(1, 3).Signed, 0x0a, 0))}, "marshalled"},
		"no message":                   {[][]byte{replay.EntryFrame([]byte("nothing"))}, "no GossipSub message"},
		"another topic":                {[][]byte{signed(event.Append(nil), func(m *pb.Message) { *m.Topic = topic("secret") })}, `"test/secret"`},
		"no topic":                     {[][]byte{signed(event.Append(nil), func(m *pb.Message) { m.Topic = nil })}, "topic"},
		"no envelope":                  {[][]byte{signed([]byte{0xff}, nil), end}, ""},
		"no number":                    {[][]byte{signed((&message.Message{}).Append(nil), nil)}, "no ID"},
		"a request":                    {[][]byte{signed((&message.Message{ID: event.ID, Kind: message.Request}).Append(nil), nil)}, "request"},
		"had already":                  {[][]byte{entry(1, 1)}, "1.1 of " + p.id.String() + " was not asked for"},
		"the same twice":               {[][]byte{entry(1, 2)}, "comes after"},
		"out of order":                 {[][]byte{entry(1, 5), entry(1, 4)}, "1.4 of " + p.id.String() + " comes after 1.5"},
		"epochs out of order":          {[][]byte{entry(2, 1), entry(1, 9)}, "comes after"},
		"promised and not sent":        {[][]byte{known(replay.Range{From: 2, To: 3}), end}, "holds 1.3 of " + p.id.String()},
		"sent and denied":              {[][]byte{entry(1, 3), good, end}, "does not hold it"},
		"an epoch denied":              {[][]byte{entry(2, 1), good, end}, "epoch"},
		"a publisher denied":           {[][]byte{replay.EntryFrame(q.entry(1, 1).Signed), good, end}, "knows nothing of"},
		"knowledge twice":              {[][]byte{good, good, end}, "order of publishers"},
		"entry after knowledge":        {[][]byte{good, entry(1, 3), end}, "after what the peer knows"},
		"gaps called old":              {[][]byte{replay.KnownFrame(replay.Known{Publisher: p.id, Old: message.ID{Epoch: 1, Seq: 9}, Epochs: []replay.EpochKnown{{Epoch: 1, High: 9}}}), end}, "any age"},
		"held beyond the highest":      {[][]byte{known(replay.Range{From: 2, To: 10}), end}, "malformed"},
		"more, again and again":        {[][]byte{good, more}, "sends nothing"},
		"no frame":                     {[][]byte{replay.AnyFrame([]byte{0xff})}, "malformed"},
		"an empty frame":               {[][]byte{replay.AnyFrame(nil)}, "empty frame"},
		"a frame without end":          {[][]byte{{0xff, 0xff, 0xff, 0xff, 0x0f}}, "at most"},
		"an entry beyond what is take": {[][]byte{replay.EntryFrame(make([]byte, 2000))}, "at most 1000"},
	} {
		t.Run(name, func(t *testing.T) {
			h := liar(t, func(s network.Stream, have []replay.Cursor) {
				frames := lie.frames
				if len(have) > 0 && !have[0].Epochs[0].Had.Contains(2) { // the first round
					frames = append([][]byte{entry(1, 2)}, frames...)
				}
				write(s, frames...)
			})
			asker := newNode(t, replay.Limits{}, func(o *replay.Options) { o.MaxEntry = 1000 })
			p.add(asker.History, 1, 1, 1)
			answer, got, err := asker.sync(t, h, replay.Ask{})
			require.ErrorIs(t, err, replay.ErrBadAnswer)
			require.ErrorContains(t, err, h.ID().String())
			require.ErrorContains(t, err, lie.why)
			require.True(t, answer.More)
			require.Contains(t, got.ids(p.id), message.ID{Epoch: 1, Seq: 2}, "what was good before is kept")
			require.Equal(t, answer.Received+1, asker.History.Stats().Entries)
			require.Equal(t, uint64(1), asker.Service.Stats().BadAnswers)
		})
	}
}

func TestPeerThatSendsMoreThanWasAskedForIsRefused(t *testing.T) {
	p := newPublisher(t)
	h := liar(t, func(s network.Stream, _ []replay.Cursor) {
		for seq := uint64(1); seq <= 4; seq++ {
			write(s, replay.EntryFrame(p.entry(1, seq).Signed))
		}
	})
	for want, ask := range map[string]replay.Ask{"only 2": {MaxMessages: 2}, "only 1 bytes": {MaxBytes: 1}} {
		asker := newNode(t, replay.Limits{}, nil)
		_, got, err := asker.sync(t, h, ask)
		require.ErrorIs(t, err, replay.ErrBadAnswer)
		require.ErrorContains(t, err, want)
		require.LessOrEqual(t, len(got), 2)
	}
}

func TestPeerThatBreaksOffIsNoLiar(t *testing.T) {
	p := newPublisher(t)
	for name, leave := range map[string]func(network.Stream){
		"resets": func(s network.Stream) { _ = s.Reset() },
		"closes": func(s network.Stream) { _ = s.Close() },
		"closes within a frame": func(s network.Stream) {
			f := replay.EntryFrame(p.entry(1, 2).Signed)
			write(s, f[:len(f)-1])
			_ = s.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			arrived := make(chan struct{})
			h := liar(t, func(s network.Stream, _ []replay.Cursor) {
				write(s, replay.EntryFrame(p.entry(1, 1).Signed))
				<-arrived
				leave(s)
			})
			asker := newNode(t, replay.Limits{}, nil)
			answer, got, err := asker.sync(t, h, replay.Ask{Check: func(context.Context, *message.Message) bool {
				close(arrived)
				return true
			}})
			require.Error(t, err)
			require.NotErrorIs(t, err, replay.ErrBadAnswer)
			require.True(t, answer.More)
			require.Equal(t, numbers(1, 1, 1), got.ids(p.id))
			require.Equal(t, uint64(1), asker.Service.Stats().Broken)
		})
	}
}

func TestPeerThatStallsIsLeft(t *testing.T) {
	over := make(chan struct{})
	h := liar(t, func(s network.Stream, _ []replay.Cursor) { <-over })
	defer close(over)
	asker := newNode(t, replay.Limits{}, func(o *replay.Options) { o.Timeout = 100 * time.Millisecond })
	answer, _, err := asker.sync(t, h, replay.Ask{})
	require.Error(t, err)
	require.NotErrorIs(t, err, replay.ErrBadAnswer)
	require.True(t, answer.More)
}

func TestSyncEndsWithItsContextAndWithItsService(t *testing.T) {
	asked, over := make(chan struct{}, 2), make(chan struct{})
	h := liar(t, func(s network.Stream, _ []replay.Cursor) {
		asked <- struct{}{}
		<-over
	})
	defer close(over)
	asker := newNode(t, replay.Limits{}, nil)
	require.NoError(t, asker.Host.Connect(t.Context(), hosttest.Info(h)))

	ctx, cancel := context.WithCancelCause(t.Context())
	enough := fmt.Errorf("enough")
	go func() {
		<-asked
		cancel(enough)
	}()
	_, err := asker.Sync(ctx, h.ID(), typ, replay.Ask{})
	require.ErrorIs(t, err, enough)

	go func() {
		<-asked
		assert.NoError(t, asker.Service.Close())
	}()
	_, err = asker.Sync(t.Context(), h.ID(), typ, replay.Ask{})
	require.ErrorIs(t, err, replay.ErrClosed)
	_, err = asker.Sync(t.Context(), h.ID(), typ, replay.Ask{})
	require.ErrorIs(t, err, replay.ErrClosed)
	require.NoError(t, asker.Service.Close())
}

func TestBusyPeerIsAskedAgainAFewTimes(t *testing.T) {
	p := newPublisher(t)
	asks, busyFor := 0, 2
	h := liar(t, func(s network.Stream, _ []replay.Cursor) { // called for one stream at a time
		if asks++; asks <= busyFor {
			write(s, replay.EndFrame(replay.BusyPeer, false, time.Millisecond))
			return
		}
		write(s, replay.EntryFrame(p.entry(1, 1).Signed),
			replay.KnownFrame(replay.Known{Publisher: p.id, Epochs: []replay.EpochKnown{{Epoch: 1, High: 1, Held: replay.Ranges{{From: 1, To: 1}}}}}),
			replay.EndFrame(replay.Answered, false, 0))
	})
	asker := newNode(t, replay.Limits{}, nil)
	answer, _, err := asker.sync(t, h, replay.Ask{})
	require.NoError(t, err)
	require.Equal(t, 1, answer.Received)
	require.Equal(t, 3, asks)

	busyFor = math.MaxInt
	answer, _, err = asker.sync(t, h, replay.Ask{})
	require.ErrorIs(t, err, replay.ErrBusy)
	require.ErrorContains(t, err, h.ID().String())
	require.True(t, answer.More)
	require.Equal(t, 7, asks)
}

func TestTwoThatAskEachOtherAtOnceBothEndWithEverything(t *testing.T) {
	here, there := newNode(t, replay.Limits{}, nil), newNode(t, replay.Limits{}, nil)
	a, b := newPublisher(t), newPublisher(t)
	a.add(here.History, 1, 1, 100)
	b.add(there.History, 1, 1, 100)
	a.add(there.History, 1, 40, 60)
	require.NoError(t, here.Host.Connect(t.Context(), hosttest.Info(there.Host)))
	var both sync.WaitGroup
	for _, pair := range [][2]*node{{here, there}, {there, here}} {
		both.Go(func() {
			answer, err := pair[0].Sync(t.Context(), pair[1].Host.ID(), typ, replay.Ask{})
			assert.NoError(t, err)
			assert.True(t, answer.Complete(), "%+v", answer)
		})
	}
	both.Wait()
	require.Equal(t, here.Cursors(), there.Cursors())
	require.Equal(t, 200, here.History.Stats().Entries)
	require.Equal(t, 200, there.History.Stats().Entries)
}

func TestPublishersWithManyGapsDoNotStopCatchingUp(t *testing.T) {
	here, away := newNode(t, replay.Limits{}, nil), newNode(t, replay.Limits{}, nil)
	for i := range 900 {
		for n := range uint64(replay.MaxRanges) {
			require.True(t, away.Add(unsigned(fmt.Sprint("many", i), 1<<60, 1<<60+n<<56, 1)).New)
		}
	}
	require.Greater(t, len(replay.AskFrame(typ, away.Cursors())), replay.MaxAsk)
	p := newPublisher(t)
	p.add(here.History, 1, 1, 5)
	answer, got, err := away.sync(t, here.Host, replay.Ask{})
	require.NoError(t, err)
	require.Equal(t, numbers(1, 1, 5), got.ids(p.id))
	require.True(t, answer.More, "not all could be asked for")
}
