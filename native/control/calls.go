package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/core/dispatch"
	"github.com/tombolo-net/tombolo/core/mesh"
	"github.com/tombolo-net/tombolo/core/webrtc"
	"github.com/tombolo-net/tombolo/native/tunnels"
)

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	answer(mux, VerbStatus, s.status)
	answer(mux, VerbPeers, s.peers)
	answer(mux, VerbConnect, s.connect)
	answer(mux, VerbDisconnect, s.disconnect)
	answer(mux, VerbPing, s.ping)
	answer(mux, VerbEcho, s.echo)

	answer(mux, VerbListen, s.listen)
	answer(mux, VerbForward, s.forward)
	keepAnswering(mux, VerbListenForeground, s.listenForeground)
	keepAnswering(mux, VerbForwardForeground, s.forwardForeground)
	answer(mux, VerbAccess, s.access)
	answer(mux, VerbLs, s.tunnels)
	answer(mux, VerbClose, s.close)
	answer(mux, VerbStreams, s.streams)
	answer(mux, VerbCloseStreams, s.closeStreams)
	answer(mux, VerbDialEnd, s.dialEnd)
	keepAnswering(mux, VerbWatch, s.watch)
	answer(mux, VerbServices, s.services)
	mux.HandleFunc("POST /v1/dial", s.dial)

	answer(mux, VerbSend, s.send)
	answer(mux, VerbRequest, s.request)
	answer(mux, VerbBroadcast, s.broadcast)
	keepAnswering(mux, VerbSubscribe, s.subscribe)

	answer(mux, VerbPair, s.pair)
	keepAnswering(mux, VerbPairShow, s.pairShow)

	keepAnswering(mux, VerbRoomHost, s.roomHost)
	answer(mux, VerbRoomList, s.roomList)
	keepAnswering(mux, VerbRoomWatch, s.roomWatch)
	answer(mux, VerbRoomInvite, s.roomInvite)
	keepAnswering(mux, VerbRoomOffer, s.roomOffer)
	answer(mux, VerbRoomSave, s.roomSave)
	keepAnswering(mux, VerbRoomTop, s.roomTop)
	keepAnswering(mux, VerbRoomStandby, s.roomStandby)
	answer(mux, VerbRoomHandOver, s.roomHandOver)
	answer(mux, VerbRoomFind, s.roomFind)
	keepAnswering(mux, VerbRoomJoin, s.roomJoin)

	answer(mux, VerbRoomBoard, s.roomBoard)
	keepAnswering(mux, VerbRoomBoardWatch, s.roomBoardWatch)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, badRequest{fmt.Errorf("there is no call %s %s: the client may be newer than the daemon", r.Method, r.URL.Path)})
	})
	return mux
}

var started = time.Now()

func (s *Server) status(context.Context, None) (Status, error) {
	stats := s.node.Stats()
	st := Status{
		ID:           s.node.ID(),
		Version:      core.Version(),
		Network:      s.node.Network(),
		PID:          os.Getpid(),
		Started:      started,
		Addrs:        []string{},
		Relays:       []string{},
		STUN:         []string{},
		Reservations: []Reservation{},
		Peers:        stats.Peers,
		Listeners:    stats.Bridge.Listeners,
		Forwards:     stats.Bridge.Forwards,
		Streams:      stats.Bridge.Streams,
	}
	for _, a := range s.node.Addrs() {
		st.Addrs = append(st.Addrs, a.String())
	}
	relays, _ := s.node.Relays()
	st.STUN = append(st.STUN, webrtc.STUN(s.node.Host(), relays)...)
	for _, r := range s.node.Reservations() {
		held := Reservation{Relay: r.Relay, Expires: r.Expires}
		for _, a := range r.Addrs {
			held.Addrs = append(held.Addrs, a.String())
		}
		st.Reservations = append(st.Reservations, held)
	}
	if s.opts.Status != nil {
		s.opts.Status(&st)
	}
	return st, nil
}

func (s *Server) peers(context.Context, None) ([]Peer, error) {
	peers := make([]Peer, 0)
	for _, p := range s.node.Peers() {
		peers = append(peers, peerOf(p))
	}
	slices.SortFunc(peers, func(a, b Peer) int { return cmp.Compare(a.ID, b.ID) })
	return peers, nil
}

// peer resolves a peer and makes its addresses known.
func (s *Server) peer(ctx context.Context, name string) (peer.AddrInfo, error) {
	info, err := tunnels.ResolvePeer(ctx, name)
	if err != nil {
		return info, badRequest{err}
	}
	return info, nil
}

// reach resolves a peer, and connects to it if an address was given.
func (s *Server) reach(ctx context.Context, name string) (peer.ID, error) {
	info, err := s.peer(ctx, name)
	if err == nil && len(info.Addrs) > 0 && info.ID != s.node.ID() {
		err = s.node.ConnectPeer(ctx, info)
	}
	return info.ID, err
}

func (s *Server) connect(ctx context.Context, q PeerCall) (Peer, error) {
	info, err := s.peer(ctx, q.Peer)
	if err != nil {
		return Peer{}, err
	}
	if err := s.node.ConnectPeer(ctx, info); err != nil {
		return Peer{}, err
	}
	if p, ok := s.node.Peer(info.ID); ok {
		return peerOf(p), nil
	}
	return Peer{}, fmt.Errorf("%s was connected, and is gone again", info.ID)
}

func (s *Server) disconnect(ctx context.Context, q PeerCall) (Closed, error) {
	info, err := s.peer(ctx, q.Peer)
	if err != nil {
		return Closed{}, err
	}
	n := len(s.node.Host().Network().ConnsToPeer(info.ID))
	return Closed{n}, s.node.Disconnect(info.ID)
}

func (s *Server) ping(ctx context.Context, q PeerCall) (Pong, error) {
	p, err := s.reach(ctx, q.Peer)
	if err != nil {
		return Pong{}, err
	}
	rtt, err := s.node.Ping(ctx, p)
	return Pong{p, milliseconds(rtt)}, err
}

// maxEcho bounds what one echo carries, in bytes.
const maxEcho = 256 << 20

func (s *Server) echo(ctx context.Context, q EchoCall) (Echoed, error) {
	if q.Bytes < 0 || q.Bytes > maxEcho {
		return Echoed{}, badRequest{fmt.Errorf("bytes: %d is not from 0 to %d", q.Bytes, maxEcho)}
	}
	p, err := s.reach(ctx, q.Peer)
	if err != nil {
		return Echoed{}, err
	}
	begun := time.Now()
	_, err = s.node.Echo(ctx, p, make([]byte, q.Bytes))
	return Echoed{p, q.Bytes, time.Since(begun).Seconds()}, err
}

func (s *Server) send(ctx context.Context, q MessageCall) (None, error) {
	p, err := s.reach(ctx, q.Peer)
	if err != nil {
		return None{}, err
	}
	return None{}, s.node.Send(ctx, p, q.Type, q.Data)
}

func (s *Server) request(ctx context.Context, q MessageCall) (Reply, error) {
	p, err := s.reach(ctx, q.Peer)
	if err != nil {
		return Reply{}, err
	}
	data, err := s.node.Request(ctx, p, q.Type, q.Data)
	return Reply{data}, err
}

func (s *Server) broadcast(ctx context.Context, q MessageCall) (None, error) {
	var opts []mesh.BroadcastOption
	if q.Wait {
		opts = append(opts, mesh.WaitForPeer())
	}
	return None{}, s.node.Broadcast(ctx, q.Type, q.Data, opts...)
}

func (s *Server) subscribe(ctx context.Context, q SubscribeCall, tell func(any) error) error {
	var opts []dispatch.Option
	if q.Buffer != 0 {
		opts = append(opts, dispatch.Buffer(q.Buffer))
	}
	sub, err := s.node.Subscribe(q.Type, opts...)
	if err != nil {
		return badRequest{err}
	}
	defer sub.Close()
	if err := tell(None{}); err != nil { // an empty answer: it is subscribed from now on
		return err
	}
	for {
		d, err := sub.Next(ctx)
		if errors.Is(err, dispatch.ErrClosed) || ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		m := Message{From: d.From, Type: d.Type, ID: fmt.Sprint(d.ID), Data: d.Data, Missed: uint64(d.Missed), Broadcast: d.Broadcast}
		if err := tell(m); err != nil {
			return err
		}
	}
}

// servicesTimeout bounds the question to all connected peers.
const servicesTimeout = 5 * time.Second

// services asks one peer, or all connected peers, for their services. Of all, those that
// do not answer are left out.
func (s *Server) services(ctx context.Context, q PeerCall) ([]Offer, error) {
	if q.Peer != "" {
		p, err := s.reach(ctx, q.Peer)
		if err != nil {
			return nil, err
		}
		services, err := s.node.Services(ctx, p)
		return offers(make([]Offer, 0, len(services)), p, services), err
	}
	ctx, cancel := context.WithTimeout(ctx, servicesTimeout)
	defer cancel()
	all := make([]Offer, 0)
	for _, a := range s.node.ServicesOf(ctx, nil) {
		if a.Err != nil {
			s.log.Debug("a peer was asked for its services in vain", "peer", a.Peer, "error", a.Err)
		}
		all = offers(all, a.Peer, a.Services)
	}
	return all, nil
}

func offers(list []Offer, p peer.ID, services []bridge.Service) []Offer {
	for _, service := range services {
		list = append(list, Offer{p, service})
	}
	return list
}
