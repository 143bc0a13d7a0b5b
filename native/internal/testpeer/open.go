package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// heldStreams are the streams that are kept open by end=hold.
type heldStreams struct {
	mu   sync.Mutex
	last int
	byID map[int]network.Stream
}

func (h *heldStreams) put(s network.Stream) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.byID == nil {
		h.byID = make(map[int]network.Stream)
	}
	h.last++
	h.byID[h.last] = s
	return h.last
}

func (h *heldStreams) take(id int) (network.Stream, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, ok := h.byID[id]
	delete(h.byID, id)
	return s, ok
}

func (p *testPeer) doOpen(ctx context.Context, c network.Conn, q url.Values, out *result) error {
	proto := q.Get("protocol")
	if proto == "" {
		return errors.New("open wants a protocol")
	}
	s, err := p.host.NewStream(ctx, c.RemotePeer(), protocol.ID(proto))
	if err != nil {
		return err
	}
	return p.drive(ctx, s, q, out)
}

// serveStream continues with a held stream, as doOpen does with a new one.
func (p *testPeer) serveStream(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	limit, err := duration(q, "timeout", defaultTimeout)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	id, _ := strconv.Atoi(r.PathValue("id"))
	s, ok := p.held.take(id)
	if !ok {
		fail(w, http.StatusNotFound, fmt.Errorf("stream %q is not held", r.PathValue("id")))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), limit)
	defer cancel()
	start := time.Now()
	var out result
	err = p.drive(ctx, s, q, &out)
	out.OK, out.Error, out.MS = err == nil, text(err), ms(start)
	reply(w, out)
}

// drive writes to, reads from and ends s as q asks. It returns with s ended, unless it holds s.
func (p *testPeer) drive(ctx context.Context, s network.Stream, q url.Values, out *result) error {
	write, err := number(q, "bytes", 0)
	if err != nil {
		return err
	}
	read, err := number(q, "read", 0)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { s.Reset() })
	defer stop()
	sum := sha256.New()
	defer func() { out.SHA256 = hex.EncodeToString(sum.Sum(nil)) }()
	err = writePattern(s, write)
	if err == nil && read > 0 {
		out.Received, err = copyAll(sum, io.LimitReader(s, read))
	}
	if err == nil && out.Received < read {
		err = fmt.Errorf("wanted %d bytes, the stream ended after %d", read, out.Received)
	}
	if err != nil {
		out.How = howEnded(err)
		s.Reset()
		return err
	}
	switch end := q.Get("end"); end {
	case "", "closewrite":
		s.CloseWrite() // fails if the far side has stopped reading, but it may still send
		var n int64
		n, err = copyAll(sum, s)
		out.Received += n
		out.How = howEnded(err)
		s.Close()
		return err
	case "close":
		return s.Close()
	case "reset":
		return s.Reset()
	case "hold":
		out.Stream = p.held.put(s)
		return nil
	default:
		s.Reset()
		return fmt.Errorf("end=%q: want closewrite, close, reset or hold", end)
	}
}
