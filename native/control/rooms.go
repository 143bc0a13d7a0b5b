package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/world"
	"github.com/tombolo-net/tombolo/core/world/demo"
	"github.com/tombolo-net/tombolo/core/world/seat"
	"github.com/tombolo-net/tombolo/core/world/wire"
)

// RoomHostCall makes the daemon host a room, for as long as the call lasts.
type RoomHostCall struct {
	Name       string  `json:"name"`
	Password   string  `json:"password,omitempty"`
	Hidden     bool    `json:"hidden,omitempty"`
	Private    bool    `json:"private,omitempty"`
	Hz         int     `json:"hz,omitempty"`
	Players    int     `json:"players,omitempty"`
	Spectators int     `json:"spectators,omitempty"`
	Radius     float32 `json:"radius,omitempty"`
	Visible    int     `json:"visible,omitempty"` // maximum number of entities that one player sees
	// Idle is the time without players after which the room closes, in seconds. If zero, it
	// stays open.
	Idle float64 `json:"idle,omitempty"`
	// Tags are shown to peers that search for rooms, by name.
	Tags  map[string]string `json:"tags,omitempty"`
	Size  int               `json:"size,omitempty"`  // of the demo
	Buoys int               `json:"buoys,omitempty"` // of the demo
	// Keep restores the room's state from when it was last hosted here with Keep, and stores
	// it from then on.
	Keep bool `json:"keep,omitempty"`
	// Standbys are the peer IDs of the peers that may take over the room after the daemon,
	// in that order.
	Standbys []string `json:"standbys,omitempty"`
	// Every is the interval between reports, in seconds. If zero, 1.
	Every float64 `json:"every,omitempty"`
}

// RoomStandbyCall makes the daemon a standby for a room that a peer hosts: it takes over
// when that peer leaves or goes offline. The call lasts as long as the standby, or the
// room that it took over. Password and Players must be the same as the host's; Size and
// Buoys are ignored.
type RoomStandbyCall struct {
	RoomHostCall
	Host string `json:"host,omitempty"` // a peer; if empty, the room is looked for in the mesh
}

// RoomStandbyState is the state of a room for which the daemon is a standby.
type RoomStandbyState struct {
	Name  string  `json:"name"`
	Host  peer.ID `json:"host"`  // that hosts the room, as far as is known
	Ready bool    `json:"ready"` // the daemon could take over
	// Reason is the reason why the standby does not receive the room's state, if it is
	// known.
	Reason string `json:"reason,omitempty"`
	// Held is the state of the room once the daemon hosts it.
	Held *RoomState `json:"held,omitempty"`
}

// RoomHandOverCall hands a room that the daemon hosts over to the first of its standbys
// that is ready.
type RoomHandOverCall struct {
	Name string `json:"name"`
}

// RoomHandedOver names the peer that hosts a room after the daemon.
type RoomHandedOver struct {
	Name string  `json:"name"`
	Host peer.ID `json:"host"`
}

// RoomState is the state of a room that the daemon hosts. Times are in milliseconds.
type RoomState struct {
	Name       string     `json:"name"`
	Host       peer.ID    `json:"host"`
	Tick       uint32     `json:"tick"`
	Players    int        `json:"players"`
	Away       int        `json:"away"`
	Spectators int        `json:"spectators"`
	Peers      int        `json:"peers"`
	Entities   int        `json:"entities"`
	TickMedian float64    `json:"tickMedian"`
	TickP99    float64    `json:"tickP99"`
	Skipped    uint64     `json:"skipped"`
	Load       float64    `json:"load"` // share of the tick's period
	Shedding   string     `json:"shedding"`
	Phases     RoomPhases `json:"phases"`
	Frames     uint64     `json:"frames"`
	Passed     uint64     `json:"passed"`
	Updates    uint64     `json:"updates"`
	Held       uint64     `json:"held"`
	Bytes      uint64     `json:"bytes"`
	Stored     uint64     `json:"stored"` // records of the world
	// StoreFailures is the number of batches that the store rejected; they are retried.
	StoreFailures uint64 `json:"storeFailures"`
	// Epoch counts the peers that have hosted the room; zero if it has no standbys.
	Epoch uint32 `json:"epoch"`
	// Standbys are the standbys that are ready to take over.
	Standbys []peer.ID `json:"standbys"`
}

// RoomPhases is the time that the last tick of a room spent on each of its parts, in
// milliseconds.
type RoomPhases struct {
	Inputs   float64 `json:"inputs"`
	Game     float64 `json:"game"`
	Encoding float64 `json:"encoding"`
	Looking  float64 `json:"looking"`
	Telling  float64 `json:"telling"`
}

// RoomTopCall asks for the states of all rooms that the daemon hosts, at intervals.
type RoomTopCall struct {
	// Every is the interval in seconds. If zero, 1.
	Every float64 `json:"every,omitempty"`
}

// RoomSaveCall stores the current state of a room that the daemon hosts.
type RoomSaveCall struct {
	Name string `json:"name"`
}

// RoomFindCall looks for a room.
type RoomFindCall struct {
	Name string `json:"name"`
	Host string `json:"host,omitempty"` // a peer; if empty, the room is looked for in the mesh
	// Kind asks a peer that offers rooms of this kind to open the room, if it does not
	// exist.
	Kind string `json:"kind,omitempty"`
}

// FoundRoom is the peer that hosts a room, and its addresses.
type FoundRoom struct {
	Host  peer.ID  `json:"host"`
	Addrs []string `json:"addrs"`
}

// RoomJoinCall makes the daemon join a room of the demo, for as long as the call lasts.
// Name may be the link of an invitation; Host and Password are then ignored.
type RoomJoinCall struct {
	RoomFindCall
	Password  string `json:"password,omitempty"`
	Spectator bool   `json:"spectator,omitempty"`
	VX        int8   `json:"vx,omitempty"` // how the boat sails, in sixteenths a tick
	VY        int8   `json:"vy,omitempty"`
	As        string `json:"as,omitempty"`  // the name of the boat
	Hue       byte   `json:"hue,omitempty"` // its colour, a 256th of the circle, if it has a name
}

// RoomTick is the view of a player after a tick. Sees is the number of entities, X and Y
// are the position of its boat, if it has one, and Score is the number of buoys that the
// boat has taken.
type RoomTick struct {
	Tick    uint32  `json:"tick"`
	Again   bool    `json:"again,omitempty"` // the connection was restored
	Sees    int     `json:"sees"`
	Updates int     `json:"updates"`
	Left    int     `json:"left"`
	X       float32 `json:"x"`
	Y       float32 `json:"y"`
	Score   uint16  `json:"score"`
}

// roomOptions returns the options of a room that the daemon hosts or is a standby for.
func (s *Server) roomOptions(q RoomHostCall) (opts world.Options, every time.Duration, err error) {
	if every, err = readEvery(q.Every); err != nil {
		return opts, 0, err
	}
	opts = world.Options{
		Name: q.Name, Version: demo.Version, Password: q.Password, Hidden: q.Hidden, Private: q.Private, Hz: q.Hz,
		Players: q.Players, Spectators: q.Spectators, Radius: q.Radius, Visible: q.Visible, Tags: q.Tags, Idle: time.Duration(q.Idle * float64(time.Second)), Logger: s.log,
	}
	for _, id := range q.Standbys {
		p, err := peer.Decode(id)
		if err != nil {
			return opts, 0, badRequest{fmt.Errorf("the standby %q is not a peer ID: %w", id, err)}
		}
		opts.Standbys = append(opts.Standbys, p)
	}
	if !q.Keep {
		return opts, every, nil
	}
	if s.opts.RoomStore == nil {
		return opts, 0, badRequest{errors.New("this program keeps no rooms")}
	}
	opts.Store, err = s.opts.RoomStore()
	return opts, every, err
}

func readEvery(seconds float64) (time.Duration, error) {
	every := time.Duration(cmp.Or(seconds, 1) * float64(time.Second))
	if every < 50*time.Millisecond || every > time.Hour {
		return 0, badRequest{fmt.Errorf("every: %v s is not from 0.05 to 3600", seconds)}
	}
	return every, nil
}

func (s *Server) roomTop(ctx context.Context, q RoomTopCall, tell func(any) error) error {
	every, err := readEvery(q.Every)
	if err != nil {
		return err
	}
	return s.tellOfRooms(ctx, every, s.opts.Rooms.Rooms, tell)
}

// tellOfRooms reports the states of rooms, at intervals.
func (s *Server) tellOfRooms(ctx context.Context, every time.Duration, rooms func() []*world.Room, tell func(any) error) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		states := []RoomState{}
		for _, room := range rooms() {
			states = append(states, s.roomState(room))
		}
		if err := tell(states); err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (q *RoomHostCall) checkDemo() error {
	if q.Size < 0 || q.Size > demo.MaxSize || q.Buoys < 0 || q.Buoys > demo.MaxBuoys {
		return badRequest{fmt.Errorf("the harbour may have a size of up to %d and up to %d buoys", demo.MaxSize, demo.MaxBuoys)}
	}
	return nil
}

func (s *Server) roomHost(ctx context.Context, q RoomHostCall, tell func(any) error) error {
	opts, every, err := s.roomOptions(q)
	if err != nil {
		return err
	}
	if err := q.checkDemo(); err != nil {
		return err
	}
	room, err := s.opts.Rooms.Host(&demo.Harbour{Size: q.Size, Buoys: q.Buoys, Sight: q.Radius}, opts)
	if err != nil {
		return badRequest{err}
	}
	return s.tellOfRoom(ctx, room, every, func(state RoomState) error { return tell(state) })
}

// handOverLimit bounds the time to hand a room over when the call that hosts it ends.
const handOverLimit = 5 * time.Second

// tellOfRoom reports the state of a room for as long as the daemon hosts it. When ctx
// ends, the room is handed over, or closed if no standby is ready. If it has moved, the
// last state names its new host.
func (s *Server) tellOfRoom(ctx context.Context, room *world.Room, every time.Duration, tell func(RoomState) error) error {
	defer room.Close() // which logs the failure if it cannot be stored
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		if err := tell(s.roomState(room)); err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-room.Done():
			err := room.Wait(ctx)
			var moved *world.Moved
			if errors.As(err, &moved) {
				state := s.roomState(room)
				state.Host, state.Epoch = moved.Host, moved.Epoch
				return tell(state)
			}
			return err
		case <-ctx.Done():
			leaving, cancel := context.WithTimeout(context.Background(), handOverLimit)
			defer cancel()
			_, err := room.HandOver(leaving)
			if err != nil && !errors.Is(err, world.ErrNoStandby) {
				s.log.Warn("a room is closed, for it could not be handed over", "room", room.Name(), "error", err)
			}
			return nil
		}
	}
}

func (s *Server) roomStandby(ctx context.Context, q RoomStandbyCall, tell func(any) error) error {
	opts, every, err := s.roomOptions(q.RoomHostCall)
	if err != nil {
		return err
	}
	host, err := s.roomHolder(ctx, RoomFindCall{Name: q.Name, Host: q.Host})
	if err != nil {
		return err
	}
	standby, err := s.opts.Rooms.StandBy(host, new(demo.Harbour), opts)
	if err != nil {
		return badRequest{err}
	}
	defer standby.Close()
	for {
		ready, reason := standby.Ready()
		state := RoomStandbyState{Name: q.Name, Host: standby.Host(), Ready: ready}
		if reason != nil {
			state.Reason = reason.Error()
		}
		if err := tell(state); err != nil {
			return err
		}
		waiting, cancel := context.WithTimeout(ctx, every)
		room, err := standby.Wait(waiting)
		cancel()
		switch {
		case err == nil:
			return s.tellOfRoom(ctx, room, every, func(held RoomState) error {
				return tell(RoomStandbyState{Name: q.Name, Host: held.Host, Ready: true, Held: &held})
			})
		case ctx.Err() != nil:
			return nil
		case !errors.Is(err, context.DeadlineExceeded):
			return err
		}
	}
}

func (s *Server) roomHandOver(ctx context.Context, q RoomHandOverCall) (RoomHandedOver, error) {
	room, err := s.room(q.Name)
	if err != nil {
		return RoomHandedOver{}, fmt.Errorf("hand over room %q: %w", q.Name, err)
	}
	to, err := room.HandOver(ctx)
	if err != nil {
		return RoomHandedOver{}, fmt.Errorf("hand over room %q: %w", q.Name, err)
	}
	return RoomHandedOver{q.Name, to}, nil
}

// room returns a room that the daemon hosts.
func (s *Server) room(name string) (*world.Room, error) {
	for _, room := range s.opts.Rooms.Rooms() {
		if room.Name() == name {
			return room, nil
		}
	}
	return nil, badRequest{errors.New("the daemon holds no room of this name")}
}

func (s *Server) roomState(room *world.Room) RoomState {
	st := room.Stats()
	return RoomState{
		Name: room.Name(), Host: s.node.ID(), Tick: st.Tick, Players: st.Players, Away: st.Away, Spectators: st.Spectators,
		Peers: st.Peers, Entities: st.Entities, TickMedian: milliseconds(st.Median), TickP99: milliseconds(st.P99),
		Skipped: st.Skipped, Load: st.Load, Shedding: st.Shedding.String(), Frames: st.Frames, Passed: st.Passed,
		Updates: st.Updates + st.Entered, Held: st.Held, Bytes: st.Bytes,
		Stored: st.Stored, StoreFailures: st.StoreFailures,
		Phases: RoomPhases{
			milliseconds(st.Phases.Inputs), milliseconds(st.Phases.Game), milliseconds(st.Phases.Encoding),
			milliseconds(st.Phases.Looking), milliseconds(st.Phases.Telling),
		},
		Epoch: room.Epoch(), Standbys: append([]peer.ID{}, room.Standbys()...),
	}
}

func (s *Server) roomSave(ctx context.Context, q RoomSaveCall) (RoomState, error) {
	room, err := s.room(q.Name)
	if err == nil {
		err = room.Flush(ctx)
	}
	if err != nil {
		return RoomState{}, fmt.Errorf("save room %q: %w", q.Name, err)
	}
	return s.roomState(room), nil
}

// roomFindLimit bounds the search for a room in the mesh.
const roomFindLimit = 10 * time.Second

// roomHolder returns the peer that hosts a room.
func (s *Server) roomHolder(ctx context.Context, q RoomFindCall) (peer.ID, error) {
	if err := world.CheckName(q.Name); err != nil {
		return "", badRequest{err}
	}
	if q.Host != "" {
		return s.reach(ctx, q.Host)
	}
	ctx, cancel := context.WithTimeout(ctx, roomFindLimit)
	defer cancel()
	if q.Kind != "" {
		return seat.Place(ctx, s.opts.Rooms, q.Kind, q.Name, nil)
	}
	return seat.Find(ctx, s.opts.Rooms, q.Name)
}

func (s *Server) roomFind(ctx context.Context, q RoomFindCall) (FoundRoom, error) {
	host, err := s.roomHolder(ctx, q)
	if err != nil {
		return FoundRoom{}, err
	}
	found := FoundRoom{Host: host}
	if host == s.node.ID() {
		for _, a := range s.node.Addrs() {
			found.Addrs = append(found.Addrs, a.String())
		}
		return found, nil
	}
	for _, c := range s.node.Host().Network().ConnsToPeer(host) {
		found.Addrs = append(found.Addrs, fmt.Sprintf("%s/p2p/%s", c.RemoteMultiaddr(), host))
	}
	return found, nil
}

// takeSeat joins a room by its name or by an invitation.
func (s *Server) takeSeat(ctx context.Context, q RoomJoinCall) (*seat.Seat, error) {
	opts := seat.Options{Version: demo.Version, Password: q.Password, Spectator: q.Spectator}
	if q.As != "" {
		opts.Data = demo.AppendPapers(nil, demo.Papers{Name: demo.CleanName(q.As), Hue: q.Hue})
	}
	if wire.IsInvitation(q.Name) {
		invitation, err := wire.ParseInvitation(q.Name)
		if err != nil {
			return nil, badRequest{err}
		}
		return seat.Accept(ctx, s.opts.Rooms, invitation, opts)
	}
	host, err := s.roomHolder(ctx, q.RoomFindCall)
	if err != nil {
		return nil, err
	}
	opts.Host = host
	return seat.Join(ctx, s.opts.Rooms, q.Name, opts)
}

func (s *Server) roomJoin(ctx context.Context, q RoomJoinCall, tell func(any) error) error {
	st, err := s.takeSeat(ctx, q)
	if err != nil {
		return err
	}
	defer func() { _ = st.Leave() }()
	answer, err := demo.DecodeAnswer(st.Answer())
	if err != nil {
		return err
	}
	if q.VX != 0 || q.VY != 0 {
		if _, err := st.Input(demo.AppendInput(nil, q.VX, q.VY)); err != nil {
			return err
		}
	}
	view := seat.NewView(demo.Decode, demo.Thing.Apply)
	for {
		tick, err := st.Next(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("room %q: %w", q.Name, err)
		}
		if err := view.Take(tick); err != nil {
			return fmt.Errorf("room %q: its host sent what is %w", q.Name, err)
		}
		if tick.Reset { // after a restart of the host, or at another one, the boat may be another
			if answer, err = demo.DecodeAnswer(st.Answer()); err != nil {
				return err
			}
		}
		told := RoomTick{Tick: tick.Number, Again: tick.Reset, Sees: view.Len(), Updates: len(tick.Updates), Left: len(tick.Left)}
		if boat, ok := view.Get(answer.Boat); ok && answer.Afloat {
			told.X, told.Y, told.Score = boat.X, boat.Y, boat.Score
		}
		if err := tell(told); err != nil {
			return err
		}
	}
}
