package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/gorilla/websocket"

	"github.com/tombolo-net/tombolo/core/world/demo"
)

// colyseusDirs are the possible paths of its folder: from the repository's root, and from
// this package.
var colyseusDirs = []string{"native/bench/colyseus", "colyseus"}

// startColyseus starts colyseus/server.mjs with the Node.js that is installed beside it.
func startColyseus(ctx context.Context, p roomPlan) (*process, string, error) {
	for _, dir := range colyseusDirs {
		node, err := filepath.Abs(filepath.Join(dir, "node_modules/node/bin/node"))
		if err != nil {
			return nil, "", err
		}
		_, unready := os.Stat(filepath.Join(dir, "node_modules/.package-lock.json")) // npm writes it last
		if _, err := os.Stat(node); err != nil || unready != nil {
			continue
		}
		return startReady(ctx, exec.Command(node, filepath.Join(dir, "server.mjs"),
			fmt.Sprint(p.players), fmt.Sprint(p.radius()), fmt.Sprint(roomSize), fmt.Sprint(colyseusInput)))
	}
	return nil, "", fmt.Errorf("%w: its packages are not installed (run npm ci in native/bench/colyseus)", errSkipped)
}

func embarkColyseus(ctx context.Context, addr string, p roomPlan) (crew, error) {
	return newFleet(p.players, func() (*websocket.Conn, wire, error) { return joinColyseus(ctx, addr) })
}

// The first bytes of messages; see Protocol in @colyseus/shared-types.
const (
	colyseusJoin  = 10
	colyseusState = 14
	colyseusPatch = 15
	colyseusBytes = 17

	colyseusInput = 1 // the type of the game's only message
)

// joinColyseus reserves a seat and joins the room.
func joinColyseus(ctx context.Context, addr string) (*websocket.Conn, wire, error) {
	seat, err := seatColyseus(ctx, addr)
	if err != nil {
		return nil, nil, err
	}
	url := fmt.Sprintf("ws://%s/%s/%s?sessionId=%s", addr, seat.ProcessID, seat.RoomID, seat.SessionID)
	conn, _, err := websocket.DefaultDialer.DialContext(ctx, url, nil)
	if err != nil {
		return nil, nil, err
	}
	_, message, err := conn.ReadMessage()
	if err == nil && (len(message) == 0 || message[0] != colyseusJoin) {
		err = fmt.Errorf("it did not let the player in: %q", message)
	}
	if err == nil {
		err = conn.WriteMessage(websocket.BinaryMessage, []byte{colyseusJoin})
	}
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	return conn, newColyseusWire(seat.SessionID), nil
}

type colyseusSeat struct {
	SessionID string `json:"sessionId"`
	RoomID    string `json:"roomId"`
	ProcessID string `json:"processId"`
}

func seatColyseus(ctx context.Context, addr string) (seat colyseusSeat, err error) {
	url := fmt.Sprintf("http://%s/matchmake/joinOrCreate/%s", addr, roomName)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader([]byte("{}")))
	if err != nil {
		return seat, err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return seat, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return seat, fmt.Errorf("a seat: %s", answer.Status)
	}
	return seat, json.NewDecoder(answer.Body).Decode(&seat)
}

// colyseusWire reads patches of the state in colyseus/server.mjs: a map of boats. Each
// structure in a patch has a number, which is announced when the structure is added to its
// owner.
type colyseusWire struct {
	session string
	patches uint32
	fleet   uint32                   // the number of the map
	boats   map[uint32]*colyseusBoat // by number
	own     *colyseusBoat
}

type colyseusBoat struct {
	x, y int32
	told uint32 // the last patch that changed it
}

func newColyseusWire(session string) *colyseusWire {
	return &colyseusWire{session: session, boats: make(map[uint32]*colyseusBoat)}
}

func (w *colyseusWire) steer(vx, vy int8) ([]byte, error) {
	return demo.AppendInput([]byte{colyseusBytes, colyseusInput}, vx, vy), nil
}

func (w *colyseusWire) boat() (x, y int32, afloat bool) {
	if w.own == nil {
		return 0, 0, false
	}
	return w.own.x, w.own.y, true
}

func (w *colyseusWire) read(message []byte) (updates int, err error) {
	if len(message) == 0 || message[0] != colyseusState && message[0] != colyseusPatch {
		return 0, nil
	}
	w.patches++
	at := uint32(0) // the number of the structure; that of the state is 0
	for r := (&schemaReader{rest: message[1:]}); len(r.rest) > 0; {
		switch boat := w.boats[at]; {
		case r.rest[0] == schemaSwitch:
			r.byte()
			at = r.number()
		case at == 0:
			w.readState(r)
		case at == w.fleet:
			w.readFleet(r)
		case boat != nil:
			if boat.read(r); boat.told != w.patches {
				boat.told = w.patches
				updates++
			}
		default:
			return updates, fmt.Errorf("a patch of structure %d, which nothing told of", at)
		}
		if r.err != nil {
			return updates, r.err
		}
	}
	return updates, nil
}

// readState reads a change to the state's only field.
func (w *colyseusWire) readState(r *schemaReader) {
	if op := r.byte() & schemaOperation; op != schemaDelete {
		w.fleet = r.number()
	}
}

// readFleet reads a change to an item of the map.
func (w *colyseusWire) readFleet(r *schemaReader) {
	op := r.byte()
	if op == schemaClear {
		return
	}
	r.number() // of the item in the map
	session := ""
	if op&schemaAdd != 0 {
		session = r.string()
	}
	if op == schemaDelete {
		return
	}
	number := r.number()
	if op&schemaAdd != 0 && len(r.rest) > 0 && r.rest[0] == schemaType {
		r.byte()
		r.number()
	}
	if w.boats[number] == nil {
		w.boats[number] = new(colyseusBoat)
	}
	if session == w.session {
		w.own = w.boats[number]
	}
}

// read reads a change to one field.
func (b *colyseusBoat) read(r *schemaReader) {
	switch field := r.byte(); field &^ schemaOperation {
	case 0:
		b.x = int32(r.uint16())
	case 1:
		b.y = int32(r.uint16())
	case 2:
		r.byte() // its hue
	default:
		r.err = fmt.Errorf("a boat has no field %d", field)
	}
}

// Operations and marks of @colyseus/schema; see its src/encoding/spec.ts. In a change to a
// field, the operation is in the byte's two highest bits.
const (
	schemaOperation = 0xc0
	schemaAdd       = 0x80
	schemaDelete    = 0x40
	schemaClear     = 10
	schemaSwitch    = 255
	schemaType      = 213
)

// schemaReader reads the format of @colyseus/schema. After an error it returns zeros.
type schemaReader struct {
	rest []byte
	err  error
}

func (r *schemaReader) take(n int) []byte {
	if n > len(r.rest) {
		r.rest, r.err = nil, errShort
		return make([]byte, n)
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *schemaReader) byte() byte { return r.take(1)[0] }

func (r *schemaReader) uint16() uint16 { return binary.LittleEndian.Uint16(r.take(2)) }

// number reads an unsigned number, encoded in as many bytes as it needs.
func (r *schemaReader) number() uint32 {
	switch prefix := r.byte(); {
	case prefix < 0x80:
		return uint32(prefix)
	case prefix == 0xcc:
		return uint32(r.byte())
	case prefix == 0xcd:
		return uint32(r.uint16())
	case prefix == 0xce:
		return binary.LittleEndian.Uint32(r.take(4))
	}
	r.err = errors.New("a number is of no form that is used here")
	return 0
}

// string reads a string of up to 31 bytes; session IDs are never longer.
func (r *schemaReader) string() string { return string(r.take(int(r.byte() & 0x1f))) }
