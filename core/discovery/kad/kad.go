// Package kad makes a node a server of its mesh's Kademlia: the node keeps a routing
// table and answers the searches of other peers from it. It is a separate package so that
// clients, above all tabs, do not include it: discovery.Options.Serve takes Serve.
package kad

import (
	"context"
	"fmt"
	"strings"

	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p-kad-dht/records"
	kbucket "github.com/libp2p/go-libp2p-kbucket"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/tombolo-net/tombolo/core/discovery"
)

// kadSuffix ends the protocol of go-libp2p-kad-dht.
const kadSuffix = "/kad/1.0.0"

// lookupChecks is the number of peers that are checked at once for the routing table.
// When a relay comes back, all its peers come back at the same time.
const lookupChecks = 32

var _ discovery.Serve = Serve

// Serve makes h answer searches and keep a routing table. When its addresses change, and
// every ten minutes, h searches for itself, so that the servers nearest to it know it.
// Its answers include addresses of every kind, even private and loopback ones, because a
// mesh may be within one house.
func Serve(h host.Host, proto protocol.ID) (discovery.Table, error) {
	prefix, ok := strings.CutSuffix(string(proto), kadSuffix)
	if !ok {
		return nil, fmt.Errorf("serve %s: it does not end in %s", proto, kadSuffix)
	}
	// The DHT runs until Close, so its context must not be that of a call.
	d, err := dht.New(context.Background(), h,
		dht.ProtocolPrefix(protocol.ID(prefix)),
		dht.Mode(dht.ModeServer),
		dht.DisableProviders(),
		dht.DisableValues(),
		dht.ProviderStore(noProviders{}),
		dht.LookupCheckConcurrency(lookupChecks),
	)
	if err != nil {
		return nil, fmt.Errorf("serve %s: %w", proto, err)
	}
	return &table{host: h, protocol: proto, dht: d}, nil
}

type table struct {
	host     host.Host
	protocol protocol.ID
	dht      *dht.IpfsDHT
}

func (t *table) Nearest(p peer.ID, n int) []peer.ID {
	return t.dht.RoutingTable().NearestPeers(kbucket.ConvertPeerID(p), n)
}

func (t *table) Size() int { return t.dht.RoutingTable().Size() }

func (t *table) Refresh() { t.dht.RefreshRoutingTable() }

func (t *table) Close() error {
	t.host.RemoveStreamHandler(t.protocol) // which the DHT leaves in place
	return t.dht.Close()
}

// noProviders replaces the provider store, which would have a goroutine and caches,
// because this DHT has no providers.
type noProviders struct{ records.ProviderStore }

func (noProviders) Close() error { return nil }
