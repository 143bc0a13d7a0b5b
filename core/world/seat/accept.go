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

// ParseInvitation reads the link of an invitation, for any page.
func ParseInvitation(link string) (Invitation, error) { return wire.ParseInvitation(link) }

// acceptFor is how long each of the hosts of an invitation has to be reached.
const acceptFor = 15 * time.Second

// Accept takes the seat that an invitation is for. If the room's host cannot be reached, it
// asks the first standby that can, and waits there until that one holds the room. ctx
// bounds it. If the host or its game refuses, the error is an *Out. Host and Password of
// the options come from the invitation.
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
			break // it holds the room, or nobody is asked any more
		}
	}
	return nil, fmt.Errorf("accept an invitation: %w", errors.Join(errs...))
}
