package seat

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/world/wire"
)

// Invitation is what a player needs to join a room; see world.Rooms.Invite.
type Invitation = wire.Invitation

// ParseInvitation parses the link of an invitation to any page.
func ParseInvitation(link string) (Invitation, error) { return wire.ParseInvitation(link) }

// acceptFor is how long connecting to each host of an invitation, and joining there, may
// take.
const acceptFor = 15 * time.Second

// Accept takes the seat of an invitation. If the room's host cannot be reached, it asks
// the first standby that can be, and waits there until the standby holds the room. ctx
// bounds the whole call. If the host or its game refuses, the error is an *Out. Host and
// Password of the options come from the invitation.
func Accept(ctx context.Context, node interface {
	Node
	Finder
	ConnectPeer(ctx context.Context, p peer.AddrInfo) error
}, invitation Invitation, opts Options) (*Seat, error) {
	if len(invitation.Hosts) == 0 {
		return nil, errors.New("accept an invitation: it names no host")
	}
	opts.Password = invitation.Password
	var errs []error
	for _, to := range invitation.Hosts {
		opts.Host = to.ID
		limited, cancel := context.WithTimeout(ctx, acceptFor)
		err := node.ConnectPeer(limited, to)
		var s *Seat
		if err == nil {
			s, err = Join(limited, node, invitation.Room, opts)
		}
		cancel()
		if err == nil {
			return s, nil
		}
		errs = append(errs, err)
		out := new(Out)
		if errors.As(err, &out) && out.Code != wire.NoRoom || ctx.Err() != nil {
			break // it holds the room, or ctx has ended
		}
	}
	return nil, fmt.Errorf("accept an invitation: %w", errors.Join(errs...))
}
