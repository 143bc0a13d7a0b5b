package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/world/demo"
	"github.com/tombolo-net/tombolo/native/command"
	"github.com/tombolo-net/tombolo/native/control"
	"github.com/tombolo-net/tombolo/native/stack"
)

type roomCmd struct {
	Ls       roomLsCmd       `cmd:"" default:"withargs" help:"List the rooms of the mesh (the default)."`
	Host     roomHostCmd     `cmd:"" help:"Hold a room until interrupted."`
	Standby  roomStandbyCmd  `cmd:"" help:"Stand by for a room of the demo, and hold it when its host leaves or is gone."`
	Top      roomTopCmd      `cmd:"" help:"Watch the rooms that the daemon holds."`
	Handover roomHandoverCmd `cmd:"" help:"Hand a room of the daemon over to its first standby."`
	Offer    roomOfferCmd    `cmd:"" help:"Hold rooms of the demo when somebody wants one (room join --kind)."`
	Invite   roomInviteCmd   `cmd:"" help:"Print a link, and a QR code of it, with which one joins a room of the daemon."`
	Save     roomSaveCmd     `cmd:"" help:"Store a room of the daemon that is kept, as it is now."`
	Board    roomBoardCmd    `cmd:"" help:"Show a board that the game of a room keeps."`
	Join     roomJoinCmd     `cmd:"" help:"Sit in a room of the demo until interrupted, and print what is seen."`
	Bots     roomBotsCmd     `cmd:"" help:"Fill a room of the demo with players that steer at random, and measure what they see."`
}

// heldFlags are those of a room that the daemon holds, or will.
type heldFlags struct {
	Password   string            `help:"What players need to know." placeholder:"WORD"`
	Private    bool              `help:"Keep out whoever has no invitation (room invite)."`
	Hidden     bool              `help:"Do not list the room: players need --host."`
	Keep       bool              `help:"Begin as the room was when it was last kept, and store it in the data directory."`
	Hz         int               `help:"Ticks a second." default:"20" placeholder:"N"`
	Players    int               `help:"How many may play." default:"256" placeholder:"N"`
	Spectators int               `help:"How many may watch besides." default:"16" placeholder:"N"`
	Radius     float32           `help:"How far a player sees." default:"40" placeholder:"UNITS"`
	Visible    int               `help:"How many things a player sees, the nearest first." default:"256" placeholder:"N"`
	Tag        map[string]string `help:"What those who look for rooms are told of this one." placeholder:"NAME=VALUE"`
	Every      time.Duration     `help:"How often to print how the room is doing." default:"5s" placeholder:"TIME"`
	Idle       time.Duration     `help:"Close a room in which nobody has been for so long. By default it stays; one that room offer has opened closes after a minute." placeholder:"TIME"`
	Name       string            `arg:"" help:"Of the room; for room offer, of the kind."`
}

func (c *heldFlags) call() control.RoomHostCall {
	return control.RoomHostCall{
		Name: c.Name, Password: c.Password, Hidden: c.Hidden, Private: c.Private, Hz: c.Hz, Players: c.Players, Spectators: c.Spectators,
		Radius: c.Radius, Visible: c.Visible, Tags: c.Tag, Idle: c.Idle.Seconds(), Keep: c.Keep, Every: c.Every.Seconds(),
	}
}

type roomHostCmd struct {
	clientFlags
	heldFlags
	JSON    bool     `help:"Print a JSON object a line."`
	Demo    bool     `help:"Play the demo, a harbour in which each player steers a boat, and takes buoys. Other games are Go or TypeScript programs: see docs/rooms.md."`
	Size    int      `help:"The side of the harbour." default:"256" placeholder:"UNITS"`
	Buoys   int      `help:"What drifts about." default:"50" placeholder:"N"`
	Standby []string `help:"A peer that may hold the room after this one, which runs room standby. Several take over in the order of their flags." placeholder:"PEER"`
}

// Run holds a room until it is interrupted.
func (c *roomHostCmd) Run(ctx context.Context) error {
	if !c.Demo {
		return &command.UsageError{Err: errors.New("room host: there is no game: add --demo, or write one (docs/rooms.md)")}
	}
	q := c.heldFlags.call()
	q.Size, q.Buoys, q.Standbys = c.Size, c.Buoys, c.Standby
	held := roomPrinter{json: c.JSON}
	return followRoom(ctx, c.clientFlags, "room/host", q, func(s control.RoomState) error { return held.print(s, s) })
}

// roomPrinter prints how a room is doing that the daemon holds.
type roomPrinter struct {
	json bool
	host peer.ID
}

// print prints a state, which in JSON is all; the last one is of a room that has moved.
func (p *roomPrinter) print(s control.RoomState, all any) error {
	opened, moved := p.host == "", p.host != "" && p.host != s.Host
	p.host = s.Host
	var err error
	switch {
	case p.json:
		err = printLine(all)
	case moved:
		err = command.Line(os.Stdout, "room %s has moved to %s", s.Name, s.Host)
	case opened:
		err = command.Line(os.Stdout, "room %s is open at %s", s.Name, s.Host)
	default:
		err = p.line(s)
	}
	if moved {
		err = errors.Join(err, errEnough)
	}
	return err
}

func (p *roomPrinter) line(s control.RoomState) error {
	line := fmt.Sprintf("tick %d: %d players (%d away), %d entities, a tick takes %.1f ms (p99 %.1f), %.0f %% of its time, shedding %s",
		s.Tick, s.Players, s.Away, s.Entities, s.TickMedian, s.TickP99, 100*s.Load, s.Shedding)
	if s.Epoch > 0 {
		line += fmt.Sprintf(", %d ready to take over", len(s.Standbys))
	}
	return command.Line(os.Stdout, "%s", line)
}

type roomStandbyCmd struct {
	clientFlags
	heldFlags
	JSON bool   `help:"Print a JSON object a line."`
	Host string `help:"The peer that holds the room; without it, the mesh is searched for the name." placeholder:"PEER"`
}

// Run stands by for a room until it is interrupted.
func (c *roomStandbyCmd) Run(ctx context.Context) error {
	q := control.RoomStandbyCall{RoomHostCall: c.heldFlags.call(), Host: c.Host}
	held := roomPrinter{json: c.JSON}
	last := ""
	return followRoom(ctx, c.clientFlags, "room/standby", q, func(s control.RoomStandbyState) error {
		switch {
		case s.Held != nil:
			return held.print(*s.Held, s)
		case c.JSON:
			return printLine(s)
		}
		line := fmt.Sprintf("room %s is held by %s: ready to take over", s.Name, s.Host)
		if !s.Ready {
			line = fmt.Sprintf("room %s is held by %s: not ready: %s", s.Name, s.Host, cmp.Or(s.Reason, "waiting for it"))
		}
		if line == last {
			return nil
		}
		last = line
		return command.Line(os.Stdout, "%s", line)
	})
}

type roomTopCmd struct {
	clientFlags
	outputFlags
	Every time.Duration `help:"How often to look." default:"1s" placeholder:"TIME"`
	Count int           `help:"End after so many looks; by default, when it is interrupted." placeholder:"N"`
}

// clearScreen has a terminal begin anew at its upper left corner.
const clearScreen = "\x1b[H\x1b[2J"

// Run watches the daemon's rooms.
func (c *roomTopCmd) Run(ctx context.Context) error {
	var last map[string]control.RoomState
	at, looks := time.Now(), 0
	return followRoom(ctx, c.clientFlags, "room/top", control.RoomTopCall{Every: c.Every.Seconds()}, func(rooms []control.RoomState) error {
		took := time.Since(at).Seconds()
		at = time.Now()
		if err := c.print(rooms, last, took); err != nil {
			return err
		}
		last = make(map[string]control.RoomState)
		for _, s := range rooms {
			last[s.Name] = s
		}
		if looks++; looks == c.Count {
			return errEnough
		}
		return nil
	})
}

// print prints the rooms, and what they did since they were as they were last, so many
// seconds ago.
func (c *roomTopCmd) print(rooms []control.RoomState, last map[string]control.RoomState, took float64) error {
	switch {
	case c.json():
		return printLine(rooms)
	case command.IsTerminal(os.Stdout):
		if _, err := os.Stdout.WriteString(clearScreen); err != nil {
			return err
		}
	}
	type r = control.RoomState
	rate := func(of func(r) uint64) func(r) string {
		return func(now r) string {
			before, known := last[now.Name]
			if !known || of(now) < of(before) {
				return "-"
			}
			return fmt.Sprintf("%.0f", float64(of(now)-of(before))/took)
		}
	}
	ms := func(of func(r) float64) func(r) string {
		return func(now r) string { return fmt.Sprintf("%.1f", of(now)) }
	}
	return show(c.outputFlags, rooms, []column[r]{
		{"name", false, func(r r) string { return r.Name }},
		{"players", false, func(r r) string { return strconv.Itoa(r.Players) }},
		{"away", true, func(r r) string { return strconv.Itoa(r.Away) }},
		{"spectators", true, func(r r) string { return strconv.Itoa(r.Spectators) }},
		{"peers", true, func(r r) string { return strconv.Itoa(r.Peers) }},
		{"entities", false, func(r r) string { return strconv.Itoa(r.Entities) }},
		{"tick", true, func(r r) string { return strconv.FormatUint(uint64(r.Tick), 10) }},
		{"ms", false, ms(func(r r) float64 { return r.TickMedian })},
		{"p99", false, ms(func(r r) float64 { return r.TickP99 })},
		{"load", false, func(r r) string { return fmt.Sprintf("%.0f%%", 100*r.Load) }},
		{"skipped", true, func(r r) string { return strconv.FormatUint(r.Skipped, 10) }},
		{"updates/s", false, rate(func(r r) uint64 { return r.Updates })},
		{"bytes/s", false, rate(func(r r) uint64 { return r.Bytes })},
		{"shedding", false, func(r r) string { return r.Shedding }},
		{"inputs ms", true, ms(func(r r) float64 { return r.Phases.Inputs })},
		{"game ms", true, ms(func(r r) float64 { return r.Phases.Game })},
		{"encoding ms", true, ms(func(r r) float64 { return r.Phases.Encoding })},
		{"looking ms", true, ms(func(r r) float64 { return r.Phases.Looking })},
		{"telling ms", true, ms(func(r r) float64 { return r.Phases.Telling })},
		{"epoch", true, func(r r) string { return strconv.FormatUint(uint64(r.Epoch), 10) }},
		{"standbys", false, func(r r) string { return strconv.Itoa(len(r.Standbys)) }},
	})
}

type roomHandoverCmd struct {
	clientFlags
	JSON bool   `help:"Print a JSON object."`
	Name string `arg:"" help:"Of the room."`
}

// Run hands a room over.
func (c *roomHandoverCmd) Run(ctx context.Context) error {
	var h control.RoomHandedOver
	if err := c.call(ctx, "room/handover", control.RoomHandOverCall{Name: c.Name}, &h); err != nil {
		return err
	}
	if c.JSON {
		return printLine(h)
	}
	return command.Line(os.Stdout, "room %s is held by %s now", h.Name, h.Host)
}

type roomSaveCmd struct {
	clientFlags
	JSON bool   `help:"Print a JSON object."`
	Name string `arg:"" help:"Of the room."`
}

// Run stores a room.
func (c *roomSaveCmd) Run(ctx context.Context) error {
	var s control.RoomState
	if err := c.call(ctx, "room/save", control.RoomSaveCall{Name: c.Name}, &s); err != nil {
		return err
	}
	if c.JSON {
		return printLine(s)
	}
	return command.Line(os.Stdout, "room %s is stored as of tick %d", s.Name, s.Tick)
}

// roomFlags name a room.
type roomFlags struct {
	Host     string `help:"The peer that holds the room; without it, the mesh is searched for the name." placeholder:"PEER"`
	Kind     string `help:"If there is no such room, have a peer open it that offers rooms of this kind (room offer)." placeholder:"KIND"`
	Password string `help:"Of the room." placeholder:"WORD"`
	Name     string `arg:"" help:"Of the room; for room join, the link of an invitation, too."`
}

type roomJoinCmd struct {
	clientFlags
	roomFlags
	JSON     bool   `help:"Print a JSON object a line, for every tick."`
	Spectate bool   `help:"Only watch."`
	As       string `help:"The name of the boat." placeholder:"NAME"`
	Hue      byte   `help:"The colour of a boat that has a name, as a 256th of the colour circle." placeholder:"N"`
	VX       int8   `name:"vx" help:"How the boat sails, in sixteenths of a unit a tick." default:"2" placeholder:"N"`
	VY       int8   `name:"vy" help:"The same, southward." default:"1" placeholder:"N"`
}

// Run sits in a room and prints what is seen, once a second.
func (c *roomJoinCmd) Run(ctx context.Context) error {
	q := control.RoomJoinCall{
		RoomFindCall: control.RoomFindCall{Name: c.Name, Host: c.Host, Kind: c.Kind},
		Password:     c.Password, Spectator: c.Spectate, VX: c.VX, VY: c.VY, As: c.As, Hue: c.Hue,
	}
	if c.Spectate {
		q.VX, q.VY = 0, 0
	}
	updates, last := 0, time.Now()
	return followRoom(ctx, c.clientFlags, "room/join", q, func(t control.RoomTick) error {
		if c.JSON {
			return printLine(t)
		}
		if updates += t.Updates; time.Since(last) < time.Second {
			return nil
		}
		n := updates
		updates, last = 0, time.Now()
		if c.Spectate {
			return command.Line(os.Stdout, "tick %d: %d in sight, %d updates", t.Tick, t.Sees, n)
		}
		return command.Line(os.Stdout, "tick %d: the boat is at %.1f, %.1f; score %d; %d in sight, %d updates", t.Tick, t.X, t.Y, t.Score, t.Sees, n)
	})
}

// followRoom is follow for a room, which ends with its command alone.
func followRoom[T any](ctx context.Context, flags clientFlags, verb string, q any, print func(T) error) error {
	name := strings.ReplaceAll(verb, "/", " ")
	ended, err := follow(ctx, flags, verb, name, q, print)
	if ended {
		return fmt.Errorf("%s: the daemon ended", name)
	}
	return err
}

type roomBotsCmd struct {
	clientFlags
	roomFlags
	JSON   bool          `help:"Print a JSON object a line."`
	Links  int           `help:"Over how many connections, each of a peer of its own." default:"1" placeholder:"N"`
	Inputs int           `help:"Inputs of each player a second." default:"20" placeholder:"N"`
	Every  time.Duration `help:"How often to print what they saw." default:"5s" placeholder:"TIME"`
	Count  int           `arg:"" help:"How many players."`
}

// botsReport is what room bots --json prints. Times are in ms.
type botsReport struct {
	Bots       int     `json:"bots"`
	Links      int     `json:"links"`
	Ticks      uint64  `json:"ticks"`
	Updates    uint64  `json:"updates"`
	Inputs     uint64  `json:"inputs"`
	Refused    uint64  `json:"refused"`
	SeenMedian float64 `json:"seenMedian"`
	SeenP99    float64 `json:"seenP99"`
}

// Run has players sit in a room until it is interrupted.
func (c *roomBotsCmd) Run(ctx context.Context) error {
	if c.Links < 1 || c.Count < c.Links {
		return &command.UsageError{Err: fmt.Errorf("room bots: %d players over %d connections: each connection has one at least", c.Count, c.Links)}
	}
	if c.Inputs < 1 || c.Every < 100*time.Millisecond {
		return &command.UsageError{Err: errors.New("room bots: --inputs is at least 1, and --every at least 100ms")}
	}
	var found control.FoundRoom
	if err := c.call(ctx, "room/find", control.RoomFindCall{Name: c.Name, Host: c.Host, Kind: c.Kind}, &found); err != nil {
		return err
	}
	holder, err := core.ParsePeers(found.Addrs)
	if err != nil || len(holder) != 1 {
		return fmt.Errorf("room bots: %s, which holds the room, has no address that could be dialled", found.Host)
	}
	bots := new(demo.Bots)
	defer bots.Close()
	room := demo.Room{Name: c.Name, Holder: holder[0], Password: c.Password, Timeout: c.Timeout}
	if err := bots.Embark(network.WithAllowLimitedConn(ctx, "tombolo"), room, c.Count, c.Links, newBotHost); err != nil {
		return interrupted(ctx, fmt.Errorf("room bots: %w", err))
	}
	played := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { played <- bots.Play(ctx, c.Inputs) }()
	ticker := time.NewTicker(c.Every)
	defer ticker.Stop()
	for {
		select {
		case err := <-played:
			return interrupted(ctx, about("room bots", err))
		case <-ticker.C:
		}
		if err := c.print(bots.Report()); err != nil {
			return command.ReaderGone(err)
		}
	}
}

func (c *roomBotsCmd) print(r demo.Report) error {
	ms := func(d time.Duration) float64 { return float64(d) / 1e6 }
	if c.JSON {
		return printLine(botsReport{r.Bots, c.Links, r.Ticks, r.Updates, r.Inputs, r.Refused, ms(r.SeenMedian), ms(r.SeenP99)})
	}
	return command.Line(os.Stdout, "%d players over %d connections: %.0f updates a second, %.0f inputs a second (%d not sent), an input is seen after %.0f ms (p99 %.0f)",
		r.Bots, c.Links, float64(r.Updates)/c.Every.Seconds(), float64(r.Inputs)/c.Every.Seconds(), r.Refused, ms(r.SeenMedian), ms(r.SeenP99))
}

// newBotHost makes a peer of its own for a connection of the bots.
func newBotHost() (host.Host, error) {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return nil, err
	}
	return stack.New(stack.Options{Key: key, UserAgent: "tombolo-bots"})
}
