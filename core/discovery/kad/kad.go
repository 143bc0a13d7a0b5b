// Package kad makes a node a server of its mesh's Kademlia: it keeps a routing
// table, and tells who asks what it knows. It is a package of its own so that
// clients, tabs above all, do not carry it: discovery.Options.Serve takes Serve.
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

// kadSuffix is what go-libp2p-kad-dht ends its protocol with.
const kadSuffix = "/kad/1.0.0"

// lookupChecks is how many peers at once may be tried out for the routing table.
// A relay that comes back has its peers come back all at once.
const lookupChecks = 32

var _ discovery.Serve = Serve

// Serve makes h answer, and keeps its routing table: it looks for itself, so
// that the servers nearest to it know it, when its addresses change and every
// ten minutes. Addresses of every kind are told, private and loopback ones too:
// a mesh may live in one house.
func Serve(h host.Host, proto protocol.ID) (discovery.Table, error) {
	prefix, ok := strings.CutSuffix(string(proto), kadSuffix)
	if !ok {
		return nil, fmt.Errorf("serve %s: it does not end in %s", proto, kadSuffix)
	}
	// The context is that of the table's whole life, which Close ends.
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

// noProviders stands in for a store with a goroutine and caches, of a DHT that
// has no providers.
type noProviders struct{ records.ProviderStore }

func (noProviders) Close() error { return nil }
