// Command messenger is a native node controlled by tests of messages and of streams: a line {"n","method","args"} on standard
// input is answered by a line {"n","result"} or {"n","error"} on standard output. It ends when standard input does, or with its
// parent.
//
// Its methods are those of web/e2e/support/messenger.mjs, so that the same tests run in a tab, under Node.js and natively.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/dispatch"
	"github.com/tombolo-net/tombolo/core/link"
	"github.com/tombolo-net/tombolo/core/mesh"
	"github.com/tombolo-net/tombolo/core/mesh/replay"
	"github.com/tombolo-net/tombolo/core/message"
	"github.com/tombolo-net/tombolo/native"
	"github.com/tombolo-net/tombolo/native/stack"
)

// limit bounds every wait.
const limit = 30 * time.Second

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "messenger:", err)
		os.Exit(1)
	}
}

// serve answers each line in its own goroutine, because its parent does not wait between two.
func serve() error {
	m := &messenger{inboxes: make(map[string]*journal), presences: make(map[string]*presence), aborted: newJournal(), heard: newJournal()}
	methods := m.methods()
	maps.Copy(methods, m.streamMethods())
	var out sync.Mutex
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var call struct {
			N      int               `json:"n"`
			Method string            `json:"method"`
			Args   []json.RawMessage `json:"args"`
		}
		if err := json.Unmarshal(lines.Bytes(), &call); err != nil {
			return err
		}
		go func() {
			var answer any
			f, ok := methods[call.Method]
			result, err := any(nil), fmt.Errorf("there is no %s", call.Method)
			if ok {
				result, err = f(arguments(call.Args))
			}
			if err != nil {
				answer = struct {
					N     int    `json:"n"`
					Error string `json:"error"`
				}{call.N, err.Error()}
			} else {
				answer = struct {
					N      int `json:"n"`
					Result any `json:"result"`
				}{call.N, result}
			}
			out.Lock()
			defer out.Unlock()
			_ = json.NewEncoder(os.Stdout).Encode(answer) // fails if nobody reads it any more
		}()
	}
	if m.node != nil {
		return errors.Join(lines.Err(), m.node.Close())
	}
	return lines.Err()
}

// arguments are the arguments of a call; a missing one is the zero value.
type arguments []json.RawMessage

func (a arguments) get(i int, v any) error {
	if i >= len(a) || string(a[i]) == "null" {
		return nil
	}
	return json.Unmarshal(a[i], v)
}

func (a arguments) text(i int) string {
	var s string
	_ = a.get(i, &s) // a value that is not a string counts as missing, and fails as such
	return s
}

func (a arguments) peer(i int) (peer.ID, error) { return peer.Decode(a.text(i)) }

type messenger struct {
	node *core.Node

	mu        sync.Mutex
	inboxes   map[string]*journal
	presences map[string]*presence
	aborted   *journal
	heard     *journal // by services behind listeners
}

type presence struct {
	*mesh.Presence
	changes *journal
}

func (m *messenger) methods() map[string]func(arguments) (any, error) {
	return map[string]func(arguments) (any, error){
		"start":     m.start,
		"subscribe": m.subscribe,
		"received":  m.received,
		"broadcast": m.broadcast,
		"send":      m.send,
		"sendTo":    m.sendTo,
		"request":   m.request,
		"respond":   m.respond,
		"aborted": func(a arguments) (any, error) {
			return m.aborted.until(func(all []any) bool { return contains(all, a.text(0)) })
		},
		"keepHistory": func(a arguments) (any, error) { return nil, m.node.KeepHistory(a.text(0), replay.Limits{}) },
		"recover":     m.recover,
		"watch":       m.watch,
		"seen":        m.seen,
		"connect":     m.connect,
		"addrs":       func(arguments) (any, error) { return m.node.Addrs(), nil },
		"flood":       m.flood,
		"stats":       func(arguments) (any, error) { return m.node.Stats(), nil },
	}
}

func (m *messenger) start(a arguments) (any, error) {
	var o struct {
		Relays  []string `json:"relays"`
		DataDir string   `json:"dataDir"`
		Network string   `json:"network"`
	}
	if err := a.get(0, &o); err != nil {
		return nil, err
	}
	relays, err := core.ParsePeers(o.Relays)
	if err != nil {
		return nil, err
	}
	listen, err := stack.ParseListen("127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	m.node, err = native.New(context.Background(), native.Options{
		DataDir: o.DataDir, Relays: relays, Network: o.Network, Listen: listen, NoPortMapping: true, NoMDNS: true,
	})
	if err != nil {
		return nil, err
	}
	return map[string]string{"id": m.node.ID().String()}, nil
}

func (m *messenger) subscribe(a arguments) (any, error) {
	inbox := newJournal()
	_, err := m.node.On(a.text(0), func(_ context.Context, d dispatch.Delivery) {
		inbox.add(map[string]any{
			"from": d.From.String(), "via": d.Via.String(), "type": d.Type, "text": string(d.Data),
			"broadcast": d.Broadcast, "replayed": d.Replayed, "missed": d.Missed, "id": d.ID.String(),
		})
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inboxes[a.text(0)] = inbox
	return nil, err
}

func (m *messenger) received(a arguments) (any, error) {
	m.mu.Lock()
	inbox := m.inboxes[a.text(0)]
	m.mu.Unlock()
	if inbox == nil {
		return nil, fmt.Errorf("not subscribed to %q", a.text(0))
	}
	var count int
	if err := a.get(1, &count); err != nil {
		return nil, err
	}
	return inbox.until(func(all []any) bool { return len(all) >= count })
}

func (m *messenger) broadcast(a arguments) (any, error) {
	var o struct {
		Wait bool `json:"wait"`
	}
	if err := a.get(2, &o); err != nil {
		return nil, err
	}
	var opts []mesh.BroadcastOption
	if o.Wait {
		opts = append(opts, mesh.WaitForPeer())
	}
	ctx, cancel := bounded()
	defer cancel()
	return nil, m.node.Broadcast(ctx, a.text(0), []byte(a.text(1)), opts...)
}

func (m *messenger) send(a arguments) (any, error) {
	p, err := a.peer(0)
	if err != nil {
		return nil, err
	}
	ctx, cancel := bounded()
	defer cancel()
	return nil, m.node.Send(ctx, p, a.text(1), []byte(a.text(2)))
}

func (m *messenger) sendTo(a arguments) (any, error) {
	if a.text(0) != "every" {
		return nil, errors.New("only every")
	}
	ctx, cancel := bounded()
	defer cancel()
	report, err := m.node.SendTo(ctx, link.Every, a.text(1), []byte(a.text(2)))
	if err != nil {
		return nil, err
	}
	reached := []string{}
	for _, p := range report.Reached {
		reached = append(reached, p.String())
	}
	failed := []map[string]string{}
	for _, f := range report.Failed {
		failed = append(failed, map[string]string{"peer": f.Peer.String(), "reason": f.Err.Error()})
	}
	return map[string]any{"reached": reached, "failed": failed}, nil
}

func (m *messenger) request(a arguments) (any, error) {
	p, err := a.peer(0)
	if err != nil {
		return nil, err
	}
	ms := int(limit / time.Millisecond)
	if err := a.get(3, &ms); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(ms)*time.Millisecond)
	defer cancel()
	reply, err := m.node.Request(ctx, p, a.text(1), []byte(a.text(2)))
	return string(reply), err
}

func (m *messenger) respond(a arguments) (any, error) {
	answers := map[string]link.Responder{
		"shout": func(_ context.Context, msg *message.Message) ([]byte, error) { return upper(msg.Data), nil },
		"fail": func(_ context.Context, msg *message.Message) ([]byte, error) {
			return nil, fmt.Errorf("no %s today", msg.Data)
		},
		"hang": func(ctx context.Context, msg *message.Message) ([]byte, error) {
			<-ctx.Done()
			m.aborted.add(string(msg.Data))
			return nil, ctx.Err()
		},
	}
	_, err := m.node.Respond(a.text(0), answers[a.text(1)])
	return nil, err
}

func (m *messenger) recover(a arguments) (any, error) {
	ctx, cancel := bounded()
	defer cancel()
	r, err := m.node.Recover(ctx, a.text(0))
	if err != nil {
		return nil, err
	}
	return map[string]any{"messages": r.Messages, "complete": r.Complete, "gaps": r.Gaps}, nil
}

func (m *messenger) watch(a arguments) (any, error) {
	p, err := m.node.Presence(a.text(0))
	if err != nil {
		return nil, err
	}
	changes := newJournal()
	m.mu.Lock()
	m.presences[a.text(0)] = &presence{p, changes}
	m.mu.Unlock()
	go func() {
		for {
			c, err := p.Next(context.Background())
			if err != nil {
				return
			}
			changes.add(change{c.Peer.String(), c.Joined})
		}
	}()
	return nil, nil
}

type change struct {
	Peer   string `json:"peer"`
	Joined bool   `json:"joined"`
}

func (m *messenger) seen(a arguments) (any, error) {
	m.mu.Lock()
	p := m.presences[a.text(0)]
	m.mu.Unlock()
	var joined bool
	if err := a.get(2, &joined); err != nil {
		return nil, err
	}
	_, err := p.changes.until(func(all []any) bool {
		for i := len(all) - 1; i >= 0; i-- {
			if c := all[i].(change); c.Peer == a.text(1) {
				return c.Joined == joined
			}
		}
		return false
	})
	now := []string{}
	for _, id := range p.Now() {
		now = append(now, id.String())
	}
	return now, err
}

func (m *messenger) connect(a arguments) (any, error) {
	ctx, cancel := bounded()
	defer cancel()
	id, err := m.node.Connect(ctx, a.text(0))
	return id.String(), err
}

// flood sends a peer many messages of a type and a size in bytes, as fast as the peer takes them, and waits until all are
// written.
func (m *messenger) flood(a arguments) (any, error) {
	p, err := a.peer(0)
	if err != nil {
		return nil, err
	}
	var count, size int
	if err := errors.Join(a.get(2, &count), a.get(3, &size)); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*limit)
	defer cancel()
	data := make([]byte, size)
	var lost atomic.Int64
	var unwritten sync.WaitGroup
	unwritten.Add(count)
	written := func(err error) {
		if err != nil {
			lost.Add(1)
		}
		unwritten.Done()
	}
	for range count {
		if err := m.node.Post(ctx, p, a.text(1), data, written, core.At(link.High)); err != nil {
			return nil, err
		}
	}
	unwritten.Wait()
	return lost.Load(), nil
}

func bounded() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), limit)
}
