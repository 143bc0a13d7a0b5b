package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/centrifugal/centrifuge"
	"github.com/centrifugal/protocol"
	"github.com/gorilla/websocket"

	"github.com/tombolo-net/tombolo/core/world/demo"
)

func startCentrifuge(ctx context.Context, p roomPlan) (*process, string, error) {
	return startHelper(ctx, "centrifuge", fmt.Sprint(p.radius()))
}

func embarkCentrifuge(ctx context.Context, addr string, p roomPlan) (crew, error) {
	return newFleet(p.players, func() (*websocket.Conn, wire, error) { return joinCentrifuge(ctx, addr, p.radius()) })
}

// centrifugeDelay is how long the server collects messages to a player, so that the cells
// of a tick go out together.
const centrifugeDelay = 2 * time.Millisecond

// centrifugeRoom is the server. It has a channel for each cell of a grid and publishes on
// it the positions of the cell's boats that have moved. A player is subscribed to the cells
// that are partly in its sight. A cell is as wide as a player sees, so these are at most
// nine.
type centrifugeRoom struct {
	node  *centrifuge.Node
	took  durations // of ticks
	ended chan struct{}
	stop  context.CancelFunc

	mu  sync.Mutex
	sea sea
}

// serveCentrifuge hosts the room and returns its address and the URL of its roomState.
func serveCentrifuge(radius string) (string, func(), error) {
	r, err := strconv.ParseFloat(radius, 64)
	if err != nil {
		return "", nil, err
	}
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		return "", nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	room := &centrifugeRoom{node: node, ended: make(chan struct{}), stop: stop, sea: newSea(r)}
	node.OnConnecting(room.connecting)
	node.OnConnect(room.connected)
	if err := node.Run(); err != nil {
		stop()
		return "", nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		stop()
		return "", nil, errors.Join(err, node.Shutdown(context.Background()))
	}
	mux := http.NewServeMux()
	mux.Handle("/connection", centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{
		PingPongConfig: centrifuge.PingPongConfig{PingInterval: -1},
	}))
	mux.Handle("/", tellOf(func() roomState { return roomState{P99: room.took.take(0.99)} }))
	go func() { _ = http.Serve(l, mux) }()
	go room.run(ctx)
	return fmt.Sprintf("%s http://%s/", l.Addr(), l.Addr()), room.close, nil
}

func (r *centrifugeRoom) close() {
	r.stop()
	<-r.ended
	_ = r.node.Shutdown(context.Background())
}

// connecting launches a boat. The boat's number is the player's user ID.
func (r *centrifugeRoom) connecting(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	boat := r.sea.launch()
	return centrifuge.ConnectReply{
		Credentials: &centrifuge.Credentials{UserID: strconv.Itoa(boat)},
		Data:        binary.BigEndian.AppendUint16(nil, uint16(boat)),
		WriteDelay:  centrifugeDelay, WriteWithTimer: true, MaxMessagesInFrame: -1,
	}, nil
}

func (r *centrifugeRoom) connected(client *centrifuge.Client) {
	number, err := strconv.Atoi(client.UserID())
	if err != nil {
		client.Disconnect(centrifuge.DisconnectServerError)
		return
	}
	client.OnMessage(func(e centrifuge.MessageEvent) {
		vx, vy, err := demo.DecodeInput(e.Data)
		if err != nil {
			client.Disconnect(centrifuge.DisconnectBadRequest)
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.sea.boats[number].vx, r.sea.boats[number].vy = vx, vy
	})
	client.OnDisconnect(func(centrifuge.DisconnectEvent) { r.board(number, nil) })
	r.board(number, client)
}

// board assigns the boat to the client, or to none if client is nil.
func (r *centrifugeRoom) board(boat int, client *centrifuge.Client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sea.boats[boat].player.client = client
}

func (r *centrifugeRoom) run(ctx context.Context) {
	defer close(r.ended)
	const period = time.Second / roomInputs
	next := time.Now()
	for n := 0; ctx.Err() == nil; n++ {
		from := time.Now()
		r.tick(n)
		r.took.add(time.Since(from))
		next = next.Add(period)
		if now := time.Now(); now.Sub(next) > period { // at most one late tick is made up for, as in our rooms
			next = now
		}
		time.Sleep(time.Until(next))
	}
}

// tick moves the boats, updates the subscriptions of a quarter of the players to what they
// see now, and publishes.
func (r *centrifugeRoom) tick(n int) {
	r.mu.Lock()
	cells := r.sea.sail()
	var moves []move
	for i := n % 4; i < len(r.sea.boats); i += 4 {
		moves = append(moves, r.sea.look(&r.sea.boats[i])...)
	}
	r.mu.Unlock()
	// A call fails only for a player that has left meanwhile.
	for _, m := range moves {
		if m.enter {
			_ = m.client.Subscribe(m.channel)
		} else {
			m.client.Unsubscribe(m.channel)
		}
	}
	for cell, places := range cells {
		if len(places) > 0 {
			_, _ = r.node.Publish(strconv.Itoa(cell), places)
		}
	}
}

// centrifugeWire reads publications of a player's cells.
type centrifugeWire struct {
	number  uint16 // of the player's boat
	sight   int64  // the square of how far the player sees, in demo.Units
	encoder *protocol.ProtobufCommandEncoder
	decoder *protocol.ProtobufReplyDecoder
	x, y    int32
	afloat  bool
}

func joinCentrifuge(ctx context.Context, addr string, radius float64) (*websocket.Conn, wire, error) {
	conn, _, err := websocket.DefaultDialer.DialContext(ctx, "ws://"+addr+"/connection?cf_protocol=protobuf", nil)
	if err != nil {
		return nil, nil, err
	}
	w := &centrifugeWire{
		sight:   int64(radius * radius * unitsPerMetre * unitsPerMetre),
		encoder: protocol.NewProtobufCommandEncoder(), decoder: protocol.NewProtobufReplyDecoder(nil),
	}
	if err := w.connect(conn); err != nil {
		conn.Close()
		return nil, nil, err
	}
	return conn, w, nil
}

// connect sends the first command and reads its reply.
func (w *centrifugeWire) connect(conn *websocket.Conn) error {
	command, err := w.encoder.Encode(&protocol.Command{Id: 1, Connect: &protocol.ConnectRequest{}})
	if err == nil {
		err = conn.WriteMessage(websocket.BinaryMessage, command)
	}
	var message []byte
	if err == nil {
		_, message, err = conn.ReadMessage()
	}
	if err != nil {
		return err
	}
	reply, err := protocol.NewProtobufReplyDecoder(message).Decode()
	if err != nil {
		return err
	}
	if reply.Connect == nil || len(reply.Connect.Data) != 2 {
		return fmt.Errorf("it did not let the player in: %v", reply.Error)
	}
	w.number = binary.BigEndian.Uint16(reply.Connect.Data)
	return nil
}

func (w *centrifugeWire) steer(vx, vy int8) ([]byte, error) {
	return w.encoder.Encode(&protocol.Command{Send: &protocol.SendRequest{Data: demo.AppendInput(nil, vx, vy)}})
}

func (w *centrifugeWire) boat() (x, y int32, afloat bool) { return w.x, w.y, w.afloat }

func (w *centrifugeWire) read(message []byte) (updates int, err error) {
	if err := w.decoder.Reset(message); err != nil {
		return 0, err
	}
	for {
		reply, err := w.decoder.Decode()
		if errors.Is(err, io.EOF) {
			return updates, nil
		}
		if err != nil {
			return updates, err
		}
		if reply.Push == nil || reply.Push.Pub == nil {
			continue
		}
		n, err := w.readPlaces(reply.Push.Pub.Data)
		updates += n
		if err != nil {
			return updates, err
		}
	}
}

// readPlaces counts only the boats that the player is meant to see: a cell reaches farther.
func (w *centrifugeWire) readPlaces(places []byte) (updates int, err error) {
	for ; len(places) >= placeBytes; places = places[placeBytes:] {
		number, x, y := readPlace(places)
		if number == w.number {
			w.x, w.y, w.afloat = x, y, true
		}
		dx, dy := int64(x-w.x), int64(y-w.y)
		if w.afloat && dx*dx+dy*dy <= w.sight {
			updates++
		}
	}
	if len(places) > 0 {
		return updates, errShort
	}
	return updates, nil
}
