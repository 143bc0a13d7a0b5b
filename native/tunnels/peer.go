package tunnels

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	madns "github.com/multiformats/go-multiaddr-dns"

	"github.com/tombolo-net/tombolo/core"
)

// resolveTimeout bounds the lookup of a name; Kubo uses the same.
const resolveTimeout = 10 * time.Second

// ErrAmbiguous is returned by ResolvePeer for a name that resolves to several peers.
var ErrAmbiguous = errors.New("ambiguous")

// ResolvePeer parses a peer as a person writes it: a peer ID, /p2p/<id>, an address that
// ends in /p2p/<id>, or /dnsaddr/<name>, which must resolve to exactly one peer.
func ResolvePeer(ctx context.Context, s string) (peer.AddrInfo, error) {
	return resolvePeer(ctx, s, madns.DefaultResolver.Resolve)
}

func resolvePeer(ctx context.Context, s string, resolve func(context.Context, ma.Multiaddr) ([]ma.Multiaddr, error)) (peer.AddrInfo, error) {
	info, err := core.ParsePeer(s)
	if err == nil {
		return info, nil
	}
	name, notAddr := ma.NewMultiaddr(s)
	if notAddr != nil || len(name) != 1 || name[0].Code() != ma.P_DNSADDR {
		return info, err
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	addrs, err := resolve(ctx, name)
	if err != nil {
		return info, fmt.Errorf("look up %s: %w", s, err)
	}
	var ids []peer.ID
	for _, a := range addrs {
		if found, err := peer.AddrInfoFromP2pAddr(a); err == nil && !slices.Contains(ids, found.ID) {
			ids = append(ids, found.ID)
		}
	}
	switch len(ids) {
	case 0:
		return info, fmt.Errorf("look up %s: there is no peer behind that name", s)
	case 1:
		// The name itself, so that each dial looks it up again.
		return peer.AddrInfo{ID: ids[0], Addrs: []ma.Multiaddr{name}}, nil
	}
	return info, fmt.Errorf("%w: there are %d peers behind %s; give /dnsaddr/…/p2p/<id>", ErrAmbiguous, len(ids), s)
}
