package discovery

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
	"google.golang.org/protobuf/encoding/protowire"
)

// Bounds of one answer. Kademlia's answers name 20 peers, and the peer asked for; a peer
// with two relays that have several interfaces has some 50 addresses.
const (
	maxAnswerBytes = 1 << 20
	maxAnswerPeers = bucketSize + 1
	maxPeerAddrs   = 64
)

// Fields of the protobuf messages Message and Message.Peer, and the one type
// of message that is used.
// Spec: https://github.com/libp2p/specs/tree/master/kad-dht#rpc-messages
const (
	fieldType        = 1
	fieldKey         = 2
	fieldCloserPeers = 8

	fieldPeerID    = 1
	fieldPeerAddrs = 2

	typeFindNode = 4
)

// askTimeout bounds one question: the dial, if one is needed, and the answer.
const askTimeout = 8 * time.Second

var errMalformed = errors.New("the answer is malformed")

// ask asks a server for the peers that it knows nearest to target, including target
// itself. It connects first if needed.
func ask(ctx context.Context, h host.Host, proto protocol.ID, server peer.AddrInfo, target peer.ID) ([]peer.AddrInfo, error) {
	ctx, cancel := context.WithTimeout(network.WithAllowLimitedConn(ctx, "tombolo"), askTimeout)
	defer cancel()
	if err := h.Connect(ctx, server); err != nil {
		return nil, err
	}
	s, err := h.NewStream(ctx, server.ID, proto)
	if err != nil {
		return nil, err
	}
	// ctx may also end without a deadline.
	defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
	answer, err := exchange(s, question(target))
	if err != nil {
		_ = s.Reset()
		return nil, errors.Join(ctx.Err(), err)
	}
	_ = s.Close()
	return readPeers(answer)
}

func exchange(s network.Stream, question []byte) ([]byte, error) {
	if _, err := s.Write(question); err != nil {
		return nil, err
	}
	if err := s.CloseWrite(); err != nil {
		return nil, err
	}
	r := bufio.NewReader(s)
	size, err := binary.ReadUvarint(r)
	if err != nil {
		return nil, err
	}
	if size > maxAnswerBytes {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are read", errMalformed, size, maxAnswerBytes)
	}
	answer := make([]byte, size)
	_, err = io.ReadFull(r, answer)
	return answer, err
}

// question returns a FIND_NODE message, preceded by its length.
func question(target peer.ID) []byte {
	m := protowire.AppendTag(nil, fieldType, protowire.VarintType)
	m = protowire.AppendVarint(m, typeFindNode)
	m = protowire.AppendTag(m, fieldKey, protowire.BytesType)
	m = protowire.AppendString(m, string(target))
	return protowire.AppendBytes(nil, m)
}

// readPeers reads the peers of an answer that have an address. It skips what is beyond
// the bounds, and addresses that it does not understand, because newer peers may know
// other transports.
func readPeers(m []byte) (peers []peer.AddrInfo, err error) {
	err = eachField(m, func(field protowire.Number, value []byte) error {
		if field != fieldCloserPeers || len(peers) == maxAnswerPeers {
			return nil
		}
		p, err := readPeer(value)
		if err == nil && len(p.Addrs) > 0 {
			peers = append(peers, p)
		}
		return err
	})
	return peers, err
}

func readPeer(m []byte) (p peer.AddrInfo, err error) {
	err = eachField(m, func(field protowire.Number, value []byte) (err error) {
		switch field {
		case fieldPeerID:
			if p.ID, err = peer.IDFromBytes(value); err != nil {
				return fmt.Errorf("%w: %w", errMalformed, err)
			}
		case fieldPeerAddrs:
			if a, err := ma.NewMultiaddrBytes(value); err == nil && len(p.Addrs) < maxPeerAddrs {
				p.Addrs = append(p.Addrs, a)
			}
		}
		return nil
	})
	if err == nil && p.ID == "" {
		err = fmt.Errorf("%w: a peer without an id", errMalformed)
	}
	return p, err
}

// eachField calls f with each field of a message that holds bytes.
func eachField(m []byte, f func(protowire.Number, []byte) error) error {
	for len(m) > 0 {
		field, typ, n := protowire.ConsumeTag(m)
		if n < 0 {
			return fmt.Errorf("%w: %w", errMalformed, protowire.ParseError(n))
		}
		m = m[n:]
		if typ == protowire.BytesType {
			value, n := protowire.ConsumeBytes(m)
			if n < 0 {
				return fmt.Errorf("%w: %w", errMalformed, protowire.ParseError(n))
			}
			if err := f(field, value); err != nil {
				return err
			}
			m = m[n:]
			continue
		}
		if n = protowire.ConsumeFieldValue(field, typ, m); n < 0 {
			return fmt.Errorf("%w: %w", errMalformed, protowire.ParseError(n))
		}
		m = m[n:]
	}
	return nil
}
