package mesh

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/internal/hosttest"
	"github.com/tombolo-net/tombolo/core/mesh/replay"
	"github.com/tombolo-net/tombolo/core/message"
)

func numbered(from, to int) (texts []string) {
	for i := from; i <= to; i++ {
		texts = append(texts, fmt.Sprint(i))
	}
	return texts
}

func (n *node) count(t testing.TB, typ string, from, to int) {
	t.Helper()
	for _, text := range numbered(from, to) {
		n.keep(t, typ, text)
	}
}

func (n *node) memoryOf(typ string) *replay.History { return n.lookup(typ).history.past }

func recoverAll(t testing.TB, n *node, typ string) Recovery {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := n.Recover(ctx, typ)
	require.NoError(t, err)
	return r
}

// archive returns a relay that keeps histories, and the ID of a publisher that has
// said 1 to count on "chat" there and left.
func archive(t testing.TB, limits replay.Limits, count int) (r *node, publisher peer.ID) {
	t.Helper()
	r = newNode(t, Options{RelayTopics: 4, KeepHistories: &limits})
	h := hosttest.Unmanaged(t, hosttest.Options{})
	p := onHost(t, h, Options{})
	connect(t, p, r)
	subscribe(t, "chat", p)
	p.count(t, "chat", 1, count)
	require.Eventually(t, func() bool { return r.memoryOf("chat").Stats().Added == uint64(count) }, patience, time.Millisecond)
	require.NoError(t, p.Close())
	require.NoError(t, h.Close())
	growOld(t)
	return r, p.self
}

func TestPeerThatWasAwayRecoversInOrder(t *testing.T) {
	t.Parallel()
	r, publisher := archive(t, replay.Limits{}, 20)
	n := newNode(t, Options{})
	connect(t, n, r)
	subscribe(t, "chat", n)
	_, err := n.Recover(context.Background(), "chat")
	require.ErrorIs(t, err, ErrNotKept)
	require.NoError(t, n.KeepHistory("chat", replay.Limits{}))
	got := recoverAll(t, n, "chat")
	assert.Equal(t, Recovery{Peers: []peer.ID{r.self}, Messages: 20, Complete: true}, got)
	n.waitFor(t, numbered(1, 20)...)
	for i, m := range n.all() {
		assert.Equal(t, publisher, m.From)
		assert.Equal(t, r.self, m.Via)
		assert.Equal(t, uint64(i+1), m.ID.Seq)
		assert.True(t, m.Replayed)
		assert.True(t, m.Broadcast)
	}
	assert.Zero(t, recoverAll(t, n, "chat").Messages, "nothing is asked for twice")
	assert.Equal(t, 20, n.Stats().Histories.Entries)
}

func TestMessageOfTheGreatestSizeIsRecovered(t *testing.T) {
	t.Parallel()
	r := newNode(t, Options{RelayTopics: 4, KeepHistories: &replay.Limits{}})
	p := newNode(t, Options{})
	connect(t, p, r)
	subscribe(t, "chat", p)
	p.keep(t, "chat", strings.Repeat("x", message.MaxData))
	require.Eventually(t, func() bool { return r.memoryOf("chat").Stats().Added == 1 }, patience, time.Millisecond)
	growOld(t)
	n := newNode(t, Options{})
	connect(t, n, r)
	subscribe(t, "chat", n)
	require.NoError(t, n.KeepHistory("chat", replay.Limits{}))
	recoverAll(t, n, "chat")
	require.Len(t, n.all(), 1)
	assert.Len(t, n.all()[0].Data, message.MaxData)
}

func TestHistoryThatIsTooShortIsAnHonestGap(t *testing.T) {
	t.Parallel()
	r, publisher := archive(t, replay.Limits{Count: 5}, 12)
	n := newNode(t, Options{})
	connect(t, n, r)
	subscribe(t, "chat", n)
	require.NoError(t, n.KeepHistory("chat", replay.Limits{}))
	got := recoverAll(t, n, "chat")
	assert.False(t, got.Complete)
	require.Len(t, got.Gaps, 1)
	gap := got.Gaps[0]
	assert.Equal(t, replay.Gap{Publisher: publisher, Epoch: gap.Epoch, From: 1, To: 7, Before: true}, gap)
	n.waitFor(t, numbered(8, 12)...)
}

func TestGapIsFilledByAnotherPeer(t *testing.T) {
	short, long := replay.Limits{Count: 3}, replay.Limits{}
	r := newNode(t, Options{RelayTopics: 4, KeepHistories: &short})
	a, b, n := newNode(t, Options{}), newNode(t, Options{}), newNode(t, Options{})
	connect(t, a, r)
	connect(t, a, b)
	require.NoError(t, b.KeepHistory("chat", long)) // b is not subscribed
	leave, err := a.Subscribe("chat")
	require.NoError(t, err)
	waitPeers(t, a, "chat", 2)
	a.count(t, "chat", 1, 10)
	leave()
	require.Eventually(t, func() bool {
		return b.Stats().Histories.Entries == 10 && r.memoryOf("chat").Stats().Added == 10
	}, patience, time.Millisecond)
	require.Empty(t, b.all())
	connect(t, n, r)
	connect(t, n, b)
	subscribe(t, "chat", n)
	require.NoError(t, n.KeepHistory("chat", long))
	require.Eventually(t, func() bool { return len(n.lookup("chat").history.historians("")) == 2 }, patience, time.Millisecond)
	got := recoverAll(t, n, "chat")
	require.True(t, got.Complete, "%+v", got)
	n.waitForAll(t, numbered(1, 10)...)
}

func TestWhatWasHeardIsNotDeliveredAgainByARecovery(t *testing.T) {
	r, a, n := newNode(t, Options{RelayTopics: 4, KeepHistories: &replay.Limits{}}), newNode(t, Options{}), newNode(t, Options{})
	connect(t, a, r)
	connect(t, n, r)
	subscribe(t, "chat", a, n)
	a.count(t, "chat", 1, 5)
	n.waitForAll(t, numbered(1, 5)...)
	// What was received before the history is kept is not asked for.
	require.NoError(t, n.KeepHistory("chat", replay.Limits{}))
	assert.Zero(t, recoverAll(t, n, "chat").Messages)
	a.count(t, "chat", 6, 9)
	n.waitForAll(t, numbered(1, 9)...)
	assert.Zero(t, recoverAll(t, n, "chat").Messages)
	assert.Len(t, n.all(), 9)
	assert.Equal(t, 9, n.Stats().Histories.Entries)
}

func TestNodeRemembersItsPastOverARestart(t *testing.T) {
	store := dssync.MutexWrap(datastore.NewMapDatastore())
	r, a := newNode(t, Options{RelayTopics: 4, KeepHistories: &replay.Limits{}}), newNode(t, Options{})
	connect(t, a, r)
	subscribe(t, "chat", a)
	h := hosttest.New(t, hosttest.Options{})
	start := func() *node {
		n := onHost(t, h, Options{Store: store})
		connect(t, n, r)
		subscribe(t, "chat", n)
		require.NoError(t, n.KeepHistory("chat", replay.Limits{}))
		return n
	}
	first := start()
	a.count(t, "chat", 1, 3)
	first.waitForAll(t, numbered(1, 3)...)
	first.keep(t, "chat", "own")
	require.NoError(t, first.Close())
	a.count(t, "chat", 4, 6)
	second := start()
	assert.Equal(t, 4, second.Stats().Histories.Entries)
	got := recoverAll(t, second, "chat")
	assert.Empty(t, got.Gaps)
	second.waitForAll(t, numbered(4, 6)...)
}

// heardBy makes a peer that says 1 to count on "chat", and waits until n remembers
// that. say does the same with other numbers.
func heardBy(t *testing.T, n *node, count int) (say func(from, to int)) {
	t.Helper()
	p := newNode(t, Options{})
	connect(t, p, n)
	waitPeers(t, p, "chat", 1)
	say = func(from, to int) {
		added := n.memoryOf("chat").Stats().Added
		p.count(t, "chat", from, to)
		require.Eventually(t, func() bool { return n.memoryOf("chat").Stats().Added == added+uint64(to-from+1) }, patience, time.Millisecond)
	}
	say(1, count)
	return say
}

func TestLimitsThatAreRefusedLeaveTheHistoryThatIsKept(t *testing.T) {
	for name, store := range map[string]datastore.Batching{"in memory": nil, "stored": dssync.MutexWrap(datastore.NewMapDatastore())} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, Options{Store: store})
			limits := replay.Limits{Count: 7, Bytes: 1 << 20, Age: time.Hour}
			require.NoError(t, n.KeepHistory("chat", limits))
			say := heardBy(t, n, 5)
			kept := n.memoryOf("chat")
			for _, bad := range []replay.Limits{{Count: -1}, {Count: 1 << 30}, {Bytes: -1}, {Age: -1}} {
				require.ErrorContains(t, n.KeepHistory("chat", bad), `keep the history of "chat"`)
				assert.True(t, n.lookup("chat").history.isKept())
				assert.Equal(t, limits, kept.Limits())
				assert.Equal(t, 5, kept.Stats().Entries)
			}
			say(6, 6)
			assert.Equal(t, 6, kept.Stats().Entries, "the history still takes entries")
			require.Error(t, n.KeepHistory("other", replay.Limits{Count: -1}))
			assert.False(t, n.lookup("other").history.isKept())
		})
	}
}

func TestChangedLimitsHoldAtOnceForWhatIsKept(t *testing.T) {
	n := newNode(t, Options{})
	require.NoError(t, n.KeepHistory("chat", replay.Limits{}))
	say := heardBy(t, n, 10)
	require.NoError(t, n.KeepHistory("chat", replay.Limits{Count: 4}))
	assert.Equal(t, 4, n.memoryOf("chat").Stats().Entries)
	require.NoError(t, n.KeepHistory("chat", replay.Limits{Count: 100}))
	say(11, 20)
	assert.Equal(t, 14, n.memoryOf("chat").Stats().Entries)
}

// unreadable is a store that can be written but not read.
type unreadable struct{ datastore.Batching }

func (unreadable) Query(context.Context, query.Query) (query.Results, error) {
	return nil, errors.New("the disk is worn out")
}

func TestAStoreThatCannotBeReadLeavesTheHistoryThereWas(t *testing.T) {
	n := newNode(t, Options{Store: unreadable{dssync.MutexWrap(datastore.NewMapDatastore())}})
	subscribe(t, "chat", n)
	say := heardBy(t, n, 3)
	require.ErrorContains(t, n.KeepHistory("chat", replay.Limits{}), "worn out")
	say(4, 4)
	assert.Equal(t, 4, n.memoryOf("chat").Stats().Entries, "what is recent is still remembered")
	assert.False(t, n.lookup("chat").history.isKept())
}

func TestARecoveryCountsWhatTheNodeGotByItselfMeanwhile(t *testing.T) {
	t.Parallel()
	r, _ := archive(t, replay.Limits{}, 3)
	n := newNode(t, Options{})
	subscribe(t, "chat", n)
	require.NoError(t, n.KeepHistory("chat", replay.Limits{}))
	h := &n.lookup("chat").history
	require.NoError(t, h.takeTurn(t.Context())) // as a round does
	begun := &used{t.Context(), make(chan struct{}), sync.Once{}}
	recovery := make(chan Recovery, 1)
	go func() {
		r, err := n.Recover(begun, "chat")
		assert.NoError(t, err)
		recovery <- r
	}()
	<-begun.done
	connect(t, n, r)
	require.Eventually(t, func() bool { return len(h.historians("")) > 0 }, patience, time.Millisecond)
	var brought int
	_, err := n.replay.Sync(t.Context(), r.self, "chat", h.ask(h.past.Limits().Age, &brought))
	require.NoError(t, err)
	require.Equal(t, 3, brought)
	h.brought.Add(3)
	h.giveTurn()
	assert.Equal(t, 3, (<-recovery).Messages)
}

// used is a context that tells when it is first waited for.
type used struct {
	context.Context
	done chan struct{}
	once sync.Once
}

func (u *used) Done() <-chan struct{} {
	u.once.Do(func() { close(u.done) })
	return u.Context.Done()
}

func TestRecoverySaysThatThereIsNobodyToAsk(t *testing.T) {
	n := newNode(t, Options{})
	require.NoError(t, n.KeepHistory("chat", replay.Limits{}))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := n.Recover(ctx, "chat")
	require.ErrorIs(t, err, context.Canceled)
	require.Error(t, n.KeepHistory("chat", replay.Limits{Count: -1}))
	require.ErrorIs(t, n.KeepHistory("tombolo/x", replay.Limits{}), message.ErrType)
	_, err = n.Recover(context.Background(), "x")
	require.ErrorIs(t, err, ErrNotKept)
}

func TestReplaysPassTheValidatorToo(t *testing.T) {
	t.Parallel()
	r, _ := archive(t, replay.Limits{}, 4)
	n := newNode(t, Options{})
	_, err := n.Validate("chat", func(_ context.Context, m *message.Message) Verdict {
		if string(m.Data) == "2" {
			return Reject
		}
		return Accept
	})
	require.NoError(t, err)
	connect(t, n, r)
	subscribe(t, "chat", n)
	require.NoError(t, n.KeepHistory("chat", replay.Limits{}))
	got := recoverAll(t, n, "chat")
	assert.Equal(t, 3, got.Messages)
	assert.Equal(t, []string{"1", "3", "4"}, n.texts())
	assert.Zero(t, n.marks.of(r.self, time.Now()), "the peer that sent the replay is not blamed")
	assert.Zero(t, n.Stats().Missing)
}
