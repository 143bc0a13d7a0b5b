package relay

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	rfc8555 "github.com/mholt/acmez/v3/acme"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libp2p/go-libp2p/core/crypto"
)

func TestIPAddressesHaveNames(t *testing.T) {
	key, _, err := crypto.GenerateKeyPair(crypto.Ed25519, 0)
	require.NoError(t, err)
	a, err := newAutoTLS(TLS{AutoTLS: &AutoTLS{}}, key, t.TempDir(), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer a.close()
	assert.Regexp(t, `^k51[0-9a-z]{59}\.libp2p\.direct$`, a.zone)
	assert.Equal(t, "https://registration.libp2p.direct/v1/_acme-challenge", a.broker.url)
	for at, want := range map[string]string{ // the names that p2p-forge's own client uses
		"/ip4/1.2.3.4/tcp/1/tls/ws":              "1-2-3-4",
		"/ip6/2606:4700:4700::1111/tcp/1/tls/ws": "2606-4700-4700--1111",
		"/ip6/2606:4700::/tcp/1/tls/ws":          "2606-4700--0",
		"/ip6/::1/tcp/1/tls/ws":                  "0--1",
	} {
		host, kind := a.name(ma.StringCast(at)[0])
		assert.Equal(t, want+"."+a.zone, host)
		assert.Equal(t, at[1:4], "ip"+kind[3:])
	}

	var all []ma.Multiaddr
	for _, at := range []string{
		"/ip4/1.2.3.4/tcp/1/tls/ws", "/ip4/1.2.3.4/tcp/1/ws", "/ip4/1.2.3.4/udp/1/quic-v1", "/ip6/2606:4700::/tcp/1/tls/ws", // public
		"/ip4/192.168.1.2/tcp/1/tls/ws", "/ip4/100.64.0.1/tcp/1/tls/ws", "/ip4/127.0.0.1/tcp/1/tls/ws", "/ip6/fd00::1/tcp/1/tls/ws",
		"/ip6/64:ff9b::102:304/tcp/1/tls/ws", "/ip4/192.168.1.2/udp/1/quic-v1", "/dns4/relay.example/tcp/1/tls/ws",
	} {
		all = append(all, ma.StringCast(at))
	}
	var out []string
	for _, at := range a.announced(all[:1], all[1:]) {
		out = append(out, at.String())
	}
	assert.ElementsMatch(t, []string{
		"/ip4/1.2.3.4/tcp/1/ws", "/ip4/1.2.3.4/udp/1/quic-v1", "/ip4/192.168.1.2/udp/1/quic-v1", "/dns4/relay.example/tcp/1/tls/ws",
	}, out, "there is no certificate")
	assert.Equal(t, []string{"1-2-3-4." + a.zone, "2606-4700--0." + a.zone}, a.names())
	out = nil
	for _, at := range a.broker.addrs {
		out = append(out, at.String())
	}
	assert.ElementsMatch(t, []string{"/ip4/1.2.3.4/tcp/1/ws", "/ip4/1.2.3.4/udp/1/quic-v1", "/ip6/2606:4700::/tcp/1/ws"}, out)
}

func TestTheWaitForTheBrokersRecordEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		b := &broker{lookup: func(context.Context, string) ([]string, error) { return nil, errors.New("no network") }}
		err := b.Wait(t.Context(), rfc8555.Challenge{Identifier: rfc8555.Identifier{Value: "id.direct.example"}})
		require.ErrorContains(t, err, "its TXT record of _acme-challenge.id.direct.example. was not found in 3m0s")
		assert.ErrorContains(t, err, "no network")
		assert.Equal(t, recordTime, time.Since(begun))
	})
}
