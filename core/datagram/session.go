//go:build !js

package datagram

import (
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/webtransport-go"
)

// sessionOf is what carries the datagrams of a connection, or nil. Of WebTransport that
// is the session: HTTP/3 reads what the connection below receives.
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
