package webrtc

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	ma "github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multibase"
	"github.com/multiformats/go-multihash"
)

// fingerprint is the SHA-256 of a certificate.
type fingerprint [32]byte

// multihash returns the fingerprint as libp2p encodes it.
func (f fingerprint) multihash() []byte {
	return append([]byte{multihash.SHA2_256, byte(len(f))}, f[:]...)
}

// String returns the fingerprint as SDP writes it.
func (f fingerprint) String() string {
	pairs := make([]string, len(f))
	for i, b := range f {
		pairs[i] = fmt.Sprintf("%02X", b)
	}
	return strings.Join(pairs, ":")
}

// server holds the parts of a WebRTC-direct multiaddr.
type server struct {
	addr        ma.Multiaddr // without /p2p
	family      string       // IP4 or IP6
	host, port  string       // an IP address, and a number
	fingerprint fingerprint
}

// errName is wrapped by the error of an address with a name.
var errName = errors.New("a name cannot be dialled over WebRTC-direct, because browsers resolve none for it: use an address with /ip4 or /ip6")

// parseServer parses addr. It returns an error unless it understands the whole address.
func parseServer(addr ma.Multiaddr) (server, error) {
	fail := func(why string) (server, error) {
		return server{}, fmt.Errorf("%s is not a WebRTC-direct address: %s", addr, why)
	}
	if len(addr) < 4 || addr[1].Protocol().Code != ma.P_UDP || addr[2].Protocol().Code != ma.P_WEBRTC_DIRECT {
		return fail("no /udp/PORT/webrtc-direct/certhash/HASH after a host")
	}
	s := server{addr: addr[:4:4], family: "IP4", host: addr[0].Value(), port: addr[1].Value()}
	switch addr[0].Protocol().Code {
	case ma.P_IP4:
	case ma.P_IP6:
		s.family = "IP6"
	case ma.P_DNS, ma.P_DNS4, ma.P_DNS6:
		return server{}, fmt.Errorf("%s: %w", addr, errName)
	default:
		return fail("no host")
	}
	if s.port == "0" {
		return fail("no port")
	}
	if addr[3].Protocol().Code != ma.P_CERTHASH {
		return fail("no /certhash")
	}
	var err error
	if s.fingerprint, err = parseCertHash(addr[3].Value()); err != nil {
		return fail(err.Error())
	}
	rest := addr[4:]
	if len(rest) == 1 && rest[0].Protocol().Code == ma.P_P2P {
		rest = nil
	}
	if len(rest) != 0 {
		return fail("something follows the certificate hash")
	}
	return s, nil
}

func parseCertHash(s string) (f fingerprint, err error) {
	_, b, err := multibase.Decode(s)
	if err != nil {
		return f, err
	}
	h, err := multihash.Decode(b)
	if err != nil {
		return f, err
	}
	if h.Code != multihash.SHA2_256 { // libp2p announces no other
		return f, fmt.Errorf("certificate hash is %s, not sha2-256", h.Name)
	}
	if len(h.Digest) != len(f) {
		return f, fmt.Errorf("certificate hash has %d bytes, not %d", len(h.Digest), len(f))
	}
	return fingerprint(h.Digest), nil
}

// serverUfrag is the prefix of the ICE name of a server that is dialled by version 2 of
// the protocol.
const serverUfrag = "libp2p+webrtc+v2/"

// answer returns the answer that the server would give to an offer with the ICE password.
// The server's own ICE name contains that password, so that the server learns it from the
// first packet.
func (s server) answer(password string) string {
	at := "IN " + s.family + " " + s.host
	return strings.Join([]string{
		"v=0",
		"o=- 0 0 " + at,
		"s=-",
		"t=0 0",
		"a=ice-lite",
		"m=application " + s.port + " UDP/DTLS/SCTP webrtc-datachannel",
		"c=" + at,
		"a=mid:0",
		"a=ice-options:ice2",
		"a=ice-ufrag:" + serverUfrag + password,
		"a=ice-pwd:" + serverUfrag + password,
		"a=fingerprint:sha-256 " + s.fingerprint.String(),
		"a=setup:passive",
		"a=sctp-port:5000",
		fmt.Sprintf("a=max-message-size:%d", minMessage),
		"a=candidate:1 1 UDP 1 " + s.host + " " + s.port + " typ host",
		"a=end-of-candidates",
		"",
	}, "\r\n")
}

// offer holds the relevant parts of an offer of this end.
type offer struct {
	password    string
	fingerprint fingerprint
}

// parseOffer parses the SDP of an offer that the platform has made.
func parseOffer(sdp string) (offer, error) {
	var o offer
	found := false
	for line := range strings.Lines(sdp) {
		line = strings.TrimRight(line, "\r\n")
		if password, ok := strings.CutPrefix(line, "a=ice-pwd:"); ok && o.password == "" {
			o.password = password
		}
		algorithm, digits, ok := strings.Cut(strings.TrimPrefix(line, "a=fingerprint:"), " ")
		if !ok || !strings.HasPrefix(line, "a=fingerprint:") || !strings.EqualFold(algorithm, "sha-256") || found {
			continue
		}
		b, err := hex.DecodeString(strings.ReplaceAll(digits, ":", ""))
		if err != nil || len(b) != len(o.fingerprint) {
			return offer{}, fmt.Errorf("the platform's fingerprint %.100q is not of SHA-256", digits)
		}
		o.fingerprint, found = fingerprint(b), true
	}
	switch {
	case o.password == "" || strings.ContainsFunc(o.password, func(r rune) bool { return !isLetter(r) && r != '+' && r != '/' }):
		return offer{}, errors.New("the platform's offer has no ICE password")
	case !found:
		return offer{}, errors.New("the platform's offer has no SHA-256 fingerprint")
	}
	return o, nil
}

// isLetter reports whether r is an ASCII letter or digit.
func isLetter(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}
