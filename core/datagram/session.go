//go:build !js

package datagram

import (
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/webtransport-go"
)

// sessionOf returns the session that carries the datagrams of a connection, or nil. For
// WebTransport, that is the WebTransport session, because HTTP/3 reads the datagrams of
// the QUIC connection underneath.
func sessionOf(c network.Conn) session {
	var wt *webtransport.Session
	if c.As(&wt) {
		return wt
	}
	var q *quic.Conn
	if c.As(&q) {
		if state := q.ConnectionState(); state.SupportsDatagrams.Local && state.SupportsDatagrams.Remote {
			return q
		}
	}
	return nil
}
