package control

import (
	"context"
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/world/board"
)

// RoomBoardCall asks for lines of a board that the game of a room keeps: those around a
// player or, without one, those from a rank on.
type RoomBoardCall struct {
	RoomFindCall
	Board  string `json:"board"`
	Around string `json:"around,omitempty"` // a peer
	Each   int    `json:"each,omitempty"`   // how many lines before and after it
	Rank   int    `json:"rank,omitempty"`   // of the first line; if zero, 1
	Most   int    `json:"most,omitempty"`   // how many lines; if zero, 10
}

// boardQuery returns the peer to ask, and the query.
func (s *Server) boardQuery(ctx context.Context, q RoomBoardCall) (host peer.ID, query board.Query, err error) {
	if q.Board == "" {
		return "", query, badRequest{errors.New("the board has no name")}
	}
	if q.Each < 0 || q.Rank < 0 || q.Most < 0 || q.Most > board.MostRows {
		return "", query, badRequest{fmt.Errorf("a board tells of up to %d lines at once, from rank 1 on", board.MostRows)}
	}
	query = board.Query{Board: q.Board, Each: q.Each, Rank: q.Rank, Most: q.Most}
	if q.Around != "" {
		info, err := s.peer(ctx, q.Around)
		if err != nil {
			return "", query, err
		}
		query.Around = info.ID
	}
	host, err = s.roomHolder(ctx, q.RoomFindCall)
	return host, query, err
}

func (s *Server) roomBoard(ctx context.Context, q RoomBoardCall) (board.Lines, error) {
	host, query, err := s.boardQuery(ctx, q)
	if err != nil {
		return board.Lines{}, err
	}
	if query.Around == "" && query.Most == 0 {
		query.Most = board.WatchedRows
	}
	lines, err := board.Ask(ctx, s.opts.Rooms, host, q.Name, query)
	if err != nil {
		return board.Lines{}, fmt.Errorf("board %q of room %q: %w", q.Board, q.Name, err)
	}
	return lines, nil
}

func (s *Server) roomBoardWatch(ctx context.Context, q RoomBoardCall, tell func(any) error) error {
	host, query, err := s.boardQuery(ctx, q)
	if err != nil {
		return err
	}
	for lines, err := range board.Watch(ctx, s.opts.Rooms, host, q.Name, query) {
		if err != nil {
			return fmt.Errorf("board %q of room %q: %w", q.Board, q.Name, err)
		}
		if err := tell(lines); err != nil {
			return err
		}
	}
	return nil
}
