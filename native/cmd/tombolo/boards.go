package main

import (
	"context"
	"os"
	"strconv"
	"time"

	"github.com/tombolo-net/tombolo/core/world/board"
	"github.com/tombolo-net/tombolo/native/command"
	"github.com/tombolo-net/tombolo/native/control"
)

type roomBoardCmd struct {
	clientFlags
	outputFlags
	Host   string `help:"ID of the peer that hosts the room. Default: search the mesh for the name." placeholder:"PEER"`
	Around string `help:"Show the line of this player, and those before and after it." placeholder:"PEER"`
	Each   int    `help:"Number of lines to show before and after that player." default:"5" placeholder:"N"`
	Top    int    `help:"Number of top lines to show (without --around)." default:"10" placeholder:"N"`
	Watch  bool   `help:"Show the lines again whenever they change, until interrupted."`
	Name   string `arg:"" help:"Name of the room."`
	Board  string `arg:"" help:"Name of the board. The demo has one, sailed."`
}

// Run shows a board.
func (c *roomBoardCmd) Run(ctx context.Context) error {
	q := control.RoomBoardCall{RoomFindCall: control.RoomFindCall{Name: c.Name, Host: c.Host}, Board: c.Board}
	if c.Around != "" {
		q.Around, q.Each = c.Around, c.Each
	} else if c.Top != board.WatchedRows { // the host's default
		q.Most = c.Top
	}
	if c.Watch {
		return followRoom(ctx, c.clientFlags, control.VerbRoomBoardWatch, q, c.print)
	}
	lines, err := call(ctx, c.clientFlags, control.VerbRoomBoard, q)
	if err != nil {
		return err
	}
	return c.print(lines)
}

func (c *roomBoardCmd) print(lines board.Lines) error {
	if c.json() {
		return printLine(lines)
	}
	if c.Watch && command.IsTerminal(os.Stdout) {
		if _, err := os.Stdout.WriteString(clearScreen); err != nil {
			return err
		}
	}
	type l = board.Line
	err := show(c.outputFlags, lines.Lines, []column[l]{
		{"rank", false, func(l l) string { return strconv.Itoa(l.Rank) }},
		{"score", false, func(l l) string { return strconv.FormatInt(l.Score, 10) }},
		{"peer", false, func(l l) string { return l.Peer.String() }},
	})
	if err != nil {
		return err
	}
	until := ""
	if !lines.End.IsZero() {
		until = ", until " + lines.End.UTC().Format(time.RFC3339)
	}
	return command.Line(os.Stdout, "%d on the board%s", lines.Players, until)
}
