package mesh

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"

	"github.com/tombolo-net/tombolo/core/mesh/replay"
	"github.com/tombolo-net/tombolo/core/message"
)

// recent are the limits of the history of every topic in use. It serves for broadcasts
// that were sent while a subscription was spreading, and for those that GossipSub lost:
// it keeps them for a minute, up to 1024 messages or 512 KiB.
var recent = replay.Limits{Count: 1024, Bytes: 512 << 10, Age: time.Minute}

// ErrNotKept is returned by Recover for a type whose history is not kept.
var ErrNotKept = errors.New("no history of the type is kept")

// history holds the broadcasts of a topic. past decides which are new; for the missing
// ones, see catchup.go.
type history struct {
	t    *topic
	past *replay.History // open as long as the topic is

	keeping      sync.Mutex // makes a change of what is kept one step
	kept         bool       // past keeps more than recent
	whileCarried bool       // only the carrier wants it kept

	turn    chan struct{} // holds a token while the history is being requested
	brought atomic.Int64  // messages that rounds of catching up have delivered

	mu        sync.Mutex
	listening bool        // on the topic
	since     time.Time   // when the node joined the topic
	rounds    []time.Time // when to catch up, in ascending order
	lastVia   peer.ID     // the peer that handed over the broadcast after the last hole
	catching  bool        // a round is under way
}

// newReplay starts answering requests for the histories of this node.
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
		// A peer that connects sends a request for each of its types.
		AnswersPerPeer: 8,
		AsksPerSecond:  64,
		AskBurst:       256,
		Logger:         m.log,
	})
}

// newPast returns the history of a topic, which keeps only what is recent.
func (m *Mesh) newPast(typ string) *replay.History {
	past, err := replay.Open(context.Background(), typ, replay.HistoryOptions{Limits: recent, Logger: m.log})
	if err != nil { // it loads nothing, and the limits are valid
		panic(err)
	}
	return past
}

// KeepHistory makes the node keep the broadcasts of a type that it receives, within
// limits, until the mesh is closed. They are for peers that were offline, and for
// Recover. The node stays on the topic until then. With Options.Store, the history
// includes the broadcasts of earlier runs.
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

// topicName returns the name of the kept history of a type: the topic.
func (t *topic) topicName() string { return t.m.prefix + t.typ }

// keep keeps the history within limits, stored under that name if there is a store. again
// reports that KeepHistory had done so before. If keep fails, nothing has changed.
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
		h.t.m.erase(carriedPrefix + name) // it was kept under that name until now
	}
	h.kept, h.whileCarried = true, whileCarried
	return again, nil
}

// endKeeping ends what keep began for the carrier, and reports whether there was anything
// to end.
func (h *history) endKeeping() (ended bool) {
	h.keeping.Lock()
	defer h.keeping.Unlock()
	if !h.whileCarried {
		return false
	}
	h.kept, h.whileCarried = false, false
	_ = h.past.Keep(h.t.m.ctx, "", replay.HistoryOptions{Limits: recent}) // fails only if it is closed
	return true
}

func (h *history) isKept() bool {
	h.keeping.Lock()
	defer h.keeping.Unlock()
	return h.kept
}

// close stores the changes that are left.
func (h *history) close() error {
	if err := h.past.Close(); err != nil {
		return fmt.Errorf("history of %q: %w", h.t.typ, err)
	}
	return nil
}

// drop closes the history of a topic that nobody uses, unless it is kept.
func (h *history) drop() {
	if !h.isKept() {
		_ = h.past.Close() // it stores nothing
	}
}

// add adds a numbered broadcast as it was signed, and returns what past says of it.
func (h *history) add(msg *message.Message, raw *pb.Message) replay.Added {
	data, err := raw.Marshal()
	if err != nil { // it was unmarshalled, or signed, a moment ago
		h.t.m.log.Error("a broadcast cannot be kept", "type", h.t.typ, "error", err)
		return replay.Added{New: h.past.Skip(msg.From, msg.ID)}
	}
	return h.past.Add(replay.Entry{Publisher: msg.From, ID: msg.ID, Signed: data})
}

const (
	// recoverPeers is the maximum number of peers that Recover asks.
	recoverPeers = 8
	// recoverWait is how long Recover waits for a peer to ask, and for a relay that does
	// not carry the type yet. It looks for a peer every recoverLook, and asks the relay
	// again after recoverAgain.
	recoverWait  = 10 * time.Second
	recoverLook  = 100 * time.Millisecond
	recoverAgain = 500 * time.Millisecond
)

// Recovery is the result of Recover.
type Recovery struct {
	// Peers are the peers that answered, completely or in part.
	Peers []peer.ID
	// Messages is the number of delivered messages. It includes those that the node got by
	// itself while Recover waited: who has just subscribed asks for the last second, too.
	Messages int
	// Gaps are the ranges of numbered broadcasts that none of Peers has, as far as is
	// known.
	Gaps []replay.Gap
	// Unknown are the points at which a publisher began a new epoch, so that nobody knows
	// what lies between.
	Unknown []replay.Unknown
	// Complete reports that nothing is missing, as far as this node and the peer that
	// answered last know.
	Complete bool
}

// Recover requests the broadcasts of a type that this node missed, and delivers them to
// its subscribers: in the order of each publisher, with verified signatures, and with
// Replayed set. It asks one peer after the other, relays first, until one has everything.
// It requests only broadcasts that the history has never had, and none older than the
// limits of KeepHistory.
//
// The Recovery lists what could not be recovered. It is valid even if there is an error.
// The error is ErrNotKept without KeepHistory; ErrNoPeers if there was no peer to ask
// within 10 seconds; ErrClosed; the error of ctx; or, if no peer answered completely, the
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
	before := t.history.brought.Load()
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
			now := t.history.brought.Load()
			r.Messages += int(now - before)
			before = now
			err = t.history.recoverFrom(ctx, peers, &r)
			t.history.giveTurn()
		}
		if err == nil || len(r.Peers) > 0 || !errors.Is(err, replay.ErrNoHistory) || !slices.ContainsFunc(peers, m.isCarrier) {
			return r, m.closedOr(err)
		}
		// A relay carries a type as soon as it learns that a peer is on it.
		select {
		case <-time.After(recoverAgain):
		case <-waiting.Done():
			return r, m.closedOr(err)
		}
	}
}

// recoverFrom asks the peers one after the other, until one has everything that is
// missing. It fails if none answers completely.
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

// waitForHistorian is like historians, but waits until there is one.
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
