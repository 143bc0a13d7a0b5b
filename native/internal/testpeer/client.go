package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	circuit "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	ma "github.com/multiformats/go-multiaddr"
)

// result is the outcome of an action; each action sets its own part.
type result struct {
	OK        bool    `json:"ok"`
	Error     string  `json:"error,omitempty"`
	MS        float64 `json:"ms"`
	DialMS    float64 `json:"dialMs"`
	Transport string  `json:"transport,omitempty"`
	Relayed   bool    `json:"relayed"`
	Limited   bool    `json:"limited"`
	Addr      string  `json:"addr,omitempty"`

	Bytes  int64  `json:"bytes,omitempty"`  // echo
	SHA256 string `json:"sha256,omitempty"` // echo, open

	RTTMS float64 `json:"rttMs,omitempty"` // ping

	Agent           string   `json:"agent,omitempty"` // identify
	ProtocolVersion string   `json:"protocolVersion,omitempty"`
	Protocols       []string `json:"protocols,omitempty"`
	Addrs           []string `json:"addrs,omitempty"`
	Observed        string   `json:"observed,omitempty"`

	Circuit    string   `json:"circuit,omitempty"` // reserve
	Circuits   []string `json:"circuits,omitempty"`
	Expires    string   `json:"expires,omitempty"`
	LimitBytes uint64   `json:"limitBytes,omitempty"`

	Stream   int    `json:"stream,omitempty"` // open
	Received int64  `json:"received,omitempty"`
	How      string `json:"how,omitempty"`
}

// action does something over the connection that act has opened.
type action func(ctx context.Context, c network.Conn, q url.Values, out *result) error

// defaultTimeout bounds an action without &timeout.
const defaultTimeout = 30 * time.Second

// arrivalLimit is how long a peer that is named by its ID alone may take to connect.
const arrivalLimit = 2 * time.Second

// act handles a request by connecting to the peer that it names and calling do. A failure is reported in the answer, not as a bad
// request.
func (p *testPeer) act(do action) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		limit, err := duration(q, "timeout", defaultTimeout)
		if err != nil {
			fail(w, http.StatusBadRequest, err)
			return
		}
		to, err := peer.AddrInfoFromString(q.Get("to"))
		if err != nil {
			fail(w, http.StatusBadRequest, fmt.Errorf("to=%q: %w", q.Get("to"), err))
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), limit)
		defer cancel()
		var out result
		if err := p.connectAnd(ctx, *to, do, q, &out); err != nil {
			out.Error = err.Error()
		}
		out.OK = out.Error == ""
		reply(w, out)
	}
}

func (p *testPeer) connectAnd(ctx context.Context, to peer.AddrInfo, do action, q url.Values, out *result) error {
	ctx = network.WithAllowLimitedConn(ctx, "testpeer")
	start := time.Now()
	c, err := p.connect(ctx, to, flag(q, "fresh"))
	out.DialMS = ms(start)
	if err != nil {
		return err
	}
	out.Transport, out.Addr = transportOf(c), c.RemoteMultiaddr().String()
	out.Relayed, out.Limited = relayed(c), c.Stat().Limited
	start = time.Now()
	err = do(ctx, c, q, out)
	out.MS = ms(start)
	return err
}

// connect returns a connection to the peer: an existing one, or a new one to exactly the addresses named.
func (p *testPeer) connect(ctx context.Context, to peer.AddrInfo, fresh bool) (network.Conn, error) {
	n := p.host.Network()
	if fresh {
		n.ClosePeer(to.ID)
	}
	if len(n.ConnsToPeer(to.ID)) == 0 {
		p.host.Peerstore().ClearAddrs(to.ID)
		if s, ok := n.(*swarm.Swarm); ok {
			s.Backoff().Clear(to.ID)
		}
	}
	if len(to.Addrs) == 0 {
		p.awaitPeer(ctx, to.ID)
	}
	// Connect adds them only for a time that ends early if an older connection closes.
	p.host.Peerstore().AddAddrs(to.ID, to.Addrs, peerstore.RecentlyConnectedAddrTTL)
	if err := p.host.Connect(ctx, to); err != nil {
		return nil, err
	}
	conns := n.ConnsToPeer(to.ID)
	if len(conns) == 0 {
		return nil, fmt.Errorf("the connection to %s closed at once", to.ID)
	}
	return conns[0], nil
}

// awaitPeer waits a moment for a peer that has dialled this one: the dialling end has its connection before the dialled end.
func (p *testPeer) awaitPeer(ctx context.Context, id peer.ID) {
	changes, err := p.host.EventBus().Subscribe(new(event.EvtPeerConnectednessChanged))
	if err != nil {
		return
	}
	defer changes.Close()
	late := time.After(arrivalLimit)
	for p.host.Network().Connectedness(id) == network.NotConnected {
		select {
		case <-changes.Out():
		case <-late:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (p *testPeer) doConnect(context.Context, network.Conn, url.Values, *result) error { return nil }

func (p *testPeer) serveDisconnect(w http.ResponseWriter, r *http.Request) {
	to := r.URL.Query().Get("to")
	info, err := peer.AddrInfoFromString(to)
	if err != nil {
		fail(w, http.StatusBadRequest, fmt.Errorf("to=%q: %w", to, err))
		return
	}
	err = p.host.Network().ClosePeer(info.ID)
	reply(w, result{OK: err == nil, Error: text(err)})
}

func (p *testPeer) doEcho(ctx context.Context, c network.Conn, q url.Values, out *result) error {
	size, err := number(q, "bytes", 1024)
	if err != nil {
		return err
	}
	repeat, err := number(q, "repeat", 1)
	if err != nil {
		return err
	}
	proto := q.Get("protocol")
	if proto == "" {
		proto = "/tombolo/echo/1.0.0"
	}
	var sum [sha256.Size]byte
	for i := range repeat {
		s, err := p.host.NewStream(ctx, c.RemotePeer(), protocol.ID(proto))
		if err != nil {
			return fmt.Errorf("open stream %d of %d: %w", i+1, repeat, err)
		}
		n, got, err := echo(ctx, s, size)
		out.Bytes += n
		if err != nil {
			return fmt.Errorf("stream %d of %d, after %d bytes: %w", i+1, repeat, n, err)
		}
		sum = got
	}
	out.SHA256 = hex.EncodeToString(sum[:])
	return nil
}

// echo sends size random bytes over s while it reads them back, and compares. It ends s.
func echo(ctx context.Context, s network.Stream, size int64) (back int64, sum [sha256.Size]byte, err error) {
	stop := context.AfterFunc(ctx, func() { s.Reset() })
	defer stop()
	sent := sha256.New()
	wrote := make(chan error, 1)
	go func() {
		var seed [32]byte
		for i := range seed {
			seed[i] = byte(rand.Uint32())
		}
		src := io.LimitReader(rand.NewChaCha8(seed), size)
		_, err := copyAll(io.MultiWriter(sent, s), src)
		if err == nil {
			err = s.CloseWrite()
		}
		if err != nil {
			s.Reset()
		}
		wrote <- err
	}()
	got := sha256.New()
	back, err = copyAll(got, s)
	if err != nil {
		s.Reset()
	}
	werr := <-wrote
	s.Close()
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case werr != nil && err != nil:
		err = fmt.Errorf("write: %w; read: %w", werr, err)
	case werr != nil:
		err = fmt.Errorf("write: %w", werr)
	case err != nil:
		err = fmt.Errorf("read: %w", err)
	case [sha256.Size]byte(got.Sum(nil)) != [sha256.Size]byte(sent.Sum(nil)):
		err = fmt.Errorf("sent %d bytes, %d came back, and their hashes differ", size, back)
	}
	return back, [sha256.Size]byte(got.Sum(nil)), err
}

func (p *testPeer) doPing(ctx context.Context, c network.Conn, _ url.Values, out *result) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	select {
	case res := <-ping.Ping(ctx, p.host, c.RemotePeer()):
		out.RTTMS = float64(res.RTT.Microseconds()) / 1000
		return res.Error
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *testPeer) doReserve(ctx context.Context, c network.Conn, _ url.Values, out *result) error {
	rsvp, err := circuit.Reserve(ctx, p.host, peer.AddrInfo{ID: c.RemotePeer()})
	if err != nil {
		return err
	}
	p.host.Peerstore().AddAddr(c.RemotePeer(), c.RemoteMultiaddr(), peerstore.PermanentAddrTTL)
	self := fmt.Sprintf("/p2p/%s/p2p-circuit/p2p/%s", c.RemotePeer(), p.host.ID())
	out.Circuit = c.RemoteMultiaddr().String() + self
	if len(rsvp.Addrs) == 0 {
		return errors.New("the reservation names no address")
	}
	for _, a := range rsvp.Addrs {
		out.Circuits = append(out.Circuits, fmt.Sprintf("%s/p2p-circuit/p2p/%s", a, p.host.ID()))
	}
	out.Expires = rsvp.Expiration.Format(time.RFC3339)
	out.LimitBytes = rsvp.LimitData
	return nil
}

func transportOf(c network.Conn) string {
	if relayed(c) {
		return "p2p-circuit"
	}
	return c.ConnState().Transport
}

func relayed(c network.Conn) bool {
	return strings.Contains(c.RemoteMultiaddr().String(), ma.ProtocolWithCode(ma.P_CIRCUIT).Name)
}

func ms(since time.Time) float64 { return float64(time.Since(since).Microseconds()) / 1000 }
