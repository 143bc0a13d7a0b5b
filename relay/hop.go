package relay

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"
	pbv2 "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/pb"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/proto"
	ma "github.com/multiformats/go-multiaddr"
	protobuf "google.golang.org/protobuf/proto"

	"github.com/tombolo-net/tombolo/core/circuits"
	"github.com/tombolo-net/tombolo/core/customer"
	"github.com/tombolo-net/tombolo/core/reservation"
)

const (
	// requestTimeout is how long a peer has to send its request on a hop stream.
	requestTimeout = 15 * time.Second
	// stallTime is how long the far end of a circuit may read nothing of what the near end
	// sent. A circuit carries a connection whose muxer always reads: a peer that does not
	// has left, or is hostile.
	stallTime = time.Minute
)

// hop is a host that checks hop requests before the circuit relay gets them, and tells
// each refused peer the reason.
type hop struct {
	host.Host
	places   *places
	access   *access
	refusals *refusals
}

func (h *hop) SetStreamHandler(p protocol.ID, f network.StreamHandler) {
	if p != proto.ProtoIDv2Hop {
		h.Host.SetStreamHandler(p, f)
		return
	}
	h.Host.SetStreamHandler(p, func(s network.Stream) { h.handle(s, f) })
}

func (h *hop) handle(s network.Stream, f network.StreamHandler) {
	_ = s.SetReadDeadline(time.Now().Add(requestTimeout))
	request, err := readDelimited(s)
	_ = s.SetReadDeadline(time.Time{})
	if err != nil {
		_ = s.Reset()
		return
	}
	hs := &hopStream{Stream: s, request: request, end: func() {}}
	from, at := s.Conn().RemotePeer(), s.Conn().RemoteMultiaddr()
	var why *refusal
	kind, to := read(request)
	switch kind {
	case pbv2.HopMessage_RESERVE:
		why = h.reserve(from, at, string(reservation.HopField(request, reservation.TokenField)))
	case pbv2.HopMessage_CONNECT:
		if why = h.access.refuses(from); why != nil {
			break
		}
		if why = h.places.connect(from, to, customer.Of(at)); why == nil {
			hs.end = sync.OnceFunc(func() { h.places.disconnect(from, to, customer.Of(at)) })
		}
	}
	if why != nil {
		h.refusals.note(*why, "peer", from, "addr", at)
		answer(s, *why)
		return
	}
	f(h.stalling(hs, from))
}

// reserve gives a peer a reservation, or returns why not. It asks the operator's service
// only about peers for which there is room.
func (h *hop) reserve(from peer.ID, at ma.Multiaddr, token string) *refusal {
	site := customer.Of(at)
	why, ask := h.access.admit(from, token, time.Now())
	if ask {
		if why = h.places.room(from, site, time.Now()); why == nil {
			why = h.access.ask(from, at, token)
		}
	}
	if why == nil {
		why = h.places.reserve(from, site, time.Now())
	}
	if why == nil {
		know(h, from)
	}
	if h.Network().Connectedness(from) == network.NotConnected { // it left meanwhile
		forget(h, from, h.places)
		h.places.release(from)
		h.access.forget(from)
	}
	return why
}

// know records in the peerstore that a peer with a reservation is reachable by a circuit
// through this relay, so that peers that look it up learn it. The peer's own report is
// not enough: its answer to the relay's first identify request may be older than the
// reservation, and be read after a later update.
func know(h host.Host, p peer.ID) {
	through := ma.StringCast("/p2p/" + h.ID().String()).Encapsulate(circuits.Addr)
	own := h.Addrs()
	addrs := make([]ma.Multiaddr, len(own))
	for i, a := range own {
		addrs[i] = a.Encapsulate(through)
	}
	h.Peerstore().UpdateAddrs(p, peerstore.PermanentAddrTTL, peerstore.TempAddrTTL) // some may have changed since it last reserved
	h.Peerstore().AddAddrs(p, addrs, peerstore.PermanentAddrTTL)
}

// forget lets the addresses that know recorded expire, once their peer has left, after
// the same time as those that a peer reports itself.
func forget(h host.Host, p peer.ID, places *places) {
	if places.holds(p) {
		h.Peerstore().UpdateAddrs(p, peerstore.PermanentAddrTTL, peerstore.RecentlyConnectedAddrTTL)
	}
}

// NewStream opens the far end of a circuit.
func (h *hop) NewStream(ctx context.Context, p peer.ID, protos ...protocol.ID) (network.Stream, error) {
	s, err := h.Host.NewStream(ctx, p, protos...)
	if err != nil {
		return nil, err
	}
	return h.stalling(s, p), nil
}

// stalling returns a stream to p on which a Write fails if p reads nothing for stallTime.
func (h *hop) stalling(s network.Stream, p peer.ID) network.Stream {
	return &stallStream{Stream: s, stalled: func() {
		h.refusals.note(refusal{limit: "stall", value: int64(stallTime / time.Second)}, "peer", p)
	}}
}

// readDelimited reads one length-prefixed message, and returns it with its prefix.
func readDelimited(r io.Reader) ([]byte, error) {
	var message []byte
	one := make([]byte, 1)
	for {
		if _, err := io.ReadFull(r, one); err != nil {
			return nil, err
		}
		message = append(message, one[0])
		if one[0] < 0x80 {
			break
		}
		if len(message) == 2 {
			return nil, errTooLong
		}
	}
	size, n := binary.Uvarint(message)
	if n <= 0 || size > reservation.MaxHopMessage {
		return nil, errTooLong
	}
	message = append(message, make([]byte, size)...)
	_, err := io.ReadFull(r, message[n:])
	return message, err
}

var errTooLong = errors.New("the message is longer than a hop request may be")

// read returns the type of a hop request and the peer to connect to. If the request
// cannot be read, the type is not a valid one.
func read(delimited []byte) (pbv2.HopMessage_Type, peer.ID) {
	_, n := binary.Uvarint(delimited)
	var m pbv2.HopMessage
	if protobuf.Unmarshal(delimited[n:], &m) != nil {
		return pbv2.HopMessage_STATUS, ""
	}
	to, err := peer.IDFromBytes(m.GetPeer().GetId())
	if err != nil {
		to = "" // the circuit relay refuses it
	}
	return m.GetType(), to
}

// answer tells a peer why it is refused, and closes the stream.
func answer(s network.Stream, why refusal) {
	status := why.status
	body, err := protobuf.Marshal(&pbv2.HopMessage{Type: pbv2.HopMessage_STATUS.Enum(), Status: &status})
	if err == nil {
		m := append(binary.AppendUvarint(nil, uint64(len(body))), body...)
		_ = s.SetWriteDeadline(time.Now().Add(requestTimeout))
		m = reservation.AppendHopField(m, reservation.ReasonField, []byte(why.words))
		_, err = s.Write(reservation.AppendHopField(m, reservation.LimitField, []byte(why.limit)))
	}
	if err != nil {
		_ = s.Reset()
		return
	}
	_ = s.Close()
}

// hopStream is a hop stream whose request has been read already. end is called when the
// stream ends.
type hopStream struct {
	network.Stream
	request []byte // the part that the circuit relay has not read yet
	end     func()
}

func (s *hopStream) Read(p []byte) (int, error) {
	if len(s.request) > 0 {
		n := copy(p, s.request)
		s.request = s.request[n:]
		return n, nil
	}
	return s.Stream.Read(p)
}

func (s *hopStream) Close() error {
	s.end()
	return s.Stream.Close()
}

func (s *hopStream) Reset() error {
	s.end()
	return s.Stream.Reset()
}

func (s *hopStream) ResetWithError(code network.StreamErrorCode) error {
	s.end()
	return s.Stream.ResetWithError(code)
}

// stallStream is the write side of a circuit: a Write that takes longer than stallTime
// fails, which ends the circuit.
type stallStream struct {
	network.Stream
	stalled func()
}

func (s *stallStream) Write(p []byte) (int, error) {
	if err := s.Stream.SetWriteDeadline(time.Now().Add(stallTime)); err != nil {
		return 0, err
	}
	n, err := s.Stream.Write(p)
	if late, ok := errors.AsType[net.Error](err); ok && late.Timeout() {
		s.stalled()
	}
	return n, err
}
