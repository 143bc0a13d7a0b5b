package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mdp/qrterminal/v3"

	"github.com/tombolo-net/tombolo/native/command"
	"github.com/tombolo-net/tombolo/native/control"
)

type roomLsCmd struct {
	clientFlags
	outputFlags
	Wait    time.Duration     `help:"Time to search for hosts." default:"2s" placeholder:"TIME"`
	Watch   bool              `help:"Run until interrupted and print each change, one room per line."`
	Name    string            `help:"Only rooms of this name." placeholder:"NAME"`
	Tag     map[string]string `help:"Only rooms with this tag. An empty value matches any value." placeholder:"NAME=VALUE"`
	Free    int               `help:"Only rooms with at least this many free seats." placeholder:"N"`
	Open    bool              `help:"Only rooms that need no password."`
	Version string            `help:"Only rooms of this version of a game." placeholder:"WORD"`
}

// Run lists the rooms of the mesh.
func (c *roomLsCmd) Run(ctx context.Context) error {
	filter := control.RoomFilter{Name: c.Name, Version: c.Version, Tags: c.Tag, Free: c.Free, Open: c.Open}
	if c.Watch {
		return followRoom(ctx, c.clientFlags, control.VerbRoomWatch, filter, c.print)
	}
	rooms, err := call(ctx, c.clientFlags, control.VerbRoomList, control.RoomListCall{RoomFilter: filter, Wait: c.Wait.Seconds()})
	if err != nil {
		return err
	}
	type r = control.ListedRoom
	return show(c.outputFlags, rooms, []column[r]{
		{"name", false, func(r r) string { return r.Name }},
		{"host", false, func(r r) string { return r.Host.String() }},
		{"players", false, func(r r) string { return fmt.Sprintf("%d/%d", r.Players, r.MaxPlayers) }},
		{"spectators", true, func(r r) string { return fmt.Sprintf("%d/%d", r.Spectators, r.MaxSpectators) }},
		{"hz", false, func(r r) string { return strconv.Itoa(r.Hz) }},
		{"password", false, func(r r) string { return map[bool]string{true: "yes", false: "no"}[r.Password] }},
		{"tags", false, func(r r) string { return orDash(tagList(r.Tags)) }},
		{"version", true, func(r r) string { return orDash(r.Version) }},
	})
}

// print prints a change of a room.
func (c *roomLsCmd) print(r control.RoomChange) error {
	switch {
	case c.json():
		return printLine(r)
	case r.Gone:
		return command.Line(os.Stdout, "%s of %s is gone", r.Name, r.Host)
	}
	line := fmt.Sprintf("%s of %s: %d of %d players", r.Name, r.Host, r.Players, r.MaxPlayers)
	if r.Password {
		line += ", with a password"
	}
	if len(r.Tags) > 0 {
		line += ", " + tagList(r.Tags)
	}
	return command.Line(os.Stdout, "%s", line)
}

func tagList(tags map[string]string) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, name+"="+tags[name])
	}
	return strings.Join(list, " ")
}

type roomOfferCmd struct {
	clientFlags
	heldFlags
	JSON  bool `help:"Print one JSON object per line."`
	Demo  bool `help:"Offer rooms of the demo. Other games are Go programs: see docs/rooms.md."`
	Size  int  `help:"Side length of each harbour." default:"256" placeholder:"UNITS"`
	Buoys int  `help:"Number of buoys in each harbour." default:"50" placeholder:"N"`
	Rooms int  `help:"Maximum number of rooms at a time. A peer that offers twice as many as another gets twice as many." default:"8" placeholder:"N"`
}

// Run offers rooms until it is interrupted.
func (c *roomOfferCmd) Run(ctx context.Context) error {
	if !c.Demo {
		return &command.UsageError{Err: errors.New("room offer: there is no game: add --demo, or write one (docs/rooms.md)")}
	}
	q := control.RoomOfferCall{RoomHostCall: c.heldFlags.call(), Rooms: c.Rooms}
	q.Size, q.Buoys = c.Size, c.Buoys
	var last []string
	begun := false
	return followRoom(ctx, c.clientFlags, control.VerbRoomOffer, q, func(rooms []control.RoomState) error {
		if c.JSON {
			return printLine(rooms)
		}
		var now []string
		for _, r := range rooms {
			now = append(now, r.Name)
		}
		var err error
		if !begun {
			begun, err = true, command.Line(os.Stdout, "up to %d rooms of kind %s are offered", c.Rooms, c.Name)
		}
		for _, name := range now {
			if !slices.Contains(last, name) {
				err = errors.Join(err, command.Line(os.Stdout, "room %s is open", name))
			}
		}
		for _, name := range last {
			if !slices.Contains(now, name) {
				err = errors.Join(err, command.Line(os.Stdout, "room %s is closed", name))
			}
		}
		last = now
		return err
	})
}

type roomInviteCmd struct {
	clientFlags
	JSON bool   `help:"Print a JSON object."`
	Page string `help:"Page that the link opens, for example https://relay.example.com. The invitation is in the fragment, which a browser does not send." placeholder:"URL"`
	QR   string `name:"qr" enum:"auto,always,never" default:"auto" help:"Draw a QR code of the link: auto, always or never (auto: only in a terminal). Links over 1,000 bytes get none." placeholder:"WHEN"`
	Name string `arg:"" help:"Name of the room."`
}

// mostInQR is the most bytes in a QR code. The largest of ISO/IEC 18004 holds 2,953, but
// one with half as many fills a screen, and no camera can read it.
const mostInQR = 1000

// Run prints an invitation.
func (c *roomInviteCmd) Run(ctx context.Context) error {
	invitation, err := call(ctx, c.clientFlags, control.VerbRoomInvite, control.RoomInviteCall{Name: c.Name, Page: c.Page})
	if err != nil {
		return err
	}
	if c.JSON {
		return printLine(invitation)
	}
	if len(invitation.Link) <= mostInQR && (c.QR == "always" || c.QR == "auto" && command.IsTerminal(os.Stdout)) {
		qrterminal.GenerateWithConfig(invitation.Link, qrterminal.Config{
			Level: qrterminal.L, Writer: os.Stdout, HalfBlocks: true, QuietZone: 2,
			BlackChar: qrterminal.BLACK_BLACK, WhiteChar: qrterminal.WHITE_WHITE,
			BlackWhiteChar: qrterminal.BLACK_WHITE, WhiteBlackChar: qrterminal.WHITE_BLACK,
		})
	}
	return command.Line(os.Stdout, "%s", invitation.Link)
}
