package store_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/link"
	"github.com/tombolo-net/tombolo/core/mesh"
	"github.com/tombolo-net/tombolo/core/world"
	"github.com/tombolo-net/tombolo/native/store"
)

const roomEnv = "TOMBOLO_STORE_TEST_ROOM"

// lonely is a node for a room that nobody joins.
type lonely struct{ world.Node }

func (lonely) ID() peer.ID { return "lonely" }

func (lonely) Handle(protocol.ID, network.StreamHandler) (func(), error) { return func() {}, nil }

func (lonely) Broadcast(context.Context, string, []byte, ...mesh.BroadcastOption) error {
	return mesh.ErrNoPeers
}

func (lonely) Respond(string, link.Responder) (func(), error) { return func() {}, nil }

const counters = 100

// ledger is a game in which every entity holds the number of the last tick. Every tick
// changes all of them.
type ledger struct {
	w    *world.World
	last [counters]uint64
	now  uint64
}

func (g *ledger) Start(w *world.World) {
	g.w = w
	if w.Restored() {
		g.now = binary.BigEndian.Uint64(w.Kept("now"))
		return
	}
	for range counters {
		w.Spawn(0, 0)
	}
}

func (g *ledger) Tick() {
	g.now++
	for e := range world.Entity(counters) {
		g.last[e] = g.now
		g.w.Touch(e)
	}
	g.w.Keep("now", binary.BigEndian.AppendUint64(nil, g.now))
}

func (g *ledger) Save(e world.Entity, dst []byte) ([]byte, bool) {
	return binary.BigEndian.AppendUint64(dst, g.last[e]), true
}

func (g *ledger) Restore(e world.Entity, data []byte) error {
	if g.last[e] = binary.BigEndian.Uint64(data); g.last[e] != g.now {
		return errors.New("a batch is there in part")
	}
	return nil
}

func (*ledger) SavePlayer(_ *world.Player, dst []byte) []byte { return dst }

func (*ledger) Join(*world.Player, []byte) ([]byte, error) { return nil, nil }

func (*ledger) Input(*world.Player, []byte) {}

func (*ledger) Leave(*world.Player, world.Reason) {}

func (*ledger) Whole(_ world.Entity, dst []byte) []byte { return dst }

func (*ledger) Change(_ world.Entity, dst []byte) []byte { return dst }

// holdLedger hosts the room that is stored in a file.
func holdLedger(path string) (*ledger, *world.Room, *store.Store) {
	s, err := store.Open(path)
	if err != nil {
		panic(err)
	}
	rooms, err := world.New(lonely{})
	if err != nil {
		panic(err)
	}
	g := &ledger{}
	room, err := rooms.Host(g, world.Options{Name: "ledger", Hidden: true, Hz: 100, Store: s, SaveEvery: 10 * time.Millisecond})
	if err != nil {
		panic(err)
	}
	return g, room, s
}

// keepRoom is a child process of the test: it hosts the room, and prints the tick that each
// Flush has acknowledged.
func keepRoom(path string) {
	g, room, _ := holdLedger(path)
	began := make(chan uint64, 1)
	for {
		room.Do(func() { began <- g.now })
		n := <-began
		if err := room.Flush(context.Background()); err != nil {
			panic(err)
		}
		os.Stdout.WriteString(strconv.FormatUint(n, 10) + "\n")
		time.Sleep(time.Duration(rand.IntN(50)) * time.Millisecond)
	}
}

// Whenever the process is killed, the file holds a whole batch, and nothing that Flush
// acknowledged is missing.
func TestKillingARoomLosesNothingThatFlushHasAcknowledged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rooms.db")
	var known uint64
	for range 50 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), roomEnv+"="+path)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		lines := bufio.NewScanner(out)
		kill := func() { _ = cmd.Process.Kill() }
		for first := true; lines.Scan(); first = false {
			n, err := strconv.ParseUint(strings.TrimSpace(lines.Text()), 10, 64)
			require.NoError(t, err)
			known = n
			if first {
				time.AfterFunc(time.Duration(rand.IntN(60))*time.Millisecond, kill)
			}
		}
		_ = cmd.Wait() // it was killed
		g, room, s := holdLedger(path)
		ticked := make(chan uint64, 1)
		room.Do(func() { ticked <- g.now })
		select {
		case now := <-ticked:
			require.GreaterOrEqual(t, now, known)
		case <-room.Done():
			require.NoError(t, room.Wait(t.Context()))
		}
		require.NoError(t, room.Close())
		require.NoError(t, s.Close())
		known = g.now
	}
}
