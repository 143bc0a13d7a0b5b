package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/tombolo-net/tombolo/native/pair"
)

// PairCall connects to the peer that shows a code.
type PairCall struct {
	Code string `json:"code"` // as a person types it
}

// Paired is the peer that shows a code, which is then connected. Protocol is empty if the
// peer shares nothing.
type Paired struct {
	Peer     peer.ID     `json:"peer"`
	Protocol protocol.ID `json:"protocol,omitempty"`
}

// Pairing is an answer of the call: the first has the code, the second the peer that used
// it, which is then connected.
type Pairing struct {
	Code    string    `json:"code,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
	Peer    peer.ID   `json:"peer,omitempty"`
}

func (s *Server) pair(ctx context.Context, q PairCall) (Paired, error) {
	code, err := pair.ReadCode(q.Code)
	if err != nil {
		return Paired{}, badRequest{err}
	}
	met, err := pair.Find(ctx, s.node, code)
	return Paired(met), err
}

func (s *Server) pairShow(ctx context.Context, _ None, tell func(any) error) error {
	p, err := pair.Show(ctx, s.node, pair.Shown{
		Shares: s.announcedTo,
		Ready: func(code pair.Code, expires time.Time) error {
			return tell(Pairing{Code: code.String(), Expires: expires})
		},
	})
	if errors.Is(err, pair.ErrExpired) {
		return fmt.Errorf("%w; run tombolo pair again for a new one", err)
	}
	if err != nil {
		return err
	}
	return tell(Pairing{Peer: p})
}

// announcedTo lists the announced services that a peer may use.
func (s *Server) announcedTo(p peer.ID) (protocols []protocol.ID) {
	for _, service := range s.node.Bridge().ServicesFor(p) {
		protocols = append(protocols, service.Protocol)
	}
	return protocols
}
