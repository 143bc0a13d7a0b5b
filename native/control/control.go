// Package control is the daemon's local API: the [Server] that `tombolo up` runs, and the
// [Client] that the other commands use.
//
// The API is HTTP/1.1 on a unix socket in the data directory, which only the directory's
// owner may open. A call is a POST to /v1/<verb> with a JSON object, and its answer is
// JSON. An error has a status of 400 or more and is {"error":{"message":…,"reason":…}}.
// Continuing calls answer with one JSON object per line. The objects are the exported
// types of this package, of package tunnels and of core/bridge; docs/control.md describes
// them. Within version 1, fields are only added.
package control

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/ipfs/go-datastore"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/core/message"
	"github.com/tombolo-net/tombolo/core/world"
	"github.com/tombolo-net/tombolo/native/tunnels"
)

// SocketName is the file name of the socket in a data directory.
const SocketName = "control.sock"

// maxSocketPath is the length in bytes that the path of a unix socket may have on every
// system.
const maxSocketPath = 103

// Bounds of the server, in bytes and time.
const (
	maxBody       = 2*message.DefaultMaxFrame + 64<<10 // a message in base64, and the object around it
	maxAnswer     = 256 << 20                          // as many streams as a process may have open
	headerTimeout = 10 * time.Second
	idleTimeout   = time.Minute
)

// SocketPath returns the path of a data directory's socket. It fails if the path is
// longer than that of a socket may be.
func SocketPath(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, SocketName)
	if len(path) > maxSocketPath {
		return "", fmt.Errorf("the path %s is too long for a socket: choose a data directory with a path of at most %d characters", path, maxSocketPath-len(SocketName)-1)
	}
	return path, nil
}

// Options configure a Server. All fields but RoomStore and Logger are required.
type Options struct {
	Node    *core.Node
	Tunnels *tunnels.Tunnels
	Rooms   *world.Rooms
	// RoomStore opens the store of rooms. If nil, rooms cannot be stored.
	RoomStore func() (datastore.Batching, error)
	Dir       string // the data directory, which this process has locked
	// Status adds to the answer of "status" what only the program knows.
	Status func(*Status)
	Logger *slog.Logger
}

// Server answers calls. It runs from Serve until Close.
type Server struct {
	opts     Options
	node     *core.Node
	log      *slog.Logger
	listener net.Listener
	http     *http.Server
	ctx      context.Context // ends on Close
	stop     context.CancelFunc
	served   chan struct{}
	calls    sync.WaitGroup // in progress, including those that have become streams
	once     sync.Once
	closeErr error

	dialled sync.Map // stream ID → *caller

	mu     sync.Mutex
	closed bool
}

// Serve listens on the socket and answers calls until Close. An existing socket was left
// by a daemon that was killed, because this process has locked the directory; Serve
// replaces it. Any other file at its path is an error.
func Serve(o Options) (*Server, error) {
	path, err := SocketPath(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&os.ModeSocket == 0 {
			return nil, fmt.Errorf("control socket: there is a file at %s, and it is not a socket: move it away", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("control socket: %w", err)
		}
	}
	l, err := ListenPrivately(path)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	s := &Server{opts: o, node: o.Node, log: o.Logger, listener: l, served: make(chan struct{})}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.http = &http.Server{
		Handler:           s.counted(s.routes()),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		BaseContext:       func(net.Listener) context.Context { return s.ctx },
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
	}
	go func() {
		defer close(s.served)
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("the control socket failed", "error", err)
		}
	}()
	return s, nil
}

// counted makes Close wait for every handler; http.Server waits only for those that end
// soon and stay HTTP.
func (s *Server) counted(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			writeError(w, errors.New("the daemon is ending"))
			return
		}
		s.calls.Add(1)
		s.mu.Unlock()
		defer s.calls.Done()
		h.ServeHTTP(w, r)
	})
}

// Close ends every call, removes the socket, and waits for the calls.
func (s *Server) Close() error {
	s.once.Do(func() {
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		s.stop()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if s.closeErr = s.http.Shutdown(ctx); errors.Is(s.closeErr, context.DeadlineExceeded) {
			s.closeErr = s.http.Close()
		}
		<-s.served
		s.calls.Wait()
	})
	return s.closeErr
}

// Error is the error of a call.
type Error struct {
	Status  int           `json:"-"`
	Message string        `json:"message"`
	Reason  bridge.Reason `json:"reason,omitempty"` // if a stream or a peer was the cause
}

func (e *Error) Error() string { return e.Message }

// Unwrap returns the reason, for errors.Is.
func (e *Error) Unwrap() error {
	if e.Reason == "" {
		return nil
	}
	return e.Reason
}

type errorBody struct {
	Error *Error `json:"error"`
}

// badRequest is an error in the call itself.
type badRequest struct{ error }

func (e badRequest) Unwrap() error { return e.error }

func writeError(w http.ResponseWriter, err error) {
	e := &Error{Status: http.StatusUnprocessableEntity, Message: err.Error()}
	if bad := (badRequest{}); errors.As(err, &bad) {
		e.Status = http.StatusBadRequest
	}
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		e.Status = http.StatusRequestEntityTooLarge
	}
	var failed *bridge.Error
	if errors.As(err, &failed) {
		e.Reason = failed.Reason
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.Status)
	_ = json.NewEncoder(w).Encode(errorBody{e})
}

// answer serves a verb with a function, which gets the JSON object of the call and
// returns the answer.
func answer[Q, A any](mux *http.ServeMux, v Verb[Q, A], f func(context.Context, Q) (A, error)) {
	mux.HandleFunc("POST /v1/"+string(v), func(w http.ResponseWriter, r *http.Request) {
		var q Q
		if err := readJSON(w, r, &q); err != nil {
			writeError(w, err)
			return
		}
		a, err := f(r.Context(), q)
		if err != nil {
			writeError(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(a)
	})
}

// keepAnswering serves a continuing verb with a function: each value passed to tell is
// one line of the answer. tell fails once the caller has disconnected.
func keepAnswering[Q, A any](mux *http.ServeMux, v ContinuingVerb[Q, A], f func(ctx context.Context, q Q, tell func(any) error) error) {
	mux.HandleFunc("POST /v1/"+string(v), func(w http.ResponseWriter, r *http.Request) {
		var q Q
		if err := readJSON(w, r, &q); err != nil {
			writeError(w, err)
			return
		}
		begun := false
		lines := json.NewEncoder(w)
		flush := http.NewResponseController(w)
		tell := func(v any) error {
			if !begun {
				w.Header().Set("Content-Type", "application/x-ndjson")
				begun = true
			}
			return errors.Join(lines.Encode(v), flush.Flush())
		}
		err := f(r.Context(), q, tell)
		switch {
		case err == nil || r.Context().Err() != nil:
		case begun:
			_ = tell(errorBody{&Error{Message: err.Error()}})
		default:
			writeError(w, err)
		}
	})
}

// readJSON reads the one object that a call sends; an empty body counts as an empty
// object.
func readJSON(w http.ResponseWriter, r *http.Request, q any) error {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	err := d.Decode(q)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		err = cmp.Or(err, errors.New("something follows the object"))
	}
	return badRequest{fmt.Errorf("the call is not understood: %w", err)}
}
