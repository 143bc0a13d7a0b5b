package mesh

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"

	"github.com/tombolo-net/tombolo/core/mesh/replay"
	"github.com/tombolo-net/tombolo/core/message"
)

// recent are the limits of the history that goes with every topic in use. It is
// for what was said while a subscription was spreading, and for what GossipSub
// lost: for a minute, or 1024 messages, or 512 KiB of them.
var recent = replay.Limits{Count: 1024, Bytes: 512 << 10, Age: time.Minute, Publishers: 1024}

const (
	// settling is how long after it began a subscription is still spreading, at
	// most: until then each peer that comes to the topic is asked.
	settling = 30 * time.Second
	// repairAfter is how long a hole in a publisher's numbers is left to
	// GossipSub's own gossip. repairAgain is when those are asked again who did
	// not have it yet.
	repairAfter = 1200 * time.Millisecond
	repairAgain = 5 * time.Second
	// clockSlack is added to the age of what is asked for, for the time that the
	// question takes: up to that much is heard of what was said before a
	// subscription.
	clockSlack = time.Second
	// roundEvery is the least time between two rounds.
	roundEvery = 250 * time.Millisecond
	// catchUpTimeout bounds one round of questions.
	catchUpTimeout = 20 * time.Second
	// catchUpPeers is how many peers are asked in a round.
	catchUpPeers = 3

	// recoverPeers is how many peers Recover asks at most.
	recoverPeers = 8
	// recoverWait is how long Recover waits for a peer to ask.
	recoverWait = 10 * time.Second
)

// catchUps are when the peers on a topic are asked for what was said since this
// node came to it, or they did: soon; when GossipSub has had its heartbeat, after
// which this node is in the mesh of those around; and twice more, because they
// may have had to ask others in the same way.
var catchUps = []time.Duration{100 * time.Millisecond, 1500 * time.Millisecond, 4 * time.Second, 10 * time.Second}

// mostRounds bounds the rounds of all topics that are under way.
const mostRounds = 8

// ErrNotKept is returned by Recover for a type whose history is not kept.
var ErrNotKept = errors.New("no history of the type is kept")

// history is the part of a topic that remembers; under the topic's mu.
type history struct {
	past         *replay.History
	kept         bool        // past is not only recent
	whileCarried bool        // kept is the carrier's wish only
	listening    bool        // on the topic
	since        time.Time   // of that
	rounds       []time.Time // when to catch up, in order
	lastVia      peer.ID     // who handed over what had a hole before it
	catching     bool        // a round is under way
}

// newReplay starts answering for the histories of this node.
func (m *Mesh) newReplay() (*replay.Service, error) {
	return replay.New(m.host.Host, replay.Options{
		Histories: func(typ string) *replay.History {
			t := m.lookup(typ)
			if t == nil {
				return nil
			}
			t.mu.Lock()
			defer t.mu.Unlock()
			return t.past
		},
		Topic:    func(typ string) string { return m.prefix + typ },
		Open:     m.opts.Open,
		MaxEntry: m.opts.MaxMessage + rpcOverhead,
		// A peer that comes asks on each of its types.
		AnswersPerPeer: 8,
		AsksPerSecond:  64,
		AskBurst:       256,
		Logger:         m.log,
	})
}

// KeepHistory makes the node remember the broadcasts of a type that it hears,
// within limits, until it is closed: for peers that were away, and for Recover.
// The node is on the topic for as long. With Options.Store it also remembers
// what it heard in former runs.
//
// Again, it changes the limits. Errors are those of Subscribe and replay.Open;
// a history that is kept already is not touched by a call that fails.
func (m *Mesh) KeepHistory(typ string, limits replay.Limits) error {
	if err := m.keepHistory(typ, limits); err != nil {
		return fmt.Errorf("keep the history of %q: %w", typ, err)
	}
	return nil
}

func (m *Mesh) keepHistory(typ string, limits replay.Limits) error {
	if err := message.CheckType(typ); err != nil {
		return err
	}
	t, err := m.use(typ)
	if err != nil {
		return err
	}
	again, err := t.keep(t.topicName(), limits, false)
	if err != nil || again {
		t.release()
		return err
	}
	return t.announce()
}

// topicName names the history of a type that is kept: it is the topic.
func (t *topic) topicName() string { return t.m.prefix + t.typ }

// keep opens a history of that name in place of the one there is, or changes the
// limits of one that keep has opened for the same reason. again says that
// KeepHistory had done so before. Where it fails it has changed nothing.
func (t *topic) keep(name string, limits replay.Limits, whileCarried bool) (again bool, err error) {
	t.keeping.Lock()
	defer t.keeping.Unlock()
	t.mu.Lock()
	past, kept, again := t.past, t.kept, t.kept && !t.whileCarried
	t.mu.Unlock()
	switch {
	case again && whileCarried:
		return true, nil
	case kept && again != whileCarried:
		return again, past.SetLimits(limits)
	}
	opened, err := replay.Open(t.m.ctx, name, replay.HistoryOptions{Limits: limits, Store: t.m.opts.Store, Logger: t.m.log})
	if err != nil {
		return again, err
	}
	t.mu.Lock()
	t.past, t.kept, t.whileCarried = opened, true, whileCarried
	t.mu.Unlock()
	t.end(past)
	return again, nil
}

// end closes a history that another has taken the place of.
func (t *topic) end(past *replay.History) {
	if err := past.Close(); err != nil {
		t.m.log.Error("a history was not stored", "type", t.typ, "err", err)
	}
}

// endKeeping ends what keep began for the carrier, and says so.
func (t *topic) endKeeping() (ended bool) {
	t.keeping.Lock()
	defer t.keeping.Unlock()
	t.mu.Lock()
	if !t.whileCarried {
		t.mu.Unlock()
		return false
	}
	old := t.past
	t.past, t.kept, t.whileCarried = t.openRecent(), false, false
	t.mu.Unlock()
	t.end(old)
	return true
}

// closeHistory stores what is to be stored.
func (t *topic) closeHistory() error {
	if err := t.memory().Close(); err != nil {
		return fmt.Errorf("history of %q: %w", t.typ, err)
	}
	return nil
}

// remember keeps a broadcast as it was signed.
func (t *topic) remember(msg *message.Message, raw *pb.Message) {
	if msg.ID.Seq == 0 {
		return
	}
	data, err := raw.Marshal()
	if err != nil { // it was unmarshalled, or signed, a moment ago
		t.m.log.Error("a broadcast cannot be kept", "type", t.typ, "err", err)
		return
	}
	t.memory().Add(replay.Entry{Publisher: msg.From, ID: msg.ID, Signed: data})
}

func (t *topic) memory() *replay.History {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.past
}

// openRecent makes the history that remembers only what is recent.
func (t *topic) openRecent() *replay.History {
	past, err := replay.Open(context.Background(), t.typ, replay.HistoryOptions{Limits: recent, Logger: t.m.log})
	if err != nil { // it reads nothing, and the limits are right
		panic(err)
	}
	return past
}

// dropRecent ends the history of a topic that nobody uses.
func (t *topic) dropRecent() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.kept {
		_ = t.past.Close() // it stores nothing
	}
}

// catchUpSoon plans rounds; t.mu is held.
func (t *topic) catchUpSoon(after ...time.Duration) {
	if !t.listening {
		return
	}
	now := time.Now()
	for _, d := range after {
		// One round serves all that is planned for about the same time.
		at := now.Add(d).Sub(t.since).Truncate(roundEvery) + roundEvery
		if !slices.Contains(t.rounds, t.since.Add(at)) {
			t.rounds = append(t.rounds, t.since.Add(at))
		}
	}
	slices.SortFunc(t.rounds, time.Time.Compare)
	t.nudge()
}

// catchUp begins the round that is due, if any, and says when the next is. It is
// called by tend.
func (t *topic) catchUp(now time.Time) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.catching || len(t.rounds) == 0 {
		return time.Time{}
	}
	if !due(t.rounds[0], now) {
		return t.rounds[0]
	}
	t.rounds = slices.DeleteFunc(t.rounds, func(r time.Time) bool { return due(r, now) })
	age := min(now.Sub(t.since)+clockSlack, recent.Age)
	via := t.lastVia
	t.lastVia = ""
	t.catching = true
	t.m.run.Go(func() {
		t.askAround(age, via)
		t.mu.Lock()
		t.catching = false
		t.mu.Unlock()
		t.nudge()
	})
	return time.Time{}
}

// askAround asks some peers of the topic for what was said of late.
func (t *topic) askAround(age time.Duration, via peer.ID) {
	select {
	case t.m.rounds <- struct{}{}:
		defer func() { <-t.m.rounds }()
	case <-t.m.ctx.Done():
		return
	}
	if t.takeTurn(t.m.ctx) != nil {
		return
	}
	defer t.giveTurn()
	ctx, cancel := context.WithTimeout(t.m.ctx, catchUpTimeout)
	defer cancel()
	peers := t.historians(via)
	for _, p := range peers[:min(len(peers), catchUpPeers)] {
		a, err := t.m.replay.Sync(ctx, p, t.typ, t.ask(age, new(int)))
		if err != nil && ctx.Err() == nil {
			t.m.log.Debug("a peer could not be asked for what was missed", "type", t.typ, "peer", p, "err", err)
		}
		if err == nil && a.Complete() && via != "" {
			return // the hole is filled
		}
	}
}

// takeTurn waits until nobody else of this node asks for the topic's history: what
// two ask for at once comes out of order.
func (t *topic) takeTurn(ctx context.Context) error {
	select {
	case t.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *topic) giveTurn() { <-t.turn }

// ask is for what was said of late, or for all if age is zero. What is delivered
// is counted in n.
func (t *topic) ask(age time.Duration, n *int) replay.Ask {
	return replay.Ask{
		MaxAge: age,
		Check: func(ctx context.Context, msg *message.Message) bool {
			if t.m.judge(ctx, msg) == Accept {
				return true
			}
			t.passOver(msg)
			return false
		},
		Deliver: func(_ context.Context, msg *message.Message) {
			if t.acceptReplayed(msg) {
				*n++
			}
		},
	}
}

// historians are the connected peers that can be asked for the topic's history,
// in the order in which to do so: first of all first, then those that carry
// topics for others, then those on the topic, and then the rest.
func (t *topic) historians(first peer.ID) []peer.ID {
	on := make(map[peer.ID]bool)
	for _, p := range t.peersOn() {
		on[p] = true
	}
	rank := func(p peer.ID) int {
		switch {
		case p == first:
			return 0
		case t.m.isCarrier(p):
			return 1
		case on[p]:
			return 2
		}
		return 3
	}
	var peers []peer.ID
	for _, p := range t.m.host.Network().Peers() {
		known, err := t.m.host.Peerstore().SupportsProtocols(p, replay.Protocol)
		if err == nil && len(known) > 0 {
			peers = append(peers, p)
		}
	}
	rand.Shuffle(len(peers), func(i, j int) { peers[i], peers[j] = peers[j], peers[i] })
	slices.SortStableFunc(peers, func(a, b peer.ID) int { return rank(a) - rank(b) })
	return peers
}

// Recovery is what Recover brought.
type Recovery struct {
	// Peers are those that were asked and answered, to the end or not.
	Peers []peer.ID
	// Messages is how many were delivered.
	Messages int
	// Gaps are what publishers numbered and none of Peers has, as far as is
	// known.
	Gaps []replay.Gap
	// Unknown is where a publisher began anew, so that nobody can tell what
	// lay between.
	Unknown []replay.Unknown
	// Complete says that nothing is missing, as far as this node and the peer
	// that answered last know.
	Complete bool
}

// Recover asks peers, one after the other until one has it all, for the
// broadcasts of a type that this node missed and hands them to its subscribers:
// in order of each publisher, with signatures checked, with Replayed set. Any
// peer may hold them; relays are asked first. Only what KeepHistory has never
// had is asked for, and nothing older than its limits let it keep.
//
// What cannot be had is named in the Recovery, which is valid also beside an
// error. The error is ErrNotKept without KeepHistory, ErrNoPeers where nobody
// could be asked within 10 seconds, ErrClosed, that of ctx, or, where nobody
// answered to the end, why.
func (m *Mesh) Recover(ctx context.Context, typ string) (Recovery, error) {
	r, err := m.recover(ctx, typ)
	if err != nil {
		return r, fmt.Errorf("recover %q: %w", typ, err)
	}
	return r, nil
}

func (m *Mesh) recover(ctx context.Context, typ string) (r Recovery, err error) {
	if !m.calls.Begin() {
		return r, ErrClosed
	}
	defer m.calls.Leave()
	t := m.lookup(typ)
	if t == nil || !t.isKept() {
		return r, fmt.Errorf("%w: call KeepHistory first", ErrNotKept)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.ctx, cancel)()
	peers, err := t.waitForHistorian(ctx)
	if err == nil {
		err = t.takeTurn(ctx)
	}
	if err != nil {
		return r, m.closedOr(err)
	}
	defer t.giveTurn()
	var failures []error
	var whole bool
	for _, p := range peers[:min(len(peers), recoverPeers)] {
		a, err := m.replay.Sync(ctx, p, typ, t.ask(t.memory().Limits().Age, &r.Messages))
		if err != nil {
			failures = append(failures, err)
			if errors.Is(err, replay.ErrNoHistory) || ctx.Err() != nil {
				continue
			}
		}
		r.Peers = append(r.Peers, p)
		r.Gaps, r.Unknown = append(r.Gaps, a.Gaps...), append(r.Unknown, a.Unknown...)
		r.Gaps = t.memory().StillMissing(r.Gaps)
		whole = whole || err == nil
		if r.Complete = err == nil && a.Complete() && len(r.Gaps) == 0 && len(r.Unknown) == 0; r.Complete {
			break
		}
	}
	if whole {
		return r, nil
	}
	return r, m.closedOr(errors.Join(failures...))
}

func (t *topic) isKept() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.kept
}

// waitForHistorian is historians, of which it waits for one.
func (t *topic) waitForHistorian(ctx context.Context) ([]peer.ID, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, recoverWait, ErrNoPeers)
	defer cancel()
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for {
		if peers := t.historians(""); len(peers) > 0 {
			return peers, nil
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// isCarrier says whether a connected peer carries topics for others.
func (m *Mesh) isCarrier(p peer.ID) bool {
	if m.host.Network().Connectedness(p) == network.NotConnected {
		return false
	}
	known, err := m.host.Peerstore().SupportsProtocols(p, CarrierProtocol)
	return err == nil && len(known) > 0
}
