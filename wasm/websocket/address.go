//go:build js

package websocket

import (
	"fmt"
	"net"
	"slices"

	ma "github.com/multiformats/go-multiaddr"
)

// dialURL returns the URL of a WebSocket multiaddr. An address with any part that a
// browser could not honour, or that is unknown, is an error.
func dialURL(addr ma.Multiaddr) (string, error) {
	fail := func() (string, error) { return "", fmt.Errorf("%s is not a WebSocket address", addr) }
	if len(addr) < 3 {
		return fail()
	}
	host := addr[0].Value()
	switch addr[0].Protocol().Code {
	case ma.P_IP4, ma.P_IP6, ma.P_DNS, ma.P_DNS4, ma.P_DNS6:
	default:
		return fail()
	}
	if addr[1].Protocol().Code != ma.P_TCP {
		return fail()
	}
	port, rest := addr[1].Value(), addr[2:]
	if last := len(rest) - 1; rest[last].Protocol().Code == ma.P_P2P {
		rest = rest[:last]
	}
	codes := make([]int, len(rest))
	for i, c := range rest {
		codes[i] = c.Protocol().Code
	}
	scheme := "wss"
	switch {
	case is(codes, ma.P_WS):
		scheme = "ws"
	case is(codes, ma.P_WSS), is(codes, ma.P_TLS, ma.P_WS):
	case is(codes, ma.P_TLS, ma.P_SNI, ma.P_WS):
		// The platform sends the name in the URL as server name, so the name must be dialled.
		host = rest[1].Value()
	default:
		return fail()
	}
	return scheme + "://" + net.JoinHostPort(host, port) + "/", nil
}

func is(got []int, want ...int) bool { return slices.Equal(got, want) }
