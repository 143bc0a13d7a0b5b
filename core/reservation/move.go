package reservation

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/tombolo-net/tombolo/core/internal/told"
)

// MoveProtocol is the protocol by which a relay that is about to shut down makes the
// peers that hold a reservation there move to another one. The relay opens a stream and
// writes one Notice, as a line of JSON. The peer answers with a line, "moving" or
// "nowhere", and closes its side of the stream when it has a reservation elsewhere; then
// the relay closes its own. The peer keeps its connection to the relay until the circuits
// through it have ended.
const MoveProtocol protocol.ID = "/tombolo/move/1.0.0"

// Bounds of a notice and of its contents.
const (
	maxNotice     = 16 << 10         // bytes
	noticeTimeout = 10 * time.Second // for the notice, or for its answer
	maxOffered    = 8                // relays that one keeper takes from notices
	maxWithin     = 24 * 60 * 60     // seconds
	movedTag      = "tombolo-moved"
)

const (
	answerMoving  = "moving\n"
	answerNowhere = "nowhere\n"
)

// ErrMoved is the reason reported when the keeper gave up a reservation because its relay
// is about to shut down and it holds another instead.
var ErrMoved = errors.New("the relay is about to end, and another has taken its place")

// Notice is the message that a relay about to shut down sends to a peer that holds a
// reservation there.
type Notice struct {
	Within int      `json:"within"` // seconds until the relay shuts down, at the latest
	Relays []string `json:"relays"` // others, as multiaddrs that end in /p2p/<id>; at most 8 relays are taken

	// Reason is set if the relay stays up and only this peer has to leave. It says why,
	// for a person to read; at most 512 bytes are taken. The peer answers "nowhere", and
	// the relay closes the connections.
	Reason string `json:"reason,omitempty"`
	Limit  string `json:"limit,omitempty"` // with Reason: the limit, as in LimitField
}

// Tell sends a peer the notice to move, on a stream of MoveProtocol. It returns when the
// peer has answered, after 10 seconds at the latest: true if the peer will move. Moved
// waits until it has.
func Tell(s network.Stream, n Notice) (moving bool, err error) {
	b, err := json.Marshal(n)
	if err != nil {
		return false, err
	}
	_ = s.SetDeadline(time.Now().Add(noticeTimeout))
	defer s.SetDeadline(time.Time{})
	if _, err = s.Write(append(b, '\n')); err != nil {
		return false, fmt.Errorf("tell %s to move: %w", s.Conn().RemotePeer(), err)
	}
	answer, err := readLine(s, len(answerNowhere))
	if err != nil {
		return false, fmt.Errorf("tell %s to move: no answer: %w", s.Conn().RemotePeer(), err)
	}
	return string(answer) == answerMoving, nil
}

// readLine reads to the end of a line, and no further.
func readLine(r io.Reader, most int) (line []byte, err error) {
	for one := make([]byte, 1); len(line) < most; {
		if _, err := io.ReadFull(r, one); err != nil {
			return nil, err
		}
		if line = append(line, one...); one[0] == '\n' {
			return line, nil
		}
	}
	return nil, fmt.Errorf("the line is longer than %d bytes", most)
}

// Moved waits until the peer has moved, after Tell has returned true for the stream. It
// then returns nil, and the caller must close the stream.
func Moved(s network.Stream) error {
	_, err := io.ReadFull(s, make([]byte, 1))
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil {
		err = errors.New("it says more than it should")
	}
	return fmt.Errorf("wait until %s has moved: %w", s.Conn().RemotePeer(), err)
}

// move is the state of moving away from a relay that is about to shut down.
type move struct {
	patience time.Time      // until then wait for a full set of replacements, after it for one
	ended    chan struct{}  // closed when the reservation is given up or lost
	moved    bool           // true if another took its place; set before ended is closed
	telling  sync.WaitGroup // the streams on which the relay is informed
}

// told handles a stream of MoveProtocol.
func (k *Keeper) told(s network.Stream) {
	k.mu.Lock()
	ctx := k.ctx
	if ctx == nil {
		k.mu.Unlock()
		_ = s.Reset()
		return
	}
	k.done.Add(1)
	k.mu.Unlock()
	defer k.done.Done()
	defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
	from := s.Conn().RemotePeer()
	m, err := k.heed(from, s)
	if err != nil {
		k.opts.Logger.Info("a notice to move is not heeded", "from", from, "error", err)
		_ = s.Reset()
		return
	}
	answer := answerMoving
	if m == nil {
		answer = answerNowhere
	}
	_ = s.SetDeadline(time.Now().Add(noticeTimeout))
	if m != nil {
		defer m.telling.Done()
	}
	if _, err := io.WriteString(s, answer); err != nil {
		_ = s.Reset()
		return
	}
	if m != nil {
		<-m.ended // ctx ends the reservation, too
		if !m.moved {
			_ = s.Reset()
			return
		}
	}
	// If the connection were closed at once, this might be lost with it.
	_ = s.CloseWrite()
	_ = s.SetReadDeadline(time.Now().Add(noticeTimeout))
	_, _ = io.ReadFull(s, make([]byte, 1))
	_ = s.Close()
}

// heed reads a notice and begins to move; it returns nil if there is no relay to move to.
func (k *Keeper) heed(from peer.ID, s network.Stream) (*move, error) {
	_ = s.SetReadDeadline(time.Now().Add(noticeTimeout))
	b, err := readLine(bufio.NewReader(s), maxNotice)
	if err != nil {
		return nil, err
	}
	var n Notice
	if err := json.Unmarshal(b, &n); err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	_, held := k.held[from]
	i := slices.IndexFunc(k.relays, func(r *relay) bool { return r.ID == from })
	if !held || i < 0 || k.ctx == nil {
		return nil, errors.New("there is no reservation on who sends it")
	}
	left := k.relays[i]
	if n.Reason != "" {
		left.refused = &RefusedError{Relay: from, Limit: told.Line(n.Limit, maxReason), Reason: told.Line(n.Reason, maxReason), Err: errDisconnected}
		return nil, nil
	}
	if left.move != nil {
		select {
		case <-left.move.ended: // its stream is not waited for any more
			return nil, errors.New("the reservation on who sends it has just ended")
		default:
		}
		left.move.telling.Add(1)
		return left.move, nil
	}
	if k.others(left) == 0 {
		k.accept(n.Relays)
	}
	if k.others(left) == 0 {
		k.opts.Logger.Warn("a relay is about to end, and there is no other to move to", "relay", from)
		return nil, nil
	}
	k.opts.Logger.Info("a relay is about to end: moving to another", "relay", from, "seconds", n.Within)
	left.move = &move{patience: time.Now().Add(time.Duration(min(max(n.Within, 0), maxWithin)) * time.Second / 3), ended: make(chan struct{})}
	left.move.telling.Add(1)
	left.look()
	for _, r := range k.relays {
		if r != left {
			k.rouse(r)
		}
	}
	return left.move, nil
}

// others returns the number of other relays that are not about to shut down. The mutex is
// held.
func (k *Keeper) others(left *relay) (n int) {
	for _, r := range k.relays {
		if r != left && r.move == nil {
			n++
		}
	}
	return n
}

// accept adds relays that another relay has named. The mutex is held.
func (k *Keeper) accept(named []string) {
	room := min(maxOffered, maxRelays-len(k.relays))
	for _, r := range k.relays {
		if r.offered {
			room--
		}
	}
	var addrs []ma.Multiaddr
	for _, s := range named {
		a, err := ma.NewMultiaddr(s)
		if err != nil {
			continue // a transport that this version does not know
		}
		if at, id := peer.SplitAddr(a); id != "" && id != k.host.ID() && len(at) > 0 && dialable(at) {
			addrs = append(addrs, a)
		}
	}
	infos, err := peer.AddrInfosFromP2pAddrs(addrs...)
	if err != nil {
		return
	}
	for _, info := range infos {
		if room <= 0 {
			return
		}
		if slices.ContainsFunc(k.relays, func(r *relay) bool { return r.ID == info.ID }) {
			continue
		}
		r := newRelay(info, "")
		r.offered = true
		k.add(r)
		room--
	}
}

// replaced reports whether the reservation on a relay that is about to shut down may be
// given up: once there are as many others as there should be, or at least one when
// patience has run out. It gives the slot back, for another relay. It also returns a
// channel that signals when to look again; nil means to wait for a change.
func (k *Keeper) replaced(of *relay, release func()) (moved bool, patience <-chan time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if of.move == nil {
		return false, nil
	}
	release()
	held := 0
	for _, r := range k.relays {
		if _, has := k.held[r.ID]; has && r != of && r.move == nil {
			held++
		}
	}
	if held == 0 {
		return false, nil
	}
	wait := time.Until(of.move.patience)
	if held >= min(k.opts.Max, k.others(of)) || wait <= 0 {
		return true, nil
	}
	return false, time.After(wait)
}

// left is called when a reservation was given up or lost. If another took its place, left
// waits until the circuits through the relay have ended and then closes the connections
// to it.
func (k *Keeper) left(ctx context.Context, of *relay, relay peer.ID, why error) {
	k.mu.Lock()
	m := of.move
	if m != nil {
		m.moved = errors.Is(why, ErrMoved)
		close(m.ended)
	}
	k.mu.Unlock()
	if m == nil {
		return
	}
	m.telling.Wait()
	if m.moved {
		k.host.ConnManager().Protect(relay, movedTag)
		for ctx.Err() == nil && k.host.Network().Connectedness(relay) != network.NotConnected {
			if !k.inCircuit(relay) {
				_ = k.host.Network().ClosePeer(relay)
				break
			}
			select {
			case <-of.ended:
			case <-ctx.Done():
			}
		}
		k.host.ConnManager().Unprotect(relay, movedTag)
	}
	k.mu.Lock()
	of.move = nil
	k.mu.Unlock()
}

// inCircuit reports whether there is a connection through a relay.
func (k *Keeper) inCircuit(relay peer.ID) bool {
	return slices.ContainsFunc(k.host.Network().Conns(), func(c network.Conn) bool {
		via, _ := ma.SplitFunc(c.RemoteMultiaddr(), func(part ma.Component) bool { return part.Protocol().Code == ma.P_CIRCUIT })
		if len(via) == len(c.RemoteMultiaddr()) {
			return false
		}
		_, id := peer.SplitAddr(via)
		return id == relay
	})
}
