package mesh

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"

	"github.com/tombolo-net/tombolo/core/mesh/replay"
	"github.com/tombolo-net/tombolo/core/message"
)

// recent are the limits of the history that goes with every topic in use. It is
// for what was said while a subscription was spreading, and for what GossipSub
// lost: for a minute, or 1024 messages, or 512 KiB of them.
var recent = replay.Limits{Count: 1024, Bytes: 512 << 10, Age: time.Minute}

// ErrNotKept is returned by Recover for a type whose history is not kept.
var ErrNotKept = errors.New("no history of the type is kept")

// history is what was said on a topic: past judges what is new, and what is missing
// is asked for. See catchup.go for the latter.
type history struct {
	t    *topic
	past *replay.History // for as long as the topic is there

	keeping      sync.Mutex // makes a change of what is kept one step
	kept         bool       // past is not only recent
	whileCarried bool       // kept is the carrier's wish only

	turn chan struct{} // has the token of who asks for the history

	mu        sync.Mutex
	listening bool        // on the topic
	since     time.Time   // of that
	rounds    []time.Time // when to catch up, in order
	lastVia   peer.ID     // who handed over what had a hole before it
	catching  bool        // a round is under way
}

// newReplay starts answering for the histories of this node.
func (m *Mesh) newReplay() (*replay.Service, error) {
	return replay.New(m.host.Host, replay.Options{
		Histories: func(typ string) *replay.History {
			if t := m.lookup(typ); t != nil {
				return t.history.past
			}
			return nil
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

// newPast makes the history of a topic, which remembers only what is recent.
func (m *Mesh) newPast(typ string) *replay.History {
	past, err := replay.Open(context.Background(), typ, replay.HistoryOptions{Limits: recent, Logger: m.log})
	if err != nil { // it reads nothing, and the limits are right
		panic(err)
	}
	return past
}

// KeepHistory makes the node keep the broadcasts of a type that it receives, within
// limits, until the mesh is closed. They are for peers that were offline, and for
// Recover. The node stays on the topic for as long. With Options.Store, it also has
// those of earlier runs.
//
// The history includes broadcasts that were received shortly before the call. Another
// call changes the limits. The errors are those of Subscribe and of replay.History.Keep;
// a call that fails changes nothing.
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
	again, err := t.history.keep(t.topicName(), limits, false)
	if err != nil || again {
		t.release()
		return err
	}
	return t.members.announce()
}

// topicName names the history of a type that is kept: it is the topic.
func (t *topic) topicName() string { return t.m.prefix + t.typ }

// keep has the history kept under that name, within limits; again says that
// KeepHistory had done so before. Where it fails it has changed nothing.
func (h *history) keep(name string, limits replay.Limits, whileCarried bool) (again bool, err error) {
	h.keeping.Lock()
	defer h.keeping.Unlock()
	again = h.kept && !h.whileCarried
	if again && whileCarried {
		return true, nil
	}
	if err := h.past.Keep(h.t.m.ctx, name, replay.HistoryOptions{Limits: limits, Store: h.t.m.opts.Store}); err != nil {
		return again, err
	}
	if h.whileCarried && !whileCarried {
		h.t.m.erase(carriedPrefix + name) // it was kept there until now
	}
	h.kept, h.whileCarried = true, whileCarried
	return again, nil
}

// endKeeping ends what keep began for the carrier, and says so.
func (h *history) endKeeping() (ended bool) {
	h.keeping.Lock()
	defer h.keeping.Unlock()
	if !h.whileCarried {
		return false
	}
	h.kept, h.whileCarried = false, false
	_ = h.past.Keep(h.t.m.ctx, "", replay.HistoryOptions{Limits: recent}) // it is closed, or takes that
	return true
}

func (h *history) isKept() bool {
	h.keeping.Lock()
	defer h.keeping.Unlock()
	return h.kept
}

// close stores what is to be stored.
func (h *history) close() error {
	if err := h.past.Close(); err != nil {
		return fmt.Errorf("history of %q: %w", h.t.typ, err)
	}
	return nil
}

// drop ends the history of a topic that nobody uses.
func (h *history) drop() {
	if !h.isKept() {
		_ = h.past.Close() // it stores nothing
	}
}

// add remembers a numbered broadcast as it was signed, and says what it is.
func (h *history) add(msg *message.Message, raw *pb.Message) replay.Added {
	data, err := raw.Marshal()
	if err != nil { // it was unmarshalled, or signed, a moment ago
		h.t.m.log.Error("a broadcast cannot be kept", "type", h.t.typ, "error", err)
		return replay.Added{New: h.past.Skip(msg.From, msg.ID)}
	}
	return h.past.Add(replay.Entry{Publisher: msg.From, ID: msg.ID, Signed: data})
}

const (
	// recoverPeers is how many peers Recover asks at most.
	recoverPeers = 8
	// recoverWait is how long Recover waits for a peer to ask, and for a relay that
	// does not carry the type yet. It looks for the one every recoverLook, and asks the
	// other again after recoverAgain.
	recoverWait  = 10 * time.Second
	recoverLook  = 100 * time.Millisecond
	recoverAgain = 500 * time.Millisecond
)

// Recovery is the result of Recover.
type Recovery struct {
	// Peers are the peers that answered, completely or in part.
	Peers []peer.ID
	// Messages is the number of delivered messages.
	Messages int
	// Gaps are the ranges of numbered broadcasts that none of Peers has, as far as is
	// known.
	Gaps []replay.Gap
	// Unknown are the points at which a publisher began to number anew, so that nobody
	// knows what lies between.
	Unknown []replay.Unknown
	// Complete reports that nothing is missing, as far as this node and the peer that
	// answered last know.
	Complete bool
}

// Recover requests the broadcasts of a type that this node missed, and delivers them to
// its subscribers: in the order of each publisher, with verified signatures, and with
// Replayed set. It asks one peer after the other, relays first, until one has
// everything. It requests only what KeepHistory never had, and nothing older than its
// limits allow.
//
// The Recovery lists what could not be had. It is valid even if there is an error. The
// error is ErrNotKept without KeepHistory; ErrNoPeers if there was no peer to ask within
// 10 seconds; ErrClosed; the error of ctx; or, if no peer answered completely, the
// reason. A relay that does not carry the type yet is asked again during that time,
// because it takes a moment until it knows that this node is on the topic.
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
	if t == nil || !t.history.isKept() {
		return r, fmt.Errorf("%w: call KeepHistory first", ErrNotKept)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.ctx, cancel)()
	waiting, enough := context.WithTimeoutCause(ctx, recoverWait, ErrNoPeers)
	defer enough()
	for {
		peers, err := t.history.waitForHistorian(waiting)
		if err != nil {
			return r, m.closedOr(err)
		}
		peers = peers[:min(len(peers), recoverPeers)]
		if err = t.history.takeTurn(ctx); err == nil {
			err = t.history.recoverFrom(ctx, peers, &r)
			t.history.giveTurn()
		}
		if err == nil || len(r.Peers) > 0 || !errors.Is(err, replay.ErrNoHistory) || !slices.ContainsFunc(peers, m.isCarrier) {
			return r, m.closedOr(err)
		}
		// A relay carries a type as soon as it hears that somebody is on it.
		select {
		case <-time.After(recoverAgain):
		case <-waiting.Done():
			return r, m.closedOr(err)
		}
	}
}

// recoverFrom asks the peers one after the other, until one has all that is missing.
// It fails where none answers to the end.
func (h *history) recoverFrom(ctx context.Context, peers []peer.ID, r *Recovery) error {
	var failures []error
	var whole bool
	for _, p := range peers {
		a, err := h.t.m.replay.Sync(ctx, p, h.t.typ, h.ask(h.past.Limits().Age, &r.Messages))
		if err != nil {
			failures = append(failures, err)
			if errors.Is(err, replay.ErrNoHistory) || ctx.Err() != nil {
				continue
			}
		}
		r.Peers = append(r.Peers, p)
		r.Gaps, r.Unknown = append(r.Gaps, a.Gaps...), append(r.Unknown, a.Unknown...)
		r.Gaps = h.past.StillMissing(r.Gaps)
		whole = whole || err == nil
		if r.Complete = err == nil && a.Complete() && len(r.Gaps) == 0 && len(r.Unknown) == 0; r.Complete {
			break
		}
	}
	if whole {
		return nil
	}
	return errors.Join(failures...)
}

// waitForHistorian is historians, of which it waits for one.
func (h *history) waitForHistorian(ctx context.Context) ([]peer.ID, error) {
	look := time.NewTicker(recoverLook)
	defer look.Stop()
	for {
		if peers := h.historians(""); len(peers) > 0 {
			return peers, nil
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
