package reservation

import (
	"fmt"
	"slices"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multistream"
	"github.com/multiformats/go-varint"
)

const multistreamID protocol.ID = "/multistream/1.0.0"

// eager is a stream that proposes its protocol with the first bytes written, and reads
// the agreement with the first bytes read, so a request takes one round trip. A host's
// own stream waits for identify first: that takes one more round trip, or five seconds if
// the peer does not answer. It must be used by one goroutine, except for Reset. If the
// peer does not speak the protocol, Read returns a multistream.ErrNotSupported.
//
// https://github.com/multiformats/multistream-select
type eager struct {
	network.Stream
	proposed, agreed bool
}

func (s *eager) Write(b []byte) (int, error) {
	if s.proposed {
		return s.Stream.Write(b)
	}
	s.proposed = true
	var head []byte
	for _, token := range []protocol.ID{multistreamID, s.Protocol()} {
		head = slices.Concat(head, varint.ToUvarint(uint64(len(token)+1)), []byte(token), []byte("\n"))
	}
	n, err := s.Stream.Write(append(head, b...))
	return max(n-len(head), 0), err
}

func (s *eager) Read(b []byte) (int, error) {
	for _, want := range []protocol.ID{multistreamID, s.Protocol()} {
		if s.agreed {
			break
		}
		switch got, err := multistream.ReadNextToken[protocol.ID](s.Stream); {
		case err != nil:
			return 0, err
		case got == "na":
			return 0, multistream.ErrNotSupported[protocol.ID]{Protos: []protocol.ID{s.Protocol()}}
		case got != want:
			return 0, fmt.Errorf("the peer was to agree on %s, and says %.64q", want, string(got))
		}
	}
	s.agreed = true
	return s.Stream.Read(b)
}
