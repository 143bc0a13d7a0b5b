//go:build js

package webtransport

import (
	"fmt"
	"net"
	"syscall/js"

	ma "github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multibase"
	"github.com/multiformats/go-multihash"

	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

// endpoint is the path at which libp2p peers accept sessions, with the only handshake
// that exists.
const endpoint = "/.well-known/libp2p-webtransport?type=noise"

// target is a parsed WebTransport multiaddr.
type target struct {
	addr   ma.Multiaddr // without /p2p
	url    string
	hashes []multihash.DecodedMultihash
}

// parse parses addr. An address with any part that a browser could not honour, or that is
// unknown, is an error.
func parse(addr ma.Multiaddr) (target, error) {
	fail := func(why string) (target, error) {
		return target{}, fmt.Errorf("%s is not a WebTransport address: %s", addr, why)
	}
	if len(addr) < 5 {
		return fail("too short")
	}
	switch addr[0].Protocol().Code {
	case ma.P_IP4, ma.P_IP6, ma.P_DNS, ma.P_DNS4, ma.P_DNS6:
	default:
		return fail("no host")
	}
	if addr[1].Protocol().Code != ma.P_UDP || addr[2].Protocol().Code != ma.P_QUIC_V1 {
		return fail("no /udp/PORT/quic-v1 after the host")
	}
	host, port, rest := addr[0].Value(), addr[1].Value(), addr[3:]
	if rest[0].Protocol().Code == ma.P_SNI {
		// The platform sends the name in the URL as server name.
		if rest[0].Value() != host {
			return fail("a server name other than the host's cannot be sent")
		}
		rest = rest[1:]
	}
	if len(rest) == 0 || rest[0].Protocol().Code != ma.P_WEBTRANSPORT {
		return fail("no /webtransport")
	}
	rest = rest[1:]
	t := target{addr: addr, url: "https://" + net.JoinHostPort(host, port) + endpoint}
	for len(rest) > 0 && rest[0].Protocol().Code == ma.P_CERTHASH {
		h, err := decodeHash(rest[0].Value())
		if err != nil {
			return fail(err.Error())
		}
		t.hashes = append(t.hashes, h)
		rest = rest[1:]
	}
	if len(t.hashes) == 0 {
		return fail("no /certhash")
	}
	if len(rest) == 1 && rest[0].Protocol().Code == ma.P_P2P {
		t.addr, _ = ma.SplitLast(addr)
		rest = nil
	}
	if len(rest) != 0 {
		return fail("something follows the certificate hashes")
	}
	return t, nil
}

func decodeHash(s string) (multihash.DecodedMultihash, error) {
	_, b, err := multibase.Decode(s)
	if err != nil {
		return multihash.DecodedMultihash{}, err
	}
	h, err := multihash.Decode(b)
	if err != nil {
		return multihash.DecodedMultihash{}, err
	}
	if h.Code != multihash.SHA2_256 { // the only one that browsers accept
		return multihash.DecodedMultihash{}, fmt.Errorf("certificate hash is %s, not sha2-256", h.Name)
	}
	return *h, nil
}

// options returns the options that make the browser accept the peer's own certificate.
func (t target) options() js.Value {
	hashes := make([]any, len(t.hashes))
	for i, h := range t.hashes {
		hashes[i] = map[string]any{"algorithm": "sha-256", "value": jsio.Uint8Array(h.Digest)}
	}
	return js.ValueOf(map[string]any{"serverCertificateHashes": hashes})
}
