package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"

	"github.com/gorilla/websocket"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multihash"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/webtransport-go"
)

// server is a server that misbehaves: a mute, a rogue or an intruder.
type server struct {
	key      crypto.PrivKey
	id       peer.ID
	addrs    []string // without /p2p
	accepted atomic.Int64
	open     atomic.Int64
	streams  atomic.Int64
	secured  atomic.Int64

	ctx   context.Context // ends with close; what the server does has no caller that could pass a ctx
	stop  context.CancelFunc
	owned sync.WaitGroup
}

var _ backend = (*server)(nil)

func newServer() (*server, error) {
	key, err := identity("")
	if err != nil {
		return nil, err
	}
	s := &server{key: key}
	if s.id, err = peer.IDFromPrivateKey(key); err != nil {
		return nil, err
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s, nil
}

func newMute(q url.Values) (backend, error) {
	s, err := newServer()
	if err != nil {
		return nil, err
	}
	switch kind := q.Get("kind"); kind {
	case "tcp":
		err = s.listenTCP()
	case "ws":
		err = s.listenWebSocket()
	case "webtransport":
		err = s.listenWebTransport(s.muteSession)
	case "webtransport-session":
		err = s.listenWebTransport(nil)
	default:
		err = fmt.Errorf("kind=%q: want tcp, ws, webtransport or webtransport-session", kind)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// listenTCP accepts connections and only reads from them, to notice when they end.
func (s *server) listenTCP() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	port := l.Addr().(*net.TCPAddr).Port
	s.addrs = []string{fmt.Sprintf("/ip4/127.0.0.1/tcp/%d/ws", port), fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", port)}
	context.AfterFunc(s.ctx, func() { l.Close() })
	s.owned.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.owned.Go(func() { s.listenTo(c, c.Close) })
		}
	})
	return nil
}

// listenTo reads and sends nothing, until the connection ends or the server is closed.
func (s *server) listenTo(r io.Reader, end func() error) {
	s.accepted.Add(1)
	s.open.Add(1)
	defer s.open.Add(-1)
	stop := context.AfterFunc(s.ctx, func() { end() })
	defer stop()
	io.Copy(io.Discard, r)
	end()
}

func (s *server) listenWebSocket() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.addrs = []string{fmt.Sprintf("/ip4/127.0.0.1/tcp/%d/ws", l.Addr().(*net.TCPAddr).Port)}
	up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := up.Upgrade(w, r, nil)
		if err != nil {
			return // Upgrade has answered
		}
		s.listenTo(c.NetConn(), c.Close)
	})}
	context.AfterFunc(s.ctx, func() { srv.Close() })
	s.owned.Go(func() { srv.Serve(l) })
	return nil
}

// listenWebTransport grants sessions and passes each to serve; without serve, it does not answer the requests for sessions. Its
// address lists the hash of its certificate and then others.
func (s *server) listenWebTransport(serve func(context.Context, *webtransport.Session, multihash.Multihash), others ...multihash.Multihash) error {
	conf, hash, err := selfSigned()
	if err != nil {
		return err
	}
	conf.NextProtos = []string{http3.NextProtoH3}
	hashes, err := certHashAddr(append([]multihash.Multihash{hash}, others...)...)
	if err != nil {
		return err
	}
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	port := conn.LocalAddr().(*net.UDPAddr).Port
	s.addrs = []string{fmt.Sprintf("/ip4/127.0.0.1/udp/%d/quic-v1/webtransport%s", port, hashes)}

	mux := http.NewServeMux()
	wt := &webtransport.Server{
		H3:          &http3.Server{TLSConfig: conf, Handler: mux},
		CheckOrigin: func(*http.Request) bool { return true },
	}
	webtransport.ConfigureHTTP3Server(wt.H3)
	mux.HandleFunc("/.well-known/libp2p-webtransport", func(w http.ResponseWriter, r *http.Request) {
		s.accepted.Add(1)
		s.open.Add(1)
		defer s.open.Add(-1)
		if serve == nil {
			select {
			case <-r.Context().Done():
			case <-s.ctx.Done():
			}
			return
		}
		sess, err := wt.Upgrade(w, r)
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		serve(s.ctx, sess, hash)
		sess.CloseWithError(0, "")
	})
	context.AfterFunc(s.ctx, func() { wt.Close() })
	s.owned.Go(func() {
		wt.Serve(conn)
		conn.Close()
	})
	return nil
}

// muteSession accepts streams and only reads from them.
func (s *server) muteSession(ctx context.Context, sess *webtransport.Session, _ multihash.Multihash) {
	var streams sync.WaitGroup
	defer streams.Wait()
	defer sess.CloseWithError(0, "")
	for {
		str, err := sess.AcceptStream(ctx)
		if err != nil {
			return
		}
		s.streams.Add(1)
		streams.Go(func() { io.Copy(io.Discard, str) })
	}
}

func (s *server) info() info {
	i := info{PeerID: s.id.String()}
	for _, a := range s.addrs {
		i.Addrs = append(i.Addrs, a+"/p2p/"+i.PeerID)
	}
	return i
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "" && r.URL.Path != "/" {
		fail(w, http.StatusNotFound, errors.New("a server knows GET /server/{n} and POST /server/{n}/close"))
		return
	}
	reply(w, map[string]int64{
		"accepted": s.accepted.Load(),
		"open":     s.open.Load(),
		"streams":  s.streams.Load(),
		"secured":  s.secured.Load(),
	})
}

// close waits for the listener and for every TCP connection; WebTransport sessions end at once but are not waited for.
func (s *server) close() error {
	s.stop()
	s.owned.Wait()
	return nil
}
