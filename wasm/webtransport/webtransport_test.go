//go:build js

package webtransport_test

import (
	"context"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/transport"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/wasm/internal/conformance"
	"github.com/tombolo-net/tombolo/wasm/internal/farside"
	"github.com/tombolo-net/tombolo/wasm/webtransport"
)

func newTransport(t testing.TB, key crypto.PrivKey, handshake time.Duration) transport.Transport {
	tr, err := webtransport.New(key, nil, nil, webtransport.WithHandshakeTimeout(handshake))
	require.NoError(t, err)
	return tr
}

func requireAvailable(t *testing.T) {
	if !webtransport.Available() {
		t.Skip("the platform has no WebTransport")
	}
}

func TestConforms(t *testing.T) {
	requireAvailable(t)
	conformance.Run(t, conformance.Subject{
		Listen:        "webtransport",
		Part:          "/webtransport",
		Name:          "webtransport",
		Mutes:         []string{"webtransport", "webtransport-session"},
		RefusesWrites: true,
		New:           newTransport,
	})
}

// hash1 and hash2 belong to no certificate. hashSHA512 is of a kind that browsers do not
// accept.
const (
	hash1      = "/certhash/uEiDDq4_xNyDorZBH3TlGazyJdOWSwvo4PUo5YHFMrvDE8g"
	hash2      = "/certhash/uEiAkH5a4DPGKUuOBjYw0CgwjvcJCJMD2K_1aluKR_tpevQ"
	hashSHA512 = "/certhash/uE0DPg-E1fu-4VCiAUNYoB-TkFdyD5xXXMokHzUzSz8YwNRPFXTFUt_YxvS4YPogyL-9Hpd2jL0F6gTK5_JMHrdPF"
)

func TestCanDialIsExact(t *testing.T) {
	tr := newTransport(t, conformance.NewKey(t), time.Second)
	const p2p = "/p2p/12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X"
	for addr, want := range map[string]bool{
		"/ip4/1.2.3.4/udp/443/quic-v1/webtransport" + hash1:                        true,
		"/ip4/1.2.3.4/udp/443/quic-v1/webtransport" + hash1 + hash2:                true,
		"/ip4/1.2.3.4/udp/443/quic-v1/webtransport" + hash1 + hash2 + p2p:          true,
		"/ip6/::1/udp/443/quic-v1/webtransport" + hash1:                            true,
		"/dns/example.com/udp/443/quic-v1/webtransport" + hash1:                    true,
		"/dns4/example.com/udp/443/quic-v1/webtransport" + hash1:                   true,
		"/dns6/example.com/udp/443/quic-v1/webtransport" + hash1:                   true,
		"/dns/example.com/udp/443/quic-v1/sni/example.com/webtransport" + hash1:    true,
		"/dns/example.com/udp/443/quic-v1/sni/other.example/webtransport" + hash1:  false,
		"/ip4/1.2.3.4/udp/443/quic-v1/webtransport":                                false,
		"/ip4/1.2.3.4/udp/443/quic-v1/webtransport" + p2p:                          false,
		"/ip4/1.2.3.4/udp/443/quic-v1/webtransport" + hashSHA512:                   false,
		"/ip4/1.2.3.4/udp/443/quic-v1":                                             false,
		"/ip4/1.2.3.4/udp/443/webtransport" + hash1:                                false,
		"/ip4/1.2.3.4/tcp/443/quic-v1/webtransport" + hash1:                        false,
		"/ip4/1.2.3.4/tcp/443/ws":                                                  false,
		"/dnsaddr/example.com/udp/443/quic-v1/webtransport" + hash1:                false,
		"/ip4/1.2.3.4/udp/443/quic-v1/webtransport" + hash1 + p2p + "/p2p-circuit": false,
		"/ip4/1.2.3.4/udp/443/quic-v1/webtransport" + hash1 + "/p2p-circuit":       false,
		p2p: false,
	} {
		assert.Equal(t, want, tr.CanDial(ma.StringCast(addr)), addr)
	}
}

func TestWrongCertHashIsRefused(t *testing.T) {
	requireAvailable(t)
	far := farside.Start(t, "listen=webtransport")
	right := far.Addr(t, "/webtransport")
	session, _ := ma.SplitFunc(right, func(c ma.Component) bool { return c.Protocol().Code == ma.P_CERTHASH })
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	tr := newTransport(t, conformance.NewKey(t), 20*time.Second)
	_, err := tr.Dial(ctx, session.Encapsulate(ma.StringCast(hash1)), far.ID)
	require.Error(t, err)
	require.NoError(t, ctx.Err())
	_, err = tr.Dial(ctx, session.Encapsulate(ma.StringCast(hash1+hash2)), far.ID)
	require.Error(t, err)
}

// The browser accepts a certificate that matches either of two hashes. The peer must vouch
// for both.
func TestCertHashThePeerDoesNotVouchForIsRefused(t *testing.T) {
	requireAvailable(t)
	for _, kind := range []string{"missing-certhash", "second-certhash", "no-certhash"} {
		t.Run(kind, func(t *testing.T) {
			far := farside.StartRogue(t, kind)
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			_, err := newTransport(t, conformance.NewKey(t), 20*time.Second).Dial(ctx, far.Addrs[0], far.ID)
			require.ErrorIs(t, err, webtransport.ErrCertHashNotVouched)
		})
	}
}

func TestDialOverIPv6AndByName(t *testing.T) {
	requireAvailable(t)
	// localhost may be an IPv4 or an IPv6 address: the port has to answer on both.
	free := farside.Start(t, "listen=webtransport")
	port, err := free.Addrs[0].ValueForProtocol(ma.P_UDP)
	require.NoError(t, err)
	free.Post(t, "close", nil)
	far := farside.Start(t, "listen=webtransport:"+port+"&ip6=1")
	tr := newTransport(t, conformance.NewKey(t), 20*time.Second)
	conformance.Dial(t, tr, far.Addr(t, "/ip6"), far.ID)
	_, rest := ma.SplitFirst(far.Addr(t, "/ip4"))
	conformance.Dial(t, tr, ma.StringCast("/dns4/localhost").Encapsulate(rest), far.ID)
}

func TestServerThatBreaksTheHandshakeIsAnError(t *testing.T) {
	requireAvailable(t)
	for _, kind := range []string{"garbage", "reset"} {
		far := farside.StartRogue(t, kind)
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		_, err := newTransport(t, conformance.NewKey(t), 3*time.Second).Dial(ctx, far.Addrs[0], far.ID) // garbage may look like the beginning of a long message
		require.Error(t, err, kind)
		require.NoError(t, ctx.Err(), kind)
		cancel()
	}
}

func TestSessionThatItsServerClosesEnds(t *testing.T) {
	requireAvailable(t)
	far := farside.StartRogue(t, "close")
	c := conformance.Dial(t, newTransport(t, conformance.NewKey(t), 20*time.Second), far.Addrs[0], far.ID)
	_, err := c.AcceptStream()
	require.Error(t, err)
	require.True(t, c.IsClosed())
}

func TestFloodOfStreamsThatNobodyAcceptsIsHeldBack(t *testing.T) {
	requireAvailable(t)
	far := farside.StartRogue(t, "flood")
	c := conformance.Dial(t, newTransport(t, conformance.NewKey(t), 20*time.Second), far.Addrs[0], far.ID)
	for range 300 { // more streams than may be open at once
		s, err := c.AcceptStream()
		require.NoError(t, err)
		_, err = s.Read(make([]byte, 1))
		require.NoError(t, err)
		require.NoError(t, s.Reset())
	}
	require.NoError(t, c.Close())
}
