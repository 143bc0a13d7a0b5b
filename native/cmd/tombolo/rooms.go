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
	Host     roomHostCmd     `cmd:"" help:"Host a room until interrupted."`
	Standby  roomStandbyCmd  `cmd:"" help:"Stand by for a room of the demo, and host it if its host leaves or fails."`
	Top      roomTopCmd      `cmd:"" help:"Watch the rooms that the daemon hosts."`
	Handover roomHandoverCmd `cmd:"" help:"Hand a room that the daemon hosts over to its first standby."`
	Offer    roomOfferCmd    `cmd:"" help:"Host rooms of the demo on demand (see room join --kind)."`
	Invite   roomInviteCmd   `cmd:"" help:"Print an invitation to a room that the daemon hosts, as a link and a QR code."`
	Save     roomSaveCmd     `cmd:"" help:"Store the current state of a room that the daemon hosts with --keep."`
	Board    roomBoardCmd    `cmd:"" help:"Show a leaderboard of a room."`
	Join     roomJoinCmd     `cmd:"" help:"Join a room of the demo until interrupted, and print what the player sees."`
	Bots     roomBotsCmd     `cmd:"" help:"Fill a room of the demo with random players, and measure what they see."`
}

// heldFlags are the flags of a room that the daemon hosts, or will host.
type heldFlags struct {
	Password   string            `help:"Password that players need." placeholder:"WORD"`
	Private    bool              `help:"Admit only players with an invitation (see room invite)."`
	Hidden     bool              `help:"Do not list the room; players need --host."`
	Keep       bool              `help:"Restore the room from the data directory, and store it there as it changes."`
	Hz         int               `help:"Ticks per second." default:"20" placeholder:"N"`
	Players    int               `help:"Maximum number of players." default:"256" placeholder:"N"`
	Spectators int               `help:"Maximum number of spectators." default:"16" placeholder:"N"`
	Radius     float32           `help:"Distance that a player sees." default:"40" placeholder:"UNITS"`
	Visible    int               `help:"Maximum number of things that a player sees, nearest first." default:"256" placeholder:"N"`
	Tag        map[string]string `help:"Tag that room ls shows and filters by. Repeatable." placeholder:"NAME=VALUE"`
	Every      time.Duration     `help:"Interval between reports." default:"5s" placeholder:"TIME"`
	Idle       time.Duration     `help:"Close a room that has been empty for this long. Default: never; for room offer, one minute." placeholder:"TIME"`
	Name       string            `arg:"" help:"Name of the room; for room offer, of the kind."`
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
	JSON    bool     `help:"Print one JSON object per line."`
	Demo    bool     `help:"Host the demo, a harbour in which each player steers a boat and collects buoys. Other games are Go or TypeScript programs: see docs/rooms.md."`
	Size    int      `help:"Side length of the harbour." default:"256" placeholder:"UNITS"`
	Buoys   int      `help:"Number of buoys." default:"50" placeholder:"N"`
	Standby []string `help:"Peer that may host the room after this one; it must run room standby. Repeatable: they take over in the order of the flags." placeholder:"PEER"`
}

// Run hosts a room until it is interrupted.
func (c *roomHostCmd) Run(ctx context.Context) error {
	if !c.Demo {
		return &command.UsageError{Err: errors.New("room host: there is no game: add --demo, or write one (docs/rooms.md)")}
	}
	q := c.heldFlags.call()
	q.Size, q.Buoys, q.Standbys = c.Size, c.Buoys, c.Standby
	held := roomPrinter{json: c.JSON}
	return followRoom(ctx, c.clientFlags, control.VerbRoomHost, q, func(s control.RoomState) error { return held.print(s, s) })
}

// roomPrinter prints the state of a room that the daemon hosts.
type roomPrinter struct {
	json bool
	host peer.ID
}

// print prints a state. all is the whole answer, for JSON. The last state is of a room
// that has moved.
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
	line := fmt.Sprintf("tick %d: %s (%d away), %s, a tick takes %.1f ms (p99 %.1f), %.0f %% of its time, shedding %s",
		s.Tick, counted(s.Players, "player", "players"), s.Away, counted(s.Entities, "entity", "entities"), s.TickMedian, s.TickP99, 100*s.Load, s.Shedding)
	if s.Epoch > 0 {
		line += fmt.Sprintf(", %d ready to take over", len(s.Standbys))
	}
	return command.Line(os.Stdout, "%s", line)
}

// counted returns a number with a noun, in the singular or the plural.
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

type roomStandbyCmd struct {
	clientFlags
	heldFlags
	JSON bool   `help:"Print one JSON object per line."`
	Host string `help:"ID of the peer that hosts the room. Default: search the mesh for the name." placeholder:"PEER"`
}

// Run makes the daemon a standby for a room until it is interrupted.
func (c *roomStandbyCmd) Run(ctx context.Context) error {
	q := control.RoomStandbyCall{RoomHostCall: c.heldFlags.call(), Host: c.Host}
	held := roomPrinter{json: c.JSON}
	last := ""
	return followRoom(ctx, c.clientFlags, control.VerbRoomStandby, q, func(s control.RoomStandbyState) error {
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
	Every time.Duration `help:"Interval between updates." default:"1s" placeholder:"TIME"`
	Count int           `help:"Number of updates. Default: until interrupted." placeholder:"N"`
}

// clearScreen clears a terminal and moves its cursor to the upper left corner.
const clearScreen = "\x1b[H\x1b[2J"

// Run watches the daemon's rooms.
func (c *roomTopCmd) Run(ctx context.Context) error {
	var last map[string]control.RoomState
	at, looks := time.Now(), 0
	return followRoom(ctx, c.clientFlags, control.VerbRoomTop, control.RoomTopCall{Every: c.Every.Seconds()}, func(rooms []control.RoomState) error {
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

// print prints the rooms, and what they did since the last states, took seconds ago.
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
	Name string `arg:"" help:"Name of the room."`
}

// Run hands a room over.
func (c *roomHandoverCmd) Run(ctx context.Context) error {
	h, err := call(ctx, c.clientFlags, control.VerbRoomHandOver, control.RoomHandOverCall{Name: c.Name})
	if err != nil {
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
	Name string `arg:"" help:"Name of the room."`
}

// Run stores a room.
func (c *roomSaveCmd) Run(ctx context.Context) error {
	s, err := call(ctx, c.clientFlags, control.VerbRoomSave, control.RoomSaveCall{Name: c.Name})
	if err != nil {
		return err
	}
	if c.JSON {
		return printLine(s)
	}
	return command.Line(os.Stdout, "room %s is stored as of tick %d", s.Name, s.Tick)
}

// roomFlags select a room.
type roomFlags struct {
	Host     string `help:"ID of the peer that hosts the room. Default: search the mesh for the name." placeholder:"PEER"`
	Kind     string `help:"If the room does not exist, ask a peer that offers this kind to open it (see room offer)." placeholder:"KIND"`
	Password string `help:"Password of the room." placeholder:"WORD"`
	Name     string `arg:"" help:"Name of the room; for room join, also the link of an invitation."`
}

type roomJoinCmd struct {
	clientFlags
	roomFlags
	JSON     bool   `help:"Print one JSON object per tick."`
	Spectate bool   `help:"Watch without playing."`
	As       string `help:"Name of the boat." placeholder:"NAME"`
	Hue      byte   `help:"Hue of a boat that has a name, from 0 to 255." placeholder:"N"`
	VX       int8   `name:"vx" help:"Eastward speed, in sixteenths of a unit per tick." default:"2" placeholder:"N"`
	VY       int8   `name:"vy" help:"Southward speed, in sixteenths of a unit per tick." default:"1" placeholder:"N"`
}

// Run joins a room and prints what the player sees, once a second.
func (c *roomJoinCmd) Run(ctx context.Context) error {
	q := control.RoomJoinCall{
		RoomFindCall: control.RoomFindCall{Name: c.Name, Host: c.Host, Kind: c.Kind},
		Password:     c.Password, Spectator: c.Spectate, VX: c.VX, VY: c.VY, As: c.As, Hue: c.Hue,
	}
	if c.Spectate {
		q.VX, q.VY = 0, 0
	}
	updates, last := 0, time.Now()
	return followRoom(ctx, c.clientFlags, control.VerbRoomJoin, q, func(t control.RoomTick) error {
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

// followRoom calls follow for a room; it is an error if the call ends before the command.
func followRoom[Q, A any](ctx context.Context, flags clientFlags, verb control.ContinuingVerb[Q, A], q Q, print func(A) error) error {
	name := strings.ReplaceAll(string(verb), "/", " ")
	ended, err := follow(ctx, flags, verb, name, q, print)
	if ended {
		return fmt.Errorf("%s: the daemon ended", name)
	}
	return err
}

type roomBotsCmd struct {
	clientFlags
	roomFlags
	JSON   bool          `help:"Print one JSON object per line."`
	Links  int           `help:"Number of connections, each from a separate peer." default:"1" placeholder:"N"`
	Inputs int           `help:"Inputs per second of each player." default:"20" placeholder:"N"`
	Every  time.Duration `help:"Interval between reports." default:"5s" placeholder:"TIME"`
	Count  int           `arg:"" help:"Number of players."`
}

// botsReport is the output of room bots --json. Times are in milliseconds.
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

// Run makes players join a room until it is interrupted.
func (c *roomBotsCmd) Run(ctx context.Context) error {
	if c.Links < 1 || c.Count < c.Links {
		return &command.UsageError{Err: fmt.Errorf("room bots: %d players over %d connections: each connection has one at least", c.Count, c.Links)}
	}
	if c.Inputs < 1 || c.Every < 100*time.Millisecond {
		return &command.UsageError{Err: errors.New("room bots: --inputs is at least 1, and --every at least 100ms")}
	}
	found, err := call(ctx, c.clientFlags, control.VerbRoomFind, control.RoomFindCall{Name: c.Name, Host: c.Host, Kind: c.Kind})
	if err != nil {
		return err
	}
	holder, err := core.ParsePeers(found.Addrs)
	if err != nil || len(holder) != 1 {
		return fmt.Errorf("room bots: %s, the host of the room, has no address to connect to", found.Host)
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
	return command.Line(os.Stdout, "%s over %s: %.0f updates a second, %.0f inputs a second (%d not sent), an input is seen after %.0f ms (p99 %.0f)",
		counted(r.Bots, "player", "players"), counted(c.Links, "connection", "connections"), float64(r.Updates)/c.Every.Seconds(), float64(r.Inputs)/c.Every.Seconds(), r.Refused, ms(r.SeenMedian), ms(r.SeenP99))
}

// newBotHost makes a separate peer for a connection of the bots.
func newBotHost() (host.Host, error) {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return nil, err
	}
	return stack.New(stack.Options{Key: key, UserAgent: "tombolo-bots"})
}
