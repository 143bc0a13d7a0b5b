//go:build js

package websocket

import (
	"net"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// conn adapts a socket to the connection that the upgrader takes.
type conn struct {
	*socket
	remote ma.Multiaddr
}

var _ manet.Conn = (*conn)(nil)

// localAddr stands for the local address, which the platform does not report.
var localAddr = ma.StringCast("/ip4/0.0.0.0/tcp/0/ws")

func (c *conn) LocalMultiaddr() ma.Multiaddr  { return localAddr }
func (c *conn) RemoteMultiaddr() ma.Multiaddr { return c.remote }
func (c *conn) LocalAddr() net.Addr           { return netAddr("") }

func (c *conn) RemoteAddr() net.Addr {
	url, _ := dialURL(c.remote)
	return netAddr(url)
}

func (c *conn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

// netAddr is the URL of a WebSocket as a net.Addr.
type netAddr string

func (netAddr) Network() string  { return "websocket" }
func (a netAddr) String() string { return string(a) }
