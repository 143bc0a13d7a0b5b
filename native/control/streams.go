package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/native/local"
	"github.com/tombolo-net/tombolo/native/tunnels"
)

func (s *Server) listen(ctx context.Context, spec tunnels.ListenSpec) (tunnels.Listener, error) {
	info, _, err := s.opts.Tunnels.Listen(ctx, spec)
	return info, err
}

func (s *Server) forward(ctx context.Context, spec tunnels.ForwardSpec) (tunnels.Forward, error) {
	info, _, err := s.opts.Tunnels.Forward(ctx, spec)
	return info, err
}

// listenForeground keeps a listener open for as long as its caller is connected.
func (s *Server) listenForeground(ctx context.Context, spec tunnels.ListenSpec, tell func(any) error) error {
	spec.Ephemeral = true
	info, gone, err := s.opts.Tunnels.Listen(ctx, spec)
	if err != nil {
		return err
	}
	return s.hold(ctx, info.ID, info, gone, tell)
}

// forwardForeground keeps a forward open for as long as its caller is connected.
func (s *Server) forwardForeground(ctx context.Context, spec tunnels.ForwardSpec, tell func(any) error) error {
	spec.Ephemeral = true
	info, gone, err := s.opts.Tunnels.Forward(ctx, spec)
	if err != nil {
		return err
	}
	return s.hold(ctx, info.ID, info, gone, tell)
}

// hold waits until a tunnel is closed elsewhere, and closes it when its caller
// disconnects.
func (s *Server) hold(ctx context.Context, id uint64, info any, gone <-chan struct{}, tell func(any) error) error {
	err := tell(info)
	if err == nil {
		select {
		case <-gone:
			return nil
		case <-ctx.Done():
		}
	}
	_, closeErr := s.opts.Tunnels.CloseMatching(tunnels.Match{ID: id})
	return errors.Join(err, closeErr)
}

func (s *Server) tunnels(context.Context, None) (tunnels.List, error) {
	return s.opts.Tunnels.List(), nil
}

func (s *Server) close(_ context.Context, m tunnels.Match) (Closed, error) {
	n, err := s.opts.Tunnels.CloseMatching(m)
	if errors.Is(err, tunnels.ErrNoMatching) || errors.Is(err, tunnels.ErrAllAndMore) {
		err = badRequest{err}
	}
	return Closed{n}, err
}

func (s *Server) access(_ context.Context, q AccessCall) (tunnels.Listener, error) {
	return s.opts.Tunnels.Update(q.Protocol, func(a *bridge.Access, m *bridge.Limits) error {
		if q.Anyone {
			*a = bridge.Access{}
		}
		removed := func(p peer.ID) bool { return slices.Contains(q.Remove, p) }
		had := len(a.Allow) > 0
		a.Allow = with(slices.DeleteFunc(a.Allow, removed), q.Allow)
		a.Deny = with(slices.DeleteFunc(a.Deny, removed), q.Deny)
		if had && len(a.Allow) == 0 {
			return badRequest{errors.New("this would remove the last allowed peer and let everyone in: use --anyone if you want that, or close the listener")}
		}
		set(&m.Streams, q.Streams)
		set(&m.StreamsPerPeer, q.StreamsPerPeer)
		set(&m.Rate, q.Rate)
		return nil
	})
}

// with adds the peers that are not in the list yet.
func with(list, more []peer.ID) []peer.ID {
	for _, p := range more {
		if !slices.Contains(list, p) {
			list = append(list, p)
		}
	}
	return list
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

func (s *Server) streams(_ context.Context, q StreamsCall) ([]bridge.StreamInfo, error) {
	b := s.node.Bridge()
	if q.ID != nil {
		for _, info := range slices.Concat(b.Streams(), b.Ended()) {
			if info.ID == *q.ID {
				return []bridge.StreamInfo{info}, nil
			}
		}
		return nil, fmt.Errorf("stream %d: %w, and it is not among the last %d that ended", *q.ID, bridge.ErrNoStream, bridge.History)
	}
	list := b.Streams()
	if q.Ended {
		list = b.Ended()
	}
	if list == nil {
		list = []bridge.StreamInfo{}
	}
	return list, nil
}

func (s *Server) closeStreams(_ context.Context, q CloseStreamsCall) (Closed, error) {
	b := s.node.Bridge()
	switch {
	case q.All && len(q.IDs) > 0:
		return Closed{}, badRequest{errors.New("give ids, or all, not both")}
	case q.All:
		for _, info := range b.Streams() {
			q.IDs = append(q.IDs, info.ID)
		}
	case len(q.IDs) == 0:
		return Closed{}, badRequest{errors.New("no stream is given: an id, or all")}
	}
	var closed Closed
	var errs []error
	for _, id := range q.IDs {
		err := b.CloseStream(id)
		switch {
		case err == nil:
			closed.Closed++
		case !q.All: // otherwise it has just ended by itself
			errs = append(errs, fmt.Errorf("close stream %d: %w", id, err))
		}
	}
	return closed, errors.Join(errs...)
}

func (s *Server) watch(ctx context.Context, _ None, tell func(any) error) error {
	for change := range s.node.Bridge().Watch(ctx) {
		if err := tell(change); err != nil {
			return err
		}
	}
	return nil
}

// Upgrade is the protocol that a connection is upgraded to by the call "dial".
const Upgrade = "tombolo-stream"

// streamHeader carries the stream's ID, with which the caller can ask how it ended.
const streamHeader = "Tombolo-Stream"

// dial opens a stream to a peer and connects it to the connection of the call.
func (s *Server) dial(w http.ResponseWriter, r *http.Request) {
	var q DialCall
	err := readJSON(w, r, &q)
	if err == nil && r.Header.Get("Upgrade") != Upgrade {
		err = badRequest{fmt.Errorf("the call is not understood: it must ask for an upgrade to %s", Upgrade)}
	}
	if err == nil {
		err = bridge.CheckName(q.Protocol, q.CustomProtocol)
	}
	var p peer.ID
	if err == nil {
		p, err = s.reach(r.Context(), q.Peer)
	}
	var c *bridge.Conn
	if err == nil {
		ctx, cancel := context.WithTimeout(r.Context(), bridge.DefaultOpenTimeout)
		defer cancel()
		c, err = s.node.Bridge().Dial(ctx, p, q.Protocol, "stdio")
	}
	if err != nil {
		writeError(w, err)
		return
	}
	id := c.Info().ID
	from := new(caller)
	from.mayEnd.Store(!q.DeclaresEnd)
	s.dialled.Store(id, from) // before the answer: the end may be declared at once
	defer s.dialled.Delete(id)
	from.Local, err = takeOver(w, id)
	if err != nil {
		_ = c.Reset()
		s.log.Debug("a caller did not become a stream", "error", err)
		return
	}
	stop := context.AfterFunc(s.ctx, func() { _ = c.Reset(); _ = from.Reset() })
	defer stop()
	_ = c.Splice(from) // the registry records how it ended
}

// dialEnd makes the EOF that follows a clean end.
func (s *Server) dialEnd(_ context.Context, q DialEndCall) (None, error) {
	c, ok := s.dialled.Load(q.ID)
	if !ok {
		return None{}, fmt.Errorf("stream %d: %w that was dialled", q.ID, bridge.ErrNoStream)
	}
	c.(*caller).mayEnd.Store(true)
	return None{}, nil
}

// caller is the caller's end of a dialled stream. The system closes the connection of a
// process that is killed, which looks like an end. So if the caller declares its end, EOF
// is the end only after that, or if the service has ended its side already and waits for no more.
type caller struct {
	bridge.Local
	mayEnd atomic.Bool
}

// errUndeclared is how a dialled stream ends if its caller is interrupted or killed.
var errUndeclared = errors.New("the caller ended in the middle, without the call dial/end")

// Read implements bridge.Local.
func (c *caller) Read(b []byte) (int, error) {
	n, err := c.Local.Read(b)
	if err == io.EOF && !c.mayEnd.Load() {
		err = errUndeclared
	}
	return n, err
}

// CloseWrite implements bridge.Local.
func (c *caller) CloseWrite() error {
	c.mayEnd.Store(true)
	return c.Local.CloseWrite()
}

// takeOver turns the connection of a call into a local stream.
func takeOver(w http.ResponseWriter, id uint64) (bridge.Local, error) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, err
	}
	unix, ok := conn.(*net.UnixConn)
	if !ok || buffered.Reader.Buffered() > 0 {
		return nil, errors.Join(errors.New("it sent more before it was answered"), conn.Close())
	}
	answer := "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + Upgrade + "\r\n" +
		streamHeader + ": " + strconv.FormatUint(id, 10) + "\r\n\r\n"
	err = errors.Join(conn.SetDeadline(time.Time{}), write(conn, answer))
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return local.Conn(unix, "stdio"), nil
}

func write(c net.Conn, s string) error {
	_, err := c.Write([]byte(s))
	return err
}
