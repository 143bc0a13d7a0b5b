package datagram

import "github.com/libp2p/go-libp2p/core/network"

// sessionOf returns the session that carries the datagrams of a connection, or nil.
func sessionOf(c network.Conn) session {
	var s session
	if c.As(&s) {
		return s
	}
	return nil
}
