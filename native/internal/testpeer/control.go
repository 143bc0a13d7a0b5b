package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// info is the answer about a peer or server once it listens.
type info struct {
	N      int      `json:"n"`
	PeerID string   `json:"peerId"`
	Addrs  []string `json:"addrs"`
}

// backend is a numbered peer or server that the control API started: a peer in this process or in a child process, or a server that
// misbehaves.
type backend interface {
	http.Handler // serves paths below /peer/{n} or /server/{n}
	info() info
	close() error
}

// control is the API. It owns every backend.
type control struct {
	mux *http.ServeMux

	mu       sync.Mutex
	last     int
	backends map[int]backend
	closed   bool
}

func newControl() *control {
	c := &control{mux: http.NewServeMux(), backends: make(map[int]backend)}
	c.mux.HandleFunc("POST /peer", c.start(func(q url.Values) (backend, error) {
		if flag(q, "process") {
			return startChild(q)
		}
		return newPeer(q)
	}))
	c.mux.HandleFunc("POST /mute", c.start(newMute))
	c.mux.HandleFunc("POST /rogue", c.start(newRogue))
	c.mux.HandleFunc("POST /intruder", c.start(newIntruder))
	for _, kind := range []string{"peer", "server"} {
		c.mux.HandleFunc("/"+kind+"/{n}", c.delegate)
		c.mux.HandleFunc("/"+kind+"/{n}/{rest...}", c.delegate)
		c.mux.HandleFunc("POST /"+kind+"/{n}/close", c.end(backend.close))
	}
	c.mux.HandleFunc("POST /peer/{n}/kill", c.end(func(b backend) error {
		if k, ok := b.(interface{ kill() error }); ok {
			return k.kill()
		}
		return errors.New("only a peer started with process=1 can be killed")
	}))
	return c
}

func (c *control) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin") // for pages isolated by COEP
	h.Set("Cache-Control", "no-store")
	if r.Method == http.MethodOptions {
		h.Set("Access-Control-Allow-Methods", "GET, POST, OPTIONS")
		h.Set("Access-Control-Allow-Headers", "*")
		h.Set("Access-Control-Allow-Private-Network", "true")
		w.WriteHeader(http.StatusNoContent)
		return
	}
	c.mux.ServeHTTP(w, r)
}

// start handles a request by making a backend and giving it a number.
func (c *control) start(make func(url.Values) (backend, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		b, err := make(r.URL.Query())
		if err != nil {
			fail(w, http.StatusBadRequest, err)
			return
		}
		n, ok := c.add(b)
		if !ok {
			b.close()
			fail(w, http.StatusServiceUnavailable, errors.New("the test peer is ending"))
			return
		}
		i := b.info()
		i.N = n
		reply(w, i)
	}
}

func (c *control) add(b backend) (int, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, false
	}
	c.last++
	c.backends[c.last] = b
	return c.last, true
}

// find returns the backend that the path names, or responds that it does not exist.
func (c *control) find(w http.ResponseWriter, r *http.Request) (backend, int) {
	n, err := strconv.Atoi(r.PathValue("n"))
	c.mu.Lock()
	b := c.backends[n]
	c.mu.Unlock()
	if err != nil || b == nil {
		fail(w, http.StatusNotFound, fmt.Errorf("no %s: never started, or ended", r.URL.Path))
		return nil, 0
	}
	return b, n
}

func (c *control) delegate(w http.ResponseWriter, r *http.Request) {
	b, n := c.find(w, r)
	if b == nil {
		return
	}
	rest := r.PathValue("rest")
	if rest == "" && r.Method == http.MethodGet {
		i := b.info()
		i.N = n
		if _, ok := b.(*server); !ok {
			reply(w, i)
			return
		}
	}
	kind, _, _ := strings.Cut(r.URL.Path[1:], "/")
	http.StripPrefix(fmt.Sprintf("/%s/%d", kind, n), b).ServeHTTP(w, r)
}

// end handles a request by ending a backend with how and removing it.
func (c *control) end(how func(backend) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		b, n := c.find(w, r)
		if b == nil {
			return
		}
		if err := how(b); err != nil {
			fail(w, http.StatusBadRequest, err)
			return
		}
		c.mu.Lock()
		delete(c.backends, n)
		c.mu.Unlock()
		reply(w, struct {
			OK bool `json:"ok"`
		}{true})
	}
}

// close ends every backend, at the same time, and waits for them.
func (c *control) close() {
	c.mu.Lock()
	c.closed = true
	all := c.backends
	c.backends = nil
	c.mu.Unlock()
	var wg sync.WaitGroup
	for _, b := range all {
		wg.Go(func() { b.close() })
	}
	wg.Wait()
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}

func fail(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(struct {
		Error string `json:"error"`
	}{err.Error()})
}

func flag(q url.Values, name string) bool {
	on, _ := strconv.ParseBool(q.Get(name))
	return on
}

// number parses a query parameter that must not be negative; if it is missing, it returns otherwise.
func number(q url.Values, name string, otherwise int64) (int64, error) {
	s := q.Get(name)
	if s == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s=%q is not a number from 0", name, s)
	}
	return n, nil
}

func duration(q url.Values, name string, otherwise time.Duration) (time.Duration, error) {
	s := q.Get(name)
	if s == "" {
		return otherwise, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%s=%q is not a duration such as 30s", name, s)
	}
	return d, nil
}
