package board

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/dispatch"
	"github.com/tombolo-net/tombolo/core/link"
	"github.com/tombolo-net/tombolo/core/mesh"
	"github.com/tombolo-net/tombolo/core/message"
)

// Node is the part of a node that serves boards. *core.Node implements it.
type Node interface {
	Respond(typ string, f link.Responder) (remove func(), err error)
	Broadcast(ctx context.Context, typ string, data []byte, opts ...mesh.BroadcastOption) error
}

// Asker is the part of a node that Ask and Watch use. *core.Node implements it, and so
// does *world.Rooms, which can also ask its own rooms.
type Asker interface {
	Request(ctx context.Context, p peer.ID, typ string, data []byte) ([]byte, error)
	Subscribe(pattern string, opts ...dispatch.Option) (*dispatch.Subscription, error)
}

const (
	// MostRows bounds the lines of an answer.
	MostRows = 100
	// WatchedRows is the number of top lines that a watcher of a board receives.
	WatchedRows = 10
	// pushEvery is how often watchers get a board that changes. They get one that does
	// not change every pushAgain, for a watcher that missed the last broadcast.
	pushEvery = time.Second
	pushAgain = 5 * time.Second
)

// Query asks for lines of a board.
type Query struct {
	Board string `json:"board"`
	// At is a moment of the period whose board is wanted; zero means now.
	At time.Time `json:"at,omitzero"`
	// Around is the player whose line is wanted, with Each lines before and after it.
	// Without a player, the answer has up to Most lines, starting at Rank. An answer has
	// at most MostRows lines.
	Around peer.ID `json:"around,omitempty"`
	Each   int     `json:"each,omitempty"`
	Rank   int     `json:"rank,omitempty"`
	Most   int     `json:"most,omitempty"`
}

// Lines are lines of a board.
type Lines struct {
	// End is the end of the board's period; zero if it never ends.
	End time.Time `json:"end,omitzero"`
	// Players is the number of players on the board.
	Players int    `json:"players"`
	Lines   []Line `json:"lines"`
}

// Line is a line of a board. The best has rank 1.
type Line struct {
	Rank  int     `json:"rank"`
	Peer  peer.ID `json:"peer"`
	Score int64   `json:"score"`
}

// RequestType returns the type of requests for the boards of a name.
func RequestType(name string) string { return "boards/" + name }

func watchType(name, board string) string { return RequestType(name) + "/" + board }

// Server answers peers that ask for boards. It also broadcasts the first lines of a board
// that peers watch when they have changed, at most once a second.
type Server struct {
	node    Node
	name    string
	players *Players
	remove  func()
	stop    context.CancelFunc
	pushing sync.WaitGroup

	mu     sync.Mutex
	series map[string]*Series
}

// Serve makes a node answer requests for boards, for example those of a Store, by their
// names. name is the name that peers ask for, for example that of a room. A node can have
// only one server of a name.
func Serve(node Node, name string, players *Players, series map[string]*Series) (*Server, error) {
	s := &Server{node: node, name: name, players: players, series: make(map[string]*Series)}
	for board, one := range series {
		if err := s.Add(board, one); err != nil {
			return nil, err
		}
	}
	remove, err := node.Respond(RequestType(name), s.Answer)
	if err != nil {
		return nil, fmt.Errorf("serve the boards of %q: %w", name, err)
	}
	s.remove = remove
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.pushing.Go(func() { s.push(ctx) })
	return s, nil
}

// Add makes the server answer for one more board.
func (s *Server) Add(board string, series *Series) error {
	if err := message.CheckType(watchType(s.name, board)); err != nil {
		return fmt.Errorf("serve the boards of %q: %w", s.name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.series[board] = series
	return nil
}

// all returns a copy of the map of boards.
func (s *Server) all() map[string]*Series {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.series)
}

// Close ends the server, and waits for its goroutine. It must be called once.
func (s *Server) Close() error {
	s.remove()
	s.stop()
	s.pushing.Wait()
	return nil
}

// Answer answers a request for lines; it is a link.Responder.
func (s *Server) Answer(_ context.Context, m *message.Message) ([]byte, error) {
	var q Query
	if err := json.Unmarshal(m.Data, &q); err != nil {
		return nil, fmt.Errorf("this is not a query for a board: %w", err)
	}
	s.mu.Lock()
	series := s.series[q.Board]
	s.mu.Unlock()
	if series == nil {
		return nil, fmt.Errorf("there is no board %.64q", q.Board)
	}
	if q.At.IsZero() {
		q.At = time.Now()
	}
	b, err := series.At(q.At)
	if err != nil {
		return nil, err
	}
	return json.Marshal(s.lines(series.period.End(q.At), b, q))
}

func (s *Server) lines(end time.Time, b *Board, q Query) Lines {
	lines := Lines{End: end, Players: b.Len(), Lines: []Line{}}
	var rows []Row
	if q.Around == "" {
		rows = b.Rows(q.Rank, min(q.Most, MostRows))
	} else if player, known := s.players.lookup(q.Around); known {
		rows = b.Around(player, min(q.Each, (MostRows-1)/2))
	}
	for _, row := range rows {
		lines.Lines = append(lines.Lines, Line{row.Rank, s.players.ID(row.Player), row.Score})
	}
	return lines
}

// push broadcasts boards to their watchers.
func (s *Server) push(ctx context.Context) {
	ticker := time.NewTicker(pushEvery)
	defer ticker.Stop()
	type push struct {
		lines Lines
		at    time.Time
	}
	told := make(map[string]push)
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		for board, series := range s.all() {
			now := time.Now()
			b, err := series.At(now)
			if err != nil {
				continue // the clock was set back
			}
			lines := s.lines(series.period.End(now), b, Query{Most: WatchedRows})
			if last := told[board]; now.Sub(last.at) < pushAgain && reflect.DeepEqual(lines, last.lines) {
				continue
			}
			data, err := json.Marshal(lines)
			if err == nil && s.node.Broadcast(ctx, watchType(s.name, board), data) == nil { // otherwise nobody watches
				told[board] = push{lines, now}
			}
		}
	}
}

// Ask asks the peer that serves the boards of a name. The error is that of the request; a
// *link.RemoteError says why the peer refused.
func Ask(ctx context.Context, node Asker, host peer.ID, name string, q Query) (Lines, error) {
	data, err := json.Marshal(q)
	if err != nil {
		return Lines{}, err
	}
	answer, err := node.Request(ctx, host, RequestType(name), data)
	if err != nil {
		return Lines{}, err
	}
	return readLines(answer)
}

func readLines(data []byte) (Lines, error) {
	var lines Lines
	if err := json.Unmarshal(data, &lines); err != nil {
		return Lines{}, fmt.Errorf("what a peer tells of a board: %w", err)
	}
	if len(lines.Lines) > MostRows {
		return Lines{}, errors.New("what a peer tells of a board has too many lines")
	}
	return lines, nil
}

// Watch yields lines of a board, first as they are and then whenever they have changed,
// until ctx ends: at most once a second, and the newest if some were missed. The host
// broadcasts the first WatchedRows lines, which answer a query without a player and a
// rank. For other lines Watch asks the host at each broadcast, at least every five
// seconds. If the board cannot be watched or asked for, Watch yields the error once, and
// ends. It ignores malformed messages of the host.
func Watch(ctx context.Context, node Asker, host peer.ID, name string, q Query) iter.Seq2[Lines, error] {
	return func(yield func(Lines, error) bool) {
		sub, err := node.Subscribe(watchType(name, q.Board), dispatch.Buffer(64), dispatch.LatestPerKey(func(m *message.Message) string { return string(m.From) }))
		if err != nil {
			yield(Lines{}, err)
			return
		}
		defer sub.Close()
		w := &watching{node, host, name, q, q == Query{Board: q.Board}}
		if w.told {
			w.q.Most = WatchedRows
		}
		lines, err := Ask(ctx, node, host, name, w.q)
		for yield(lines, err) && err == nil {
			if lines, err = w.next(ctx, sub, lines); ctx.Err() != nil {
				return
			}
		}
	}
}

// watching is one Watch.
type watching struct {
	node Asker
	host peer.ID
	name string
	q    Query
	told bool // the host broadcasts these lines
}

// next waits for lines that differ from the last.
func (w *watching) next(ctx context.Context, sub *dispatch.Subscription, last Lines) (Lines, error) {
	for {
		d, err := sub.Next(ctx)
		if err != nil {
			return Lines{}, err
		}
		if d.From != w.host { // anybody may publish messages of any type
			continue
		}
		lines, err := readLines(d.Data)
		if err != nil {
			continue
		}
		if !w.told {
			if lines, err = Ask(ctx, w.node, w.host, w.name, w.q); err != nil {
				return Lines{}, err
			}
		}
		if lines.Players != last.Players || !slices.Equal(lines.Lines, last.Lines) {
			return lines, nil
		}
	}
}
