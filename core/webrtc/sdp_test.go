package webrtc

import (
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// certHash is the hash of no data. certHash512 is of a kind that is not accepted, and
// certHashShort has fewer bytes than its kind needs.
const (
	certHash      = "/certhash/uEiDDq4_xNyDorZBH3TlGazyJdOWSwvo4PUo5YHFMrvDE8g"
	certHash512   = "/certhash/uE0DPg-E1fu-4VCiAUNYoB-TkFdyD5xXXMokHzUzSz8YwNRPFXTFUt_YxvS4YPogyL-9Hpd2jL0F6gTK5_JMHrdPF"
	certHashShort = "/certhash/uEgSr-Pw3"
)

func TestOnlyAnAddressThatIsUnderstoodWholeIsDialled(t *testing.T) {
	const p2p = "/p2p/12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X"
	for addr, want := range map[string]string{
		"/ip4/1.2.3.4/udp/443/webrtc-direct" + certHash:                        "",
		"/ip4/1.2.3.4/udp/443/webrtc-direct" + certHash + p2p:                  "",
		"/ip6/::1/udp/443/webrtc-direct" + certHash:                            "",
		"/dns/relay.example/udp/443/webrtc-direct" + certHash:                  "a name cannot be dialled",
		"/ip4/1.2.3.4/udp/443/webrtc-direct":                                   "no /udp/PORT/webrtc-direct/certhash",
		"/ip4/1.2.3.4/udp/443/webrtc-direct" + p2p:                             "no /certhash",
		"/ip4/1.2.3.4/udp/443/webrtc-direct" + certHash + certHash:             "something follows",
		"/ip4/1.2.3.4/udp/443/webrtc-direct" + certHash + p2p + "/p2p-circuit": "something follows",
		"/ip4/1.2.3.4/udp/443/webrtc-direct" + certHash512:                     "sha2-512, not sha2-256",
		"/ip4/1.2.3.4/udp/443/webrtc-direct" + certHashShort:                   "has 4 bytes, not 32",
		"/ip4/1.2.3.4/udp/0/webrtc-direct" + certHash:                          "no port",
		"/ip4/1.2.3.4/tcp/443/webrtc-direct" + certHash:                        "no /udp/PORT",
		"/ip4/1.2.3.4/udp/443/webrtc" + certHash:                               "no /udp/PORT",
		"/unix/x":                                                              "no /udp/PORT",
	} {
		a, err := ma.NewMultiaddr(addr)
		require.NoError(t, err, addr)
		_, err = parseServer(a)
		if want == "" {
			assert.NoError(t, err, addr)
		} else {
			assert.ErrorContains(t, err, want, addr)
		}
	}
	_, err := parseServer(nil)
	require.Error(t, err)
}

func TestMadeUpAnswerSaysWhatTheServerWould(t *testing.T) {
	s, err := parseServer(ma.StringCast("/ip6/2001:db8::1/udp/9090/webrtc-direct" + certHash))
	require.NoError(t, err)
	sdp := s.answer("secret")
	for _, line := range []string{
		"a=ice-lite",
		"m=application 9090 UDP/DTLS/SCTP webrtc-datachannel",
		"c=IN IP6 2001:db8::1",
		"a=ice-ufrag:libp2p+webrtc+v2/secret",
		"a=ice-pwd:libp2p+webrtc+v2/secret",
		"a=fingerprint:sha-256 C3:AB:8F:F1:37:20:E8:AD:90:47:DD:39:46:6B:3C:89:74:E5:92:C2:FA:38:3D:4A:39:60:71:4C:AE:F0:C4:F2",
		"a=setup:passive",
		"a=candidate:1 1 UDP 1 2001:db8::1 9090 typ host",
	} {
		assert.Contains(t, strings.Split(sdp, "\r\n"), line)
	}
}

func TestOfferSaysThePasswordAndTheCertificateOfThisEnd(t *testing.T) {
	const (
		password = "a=ice-pwd:Sl+/0123456789abcdefghij\r\n"
		digest   = "a=fingerprint:sha-256 C3:AB:8F:F1:37:20:E8:AD:90:47:DD:39:46:6B:3C:89:74:E5:92:C2:FA:38:3D:4A:39:60:71:4C:AE:F0:C4:F2\r\n"
	)
	want, err := parseServer(ma.StringCast("/ip4/1.2.3.4/udp/1/webrtc-direct" + certHash))
	require.NoError(t, err)
	for name, sdp := range map[string]string{
		"media level":           "v=0\r\nm=application 9 x\r\n" + password + digest,
		"session level":         "v=0\r\n" + digest + "m=application 9 x\r\n" + password,
		"another kind before":   "a=fingerprint:sha-1 00:11\r\n" + digest + password,
		"lower case, line feed": strings.ReplaceAll(strings.ToLower(digest), "\r", "") + password,
	} {
		o, err := parseOffer(sdp)
		require.NoError(t, err, name)
		assert.Equal(t, "Sl+/0123456789abcdefghij", o.password, name)
		assert.Equal(t, want.fingerprint, o.fingerprint, name)
	}
	for sdp, want := range map[string]string{
		"":                              "no ICE password",
		digest:                          "no ICE password",
		"a=ice-pwd:a b\r\n" + digest:    "no ICE password",
		password:                        "no SHA-256 fingerprint",
		password + "a=fingerprint:\r\n": "no SHA-256 fingerprint",
		password + "a=fingerprint:sha-256 C3:AB\r\n":                           "not of SHA-256",
		password + "a=fingerprint:sha-256 " + strings.Repeat("zz:", 31) + "zz": "not of SHA-256",
	} {
		_, err := parseOffer(sdp)
		assert.ErrorContains(t, err, want, "%q", sdp)
	}
}

// An address must not add lines to the SDP answer that this end makes from it.
func FuzzServer(f *testing.F) {
	for _, host := range []string{"/ip4/1.2.3.4", "/ip6/::1", "/dns/relay.example", "/ip6zone/a/ip6/::1"} {
		f.Add(ma.StringCast(host+"/udp/443/webrtc-direct"+certHash).Bytes(), "a=ice-pwd:x\r\n")
	}
	f.Fuzz(func(t *testing.T, b []byte, sdp string) {
		own, err := parseOffer(sdp)
		if err != nil {
			own.password = "secret"
		}
		a, err := ma.NewMultiaddrBytes(b)
		if err != nil {
			return
		}
		if transport, _ := peer.SplitAddr(a); transport != nil {
			a = transport
		}
		s, err := parseServer(a)
		if err != nil {
			return
		}
		answer := s.answer(own.password)
		require.Equal(t, 17, strings.Count(answer, "\n"), "%q", answer)
		require.Equal(t, 17, strings.Count(answer, "\r\n"), "%q", answer)
	})
}
