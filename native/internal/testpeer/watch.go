package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

// pollLimit is how long release and observed wait for something to happen.
const pollLimit = 10 * time.Second

// gate holds streams back until they are released.
type gate struct {
	mu      sync.Mutex
	waiting []chan struct{}
	arrived chan struct{} // closed at the next arrival; nil if nobody waits for one
}

// wait returns true once released, false once done is closed.
func (g *gate) wait(done <-chan struct{}) bool {
	let := make(chan struct{})
	g.mu.Lock()
	g.waiting = append(g.waiting, let)
	if g.arrived != nil {
		close(g.arrived)
		g.arrived = nil
	}
	g.mu.Unlock()
	select {
	case <-let:
		return true
	case <-done:
		return false
	}
}

// release waits until at least one stream waits, then releases all of them and returns their number.
func (g *gate) release(ctx context.Context) int {
	for {
		g.mu.Lock()
		waiting := g.waiting
		g.waiting = nil
		if len(waiting) == 0 && g.arrived == nil {
			g.arrived = make(chan struct{})
		}
		arrived := g.arrived
		g.mu.Unlock()
		for _, let := range waiting {
			close(let)
		}
		if len(waiting) > 0 {
			return len(waiting)
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return 0
		}
	}
}

func (p *testPeer) serveRelease(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), pollLimit)
	defer cancel()
	reply(w, struct {
		Released int `json:"released"`
	}{p.gate.release(ctx)})
}

// record says how a stream of /test/observe/1 ended.
type record struct {
	How   string `json:"how"`
	Bytes int64  `json:"bytes"`
	Error string `json:"error,omitempty"`
	Peer  string `json:"peer,omitempty"`
}

// records is a queue of records.
type records struct {
	mu    sync.Mutex
	queue []record
	more  chan struct{} // closed at the next addition; nil if nobody waits for one
}

func (q *records) add(r record) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.queue = append(q.queue, r)
	if q.more != nil {
		close(q.more)
		q.more = nil
	}
}

func (q *records) next(ctx context.Context) (record, bool) {
	for {
		q.mu.Lock()
		if len(q.queue) > 0 {
			r := q.queue[0]
			q.queue = q.queue[1:]
			q.mu.Unlock()
			return r, true
		}
		if q.more == nil {
			q.more = make(chan struct{})
		}
		more := q.more
		q.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
			return record{}, false
		}
	}
}

func (p *testPeer) serveObserved(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), pollLimit)
	defer cancel()
	rec, ok := p.observed.next(ctx)
	if !ok {
		rec = record{How: "timeout"}
	}
	reply(w, rec)
}

// howEnded returns how a copy ended: io.Copy turns EOF into nil.
func howEnded(err error) string {
	switch {
	case err == nil:
		return "eof"
	case errors.Is(err, network.ErrReset):
		return "reset"
	default:
		return "error"
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

type connStats struct {
	Peer      string `json:"peer"`
	Addr      string `json:"addr"`
	Transport string `json:"transport"`
	Direction string `json:"direction"`
	Streams   int    `json:"streams"`
}

type stats struct {
	Connections int         `json:"connections"`
	Streams     int         `json:"streams"`
	Goroutines  int         `json:"goroutines"`
	RSSBytes    int64       `json:"rssBytes"`
	HeapBytes   int64       `json:"heapBytes"`
	Conns       []connStats `json:"conns"`
}

func (p *testPeer) serveStats(w http.ResponseWriter, r *http.Request) {
	if flag(r.URL.Query(), "gc") {
		runtime.GC()
	}
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	st := stats{
		Goroutines: runtime.NumGoroutine(),
		RSSBytes:   residentBytes(int64(mem.Sys)),
		HeapBytes:  int64(mem.HeapAlloc),
		Conns:      []connStats{},
	}
	for _, c := range p.host.Network().Conns() {
		n := len(c.GetStreams())
		st.Connections++
		st.Streams += n
		st.Conns = append(st.Conns, connStats{
			Peer:      c.RemotePeer().String(),
			Addr:      c.RemoteMultiaddr().String(),
			Transport: transportOf(c),
			Direction: strings.ToLower(c.Stat().Direction.String()),
			Streams:   n,
		})
	}
	reply(w, st)
}

// residentBytes returns the resident set of this process if the system reports it, otherwise the memory that Go took from the
// system.
func residentBytes(otherwise int64) int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return otherwise
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return otherwise
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return otherwise
	}
	return pages * int64(os.Getpagesize())
}
