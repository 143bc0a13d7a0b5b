package world

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/message"
	"github.com/tombolo-net/tombolo/core/world/wire"
)

// How a room outlives its host. The host names standbys in a signed claim (package wire),
// and feeds each of them the world and its changes. A standby that no longer hears from
// the host takes over, with a claim of the next epoch, and the players follow it. There
// is no vote: peers that are cut off from one another may hold the room at the same time.
// As soon as they meet, all but one end theirs.

// Moved is the error of a room that another peer now holds.
type Moved struct {
	Host peer.ID
	// Epoch counts the hosts of a room with standbys. It is zero if the room gave way to
	// another of its name: see Options.GiveWay.
	Epoch uint32
}

func (m *Moved) Error() string {
	if m.Epoch == 0 {
		return fmt.Sprintf("the room gave way to that of %s", m.Host)
	}
	return fmt.Sprintf("the room has moved to %s, which holds it in epoch %d", m.Host, m.Epoch)
}

// NameStandbys names the peers that may take this room over, in this order, in place of
// those named before. Each has to apply by calling Rooms.StandBy. A standby receives
// everything that the room keeps, and the players trust it once it has taken over, so
// name only peers that you would let host the room. At most wire.MaxStandbys may be
// named. The room's game has to be a Keeper.
func (r *Room) NameStandbys(standbys ...peer.ID) error {
	if r.opts.GiveWay {
		return fmt.Errorf("name standbys of room %q: %w", r.opts.Name, errGivesWay)
	}
	if r.keep == nil {
		return fmt.Errorf("name standbys of room %q: its game, a %T, is no Keeper", r.opts.Name, r.game)
	}
	if err := checkStandbys(r.self, standbys); err != nil {
		return fmt.Errorf("name standbys of room %q: %w", r.opts.Name, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	claim := wire.Claim{Room: r.opts.Name, Epoch: 1, Host: r.self, Standbys: slices.Clone(standbys)}
	if len(r.line) > 0 {
		claim.Epoch, claim.Serial = r.line.Newest().Epoch, r.line.Newest().Serial
	}
	claim.Serial++
	if err := claim.Sign(r.key()); err != nil {
		return err
	}
	if len(r.line) == 0 {
		r.setLine(wire.Line{claim})
	} else {
		r.setLine(r.line.Renewed(claim))
	}
	return nil
}

// checkStandbys returns an error that says what is wrong with the standbys of a host, or
// nil.
func checkStandbys(self peer.ID, standbys []peer.ID) error {
	if len(standbys) > wire.MaxStandbys {
		return fmt.Errorf("%d standbys; at most %d may be", len(standbys), wire.MaxStandbys)
	}
	for i, p := range standbys {
		switch _, err := p.ExtractPublicKey(); {
		case p == self:
			return errors.New("the host cannot be its own standby")
		case err != nil:
			return fmt.Errorf("%s cannot be a standby: its key is not in its id", p)
		case slices.Contains(standbys[:i], p):
			return fmt.Errorf("%s is named twice", p)
		}
	}
	return nil
}

// setLine sets the line and has it sent to standbys and players; mu is held.
func (r *Room) setLine(l wire.Line) {
	r.line = l
	r.lineMessage = wire.AppendLine(nil, l)
	for _, f := range r.feeds {
		if !l.Names(f.peer) {
			f.end()
		}
		f.nudge()
	}
	if !r.ended {
		r.calls = append(r.calls, r.tellLine)
	}
}

// tellLine sends the line to all players. It is called by the tick.
func (r *Room) tellLine() {
	for _, v := range r.all {
		r.sayLine(v)
	}
}

func (r *Room) sayLine(v *visitor) {
	if _, line := r.claims(); len(line) > 0 {
		r.say(v, func(out []byte) []byte { return append(out, line...) })
	}
}

func (r *Room) claims() (wire.Line, []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.line, r.lineMessage
}

// claim answers a peer that asks for this node's claim to a room.
func (rs *Rooms) claim(_ context.Context, msg *message.Message) ([]byte, error) {
	rs.mu.Lock()
	r := rs.rooms[string(msg.Data)]
	rs.mu.Unlock()
	if r == nil {
		return nil, nil
	}
	_, line := r.claims()
	return line, nil
}

// askClaim asks a peer for its claim to a room. The line that it returns, if any, is
// verified.
func askClaim(ctx context.Context, node Node, p peer.ID, room string) (wire.Line, error) {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	answer, err := node.Request(ctx, p, wire.ClaimType, []byte(room))
	if err != nil || len(answer) == 0 {
		return nil, err
	}
	for kind, body := range wire.Split(answer) {
		if kind != wire.KindLine {
			break
		}
		return wire.DecodeVerified(body, room)
	}
	return nil, wire.ErrMalformed
}

const (
	// meetEvery is how often a host asks the connected peers that may hold its room, too.
	// For other peers the pause doubles each time, up to meetLimit.
	meetEvery = 2 * time.Second
	meetLimit = 30 * time.Second
	// askFor is how long a peer may take to answer with its claim.
	askFor = 5 * time.Second
)

// meet asks the peers that may hold the room, too, whether they do, until the room ends:
// its standbys that are not being fed, and earlier hosts.
func (r *Room) meet(node Node) {
	ctx, cancel := r.untilDone()
	defer cancel()
	tick := time.NewTicker(meetEvery)
	defer tick.Stop()
	pauses := make(map[peer.ID]time.Duration) // of those that do not answer
	due := make(map[peer.ID]time.Time)
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for _, p := range r.others() {
			connected := node.Host().Network().Connectedness(p) != network.NotConnected
			if now := time.Now(); !connected && now.Before(due[p]) {
				continue
			}
			l, err := askClaim(ctx, node, p, r.opts.Name)
			if err != nil {
				pauses[p] = min(max(2*pauses[p], meetEvery), meetLimit)
				due[p] = time.Now().Add(pauses[p])
				continue
			}
			delete(pauses, p)
			if len(l) > 0 {
				r.hear(l)
			}
		}
	}
}

// others returns the peers other than this one that may hold the room.
func (r *Room) others() []peer.ID {
	r.mu.Lock()
	defer r.mu.Unlock()
	var others []peer.ID
	add := func(p peer.ID) {
		if p != r.self && r.feeds[p] == nil && !slices.Contains(others, p) {
			others = append(others, p)
		}
	}
	for _, c := range r.line {
		add(c.Host)
		for _, p := range c.Standbys {
			add(p)
		}
	}
	return others
}

// hear handles another host's verified line. If it takes precedence over the room's own,
// the room ends, and its players are sent to the other host.
func (r *Room) hear(l wire.Line) {
	own, _ := r.claims()
	theirs := l.Newest()
	if len(own) == 0 || theirs.Host == r.self || !l.Beats(own) && !own.Beats(l) {
		return
	}
	r.opts.Logger.Warn("two peers hold a room", "room", r.opts.Name,
		"here", own.Newest().Epoch, "there", theirs.Epoch, "peer", theirs.Host, "stays", l.Beats(own))
	if l.Beats(own) {
		r.Do(func() { r.yield(l) })
	}
}

// yield ends the room in favour of another host. It is called by the tick.
func (r *Room) yield(l wire.Line) {
	if r.yielded == nil {
		r.yielded = l
		r.end(&Moved{l.Newest().Host, l.Newest().Epoch})
	}
}

// takeOver returns the line with the claim by which this peer takes over a room.
func takeOver(line wire.Line, self peer.ID, key crypto.PrivKey) (wire.Line, error) {
	before := line.Newest()
	standbys := slices.DeleteFunc(slices.Clone(before.Standbys), func(p peer.ID) bool { return p == self })
	standbys = append(standbys, before.Host)
	claim := wire.Claim{Room: before.Room, Epoch: before.Epoch + 1, Serial: 1, Host: self, Standbys: standbys}
	if err := claim.Sign(key); err != nil {
		return nil, err
	}
	return line.Continued(claim), nil
}
