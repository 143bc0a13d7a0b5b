package mesh

import (
	"encoding/binary"
	"slices"
	"sync"
	"time"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// inbound is a stream on which a peer speaks to GossipSub: RPCs, each after its length.
// In between, GossipSub can be made to read again what the peer announced before.
type inbound struct {
	network.Stream
	done  chan struct{} // closed when GossipSub no longer reads it
	ended chan struct{} // closed when the stream was reset here
	end   func()
	waits func(peer.ID, <-chan struct{}) // see trackedHost

	mu    sync.Mutex
	again []byte // to be read before the peer's next RPC
	cut   bool   // a Read was interrupted for it

	// Used only by the reader: the position in the stream.
	telling []byte // the rest of again
	body    uint64 // bytes left of the current RPC
	length  uint64 // of the next RPC, as far as it has been read
	bits    uint   // number of bits of length that have been read
}

func newInbound(s network.Stream, waits func(peer.ID, <-chan struct{})) *inbound {
	in := &inbound{Stream: s, done: make(chan struct{}), ended: make(chan struct{}), waits: waits}
	in.end = sync.OnceFunc(func() { close(in.ended) })
	return in
}

func (s *inbound) Reset() error {
	s.end()
	return s.Stream.Reset()
}

func (s *inbound) ResetWithError(code network.StreamErrorCode) error {
	s.end()
	return s.Stream.ResetWithError(code)
}

// repeat makes GossipSub read the RPCs as if the peer sent them now.
func (s *inbound) repeat(rpcs []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.again, s.cut = rpcs, true
	_ = s.SetReadDeadline(time.Unix(1, 0)) // if this fails, they are read after the peer's next RPC
}

// Read never reads beyond the end of an RPC or of its length.
func (s *inbound) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for {
		if s.body == 0 && s.bits == 0 && len(s.telling) == 0 {
			if s.waits != nil {
				s.waits(s.Conn().RemotePeer(), s.ended)
			}
			s.telling = s.take()
		}
		if n := copy(b, s.telling); n > 0 {
			s.telling = s.telling[n:]
			return n, nil
		}
		most := uint64(1) // a length is read byte by byte
		if s.body > 0 {
			most = s.body
		}
		n, err := s.Stream.Read(b[:min(uint64(len(b)), most)])
		s.follow(b[:n])
		if err == nil || !s.wasCut() {
			return n, err
		}
		if n > 0 {
			return n, nil
		}
	}
}

func (s *inbound) take() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	again := s.again
	s.again = nil
	s.mend()
	return again
}

// wasCut reports whether a Read may have failed because of repeat.
func (s *inbound) wasCut() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mend()
}

// mend lets Read wait again; mu is held.
func (s *inbound) mend() (wasCut bool) {
	if wasCut, s.cut = s.cut, false; wasCut {
		_ = s.SetReadDeadline(time.Time{})
	}
	return wasCut
}

// follow records where in the RPCs the reader is.
func (s *inbound) follow(b []byte) {
	switch {
	case len(b) == 0:
	case s.body > 0:
		s.body -= uint64(len(b))
	case b[0] < 0x80: // the last byte of a length
		s.body, s.length, s.bits = s.length|uint64(b[0])<<s.bits, 0, 0
	default:
		s.length |= uint64(b[0]&0x7f) << s.bits
		s.bits += 7
	}
}

// typesPerRPC keeps the RPCs of frames well below the rpcOverhead of every node.
const typesPerRPC = 8

// frames encodes what a peer announces: the topics that it is on, and those for which it
// has this node in its mesh.
func frames(on, meshed []string) (rpcs []byte) {
	add := func(rpc *pb.RPC) {
		b, err := rpc.Marshal()
		if err != nil {
			return // there is no such topic
		}
		rpcs = append(binary.AppendUvarint(rpcs, uint64(len(b))), b...)
	}
	for topics := range slices.Chunk(on, typesPerRPC) {
		var rpc pb.RPC
		for _, topic := range topics {
			rpc.Subscriptions = append(rpc.Subscriptions, &pb.RPC_SubOpts{Topicid: &topic, Subscribe: new(true)})
		}
		add(&rpc)
	}
	for topics := range slices.Chunk(meshed, typesPerRPC) {
		rpc := pb.RPC{Control: &pb.ControlMessage{}}
		for _, topic := range topics {
			rpc.Control.Graft = append(rpc.Control.Graft, &pb.ControlGraft{TopicID: &topic})
		}
		add(&rpc)
	}
	return rpcs
}
