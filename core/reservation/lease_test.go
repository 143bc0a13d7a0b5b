package reservation

import (
	"math"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A reservation may end at any time, even between two readings of the clock.
func TestWheneverAReservationEndsTheNextRequestIsNeitherAtOnceNorBeyondItsEnd(t *testing.T) {
	id, err := peer.Decode("12D3KooWEYuy4HNCGYsFFePJ1dPAKyUuhtMNpyiMDsZFBMJVHhmA")
	require.NoError(t, err)
	relay := peer.AddrInfo{ID: id, Addrs: []ma.Multiaddr{ma.StringCast("/ip4/192.0.2.1/tcp/1")}}
	now := time.Now()
	ends := []time.Time{{}, time.Unix(0, 0), time.Unix(1e16, 0), time.Unix(math.MaxInt64, 0), time.Unix(math.MinInt64, 0)}
	for ttl := time.Duration(1); ttl > 0; ttl *= 2 { // to 292 years
		ends = append(ends, now.Add(ttl), now.Add(-ttl), now.Add(ttl-1), now.Round(0).Add(ttl))
	}
	for _, end := range ends {
		r, renew, err := granted(relay, &client.Reservation{Expiration: end}, now)
		if err != nil {
			assert.Less(t, end.Sub(now), minTTL)
			assert.Zero(t, renew)
			continue
		}
		ttl := r.Expires.Sub(now)
		require.GreaterOrEqual(t, ttl, minTTL)
		require.LessOrEqual(t, ttl, maxTTL)
		require.GreaterOrEqual(t, renew, minTTL/2, "%s", end)
		require.Less(t, renew, ttl, "%s", end)
		require.False(t, r.Expires.After(end))
	}
}
