//go:build js

package jsapi

import (
	"errors"
	"fmt"
	"syscall/js"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/world"
	"github.com/tombolo-net/tombolo/core/world/board"
)

// The ways in which the page's game can change a board.
const (
	changeSet byte = iota
	changeAdd
	changeImprove
	changeRemove
)

// doBoard carries out one instruction about boards.
func (g *game) doBoard(op byte, in *instructions) {
	if op == doBoard {
		name, period, lowest, keep := string(in.bytes()), board.Period(in.byte()), in.byte() == 1, in.number()
		b, err := g.w.Board(name, world.BoardOptions{Period: period, LowestFirst: lowest, Keep: int(keep)})
		if err != nil {
			panic(fmt.Sprintf("the game of the page: %v", err))
		}
		g.boards = append(g.boards, b)
		return
	}
	number, change, id, score, at := in.number(), in.byte(), string(in.bytes()), in.long(), time.UnixMilli(in.long())
	if int64(number) >= int64(len(g.boards)) {
		panic(fmt.Sprintf("the game of the page has no board %d", number))
	}
	p, err := peer.Decode(id)
	if err != nil {
		panic(fmt.Sprintf("the game of the page has a score of %.64q, which is no peer: %v", id, err))
	}
	b := g.boards[number]
	of, err := b.At(at)
	switch {
	case errors.Is(err, board.ErrAhead):
		of = b.Now() // the clocks of the page and the worker differ a little
	case err != nil:
		return // the board of that time is no longer kept
	}
	player := b.Players.Number(p)
	switch change {
	case changeSet:
		of.Set(player, score)
	case changeAdd:
		of.Add(player, score)
	case changeImprove:
		of.Improve(player, score)
	case changeRemove:
		of.Remove(player)
	default:
		panic(fmt.Sprintf("the game of the page changes a board by %d", change))
	}
}

// jsBoard asks the host of a room for lines of a board.
func (n *node) jsBoard(args []js.Value) (any, error) {
	host, err := peerArgument(argument(args, 0))
	if err != nil {
		return nil, err
	}
	room, err := stringArgument(argument(args, 1), "room", "a string")
	if err != nil {
		return nil, err
	}
	q, err := boardQuery(argument(args, 2))
	if err != nil {
		return nil, err
	}
	o, err := readOptions(argument(args, 3), "signal")
	if err != nil {
		return nil, err
	}
	ctx, cancel, err := o.context()
	if err != nil {
		return nil, err
	}
	defer cancel()
	rooms, err := n.rooms()
	if err != nil {
		return nil, err
	}
	lines, err := board.Ask(ctx, rooms, host, room, q)
	if err != nil {
		return nil, err
	}
	end := float64(0)
	if !lines.End.IsZero() {
		end = float64(lines.End.UnixMilli())
	}
	rows := make([]any, len(lines.Lines))
	for i, l := range lines.Lines {
		rows[i] = map[string]any{"rank": l.Rank, "peer": l.Peer.String(), "score": float64(l.Score)}
	}
	return map[string]any{"end": end, "players": lines.Players, "lines": rows}, nil
}

func boardQuery(v js.Value) (q board.Query, err error) {
	o, err := readOptions(v, "around", "at", "board", "each", "most", "rank")
	if err != nil {
		return q, err
	}
	if q.Board, err = o.words("board", "a string"); err != nil {
		return q, err
	}
	if o.given("around") {
		if q.Around, err = peerArgument(o["around"]); err != nil {
			return q, o.bad("around", "a peer id")
		}
	}
	for name, to := range map[string]*int{"each": &q.Each, "most": &q.Most, "rank": &q.Rank} {
		count, err := o.count(name, 0, 1<<31-1)
		if err != nil {
			return q, err
		}
		*to = int(count)
	}
	at, err := o.count("at", 0, 1<<53-1)
	if err == nil && at > 0 {
		q.At = time.UnixMilli(int64(at))
	}
	return q, err
}
