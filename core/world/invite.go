package world

import (
	"fmt"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/world/wire"
)

// Invite returns an invitation to a room that this node holds, with the room's password and
// the current addresses of the node and of the room's standbys. See wire.Invitation.Link
// and seat.Accept.
func (rs *Rooms) Invite(name string) (wire.Invitation, error) {
	rs.mu.Lock()
	r := rs.rooms[name]
	rs.mu.Unlock()
	if r == nil {
		return wire.Invitation{}, fmt.Errorf("invite to room %q: this node holds no room of this name", name)
	}
	host := rs.node.Host()
	hosts := []peer.AddrInfo{{ID: host.ID(), Addrs: host.Addrs()}}
	if line, _ := r.claims(); len(line) > 0 {
		for _, p := range line.Newest().Standbys {
			hosts = append(hosts, host.Peerstore().PeerInfo(p))
		}
	}
	return wire.Invitation{Room: name, Password: r.opts.Password, Hosts: hosts}, nil
}
