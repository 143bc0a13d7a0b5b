package core

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// EchoProtocol is the protocol of Echo: a node sends back every byte that it receives, in
// order, until the sender half-closes; then it half-closes, too.
const EchoProtocol protocol.ID = "/tombolo/echo/1.0.0"

func (n *Node) startEcho(context.Context) error {
	n.host.SetStreamHandler(EchoProtocol, n.answerEcho)
	return nil
}

func (n *Node) answerEcho(s network.Stream) {
	count, err := io.Copy(s, s)
	if err != nil {
		_ = s.Reset() // so that the peer gets an error rather than a short echo
		return
	}
	_ = s.Close()
	n.emit(Event{Type: EchoAnswered, Peer: s.Conn().RemotePeer(), Bytes: count})
}

// Echo sends data to the peer's echo protocol and returns the reply. A reply that differs
// from data is an error. Echo sends and reads at the same time, so data can have any
// size. If ctx ends, the exchange ends.
func (n *Node) Echo(ctx context.Context, p peer.ID, data []byte) ([]byte, error) {
	s, err := n.Open(ctx, p, EchoProtocol)
	if err != nil {
		return nil, fmt.Errorf("echo: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	defer stop()

	sent := make(chan error, 1)
	go func() {
		_, err := s.Write(data)
		sent <- errors.Join(err, s.CloseWrite())
	}()
	reply, err := io.ReadAll(io.LimitReader(s, int64(len(data))+1))
	if err != nil {
		_ = s.Reset()
	}
	if err = errors.Join(ctx.Err(), err, <-sent); err != nil {
		_ = s.Reset()
		return nil, fmt.Errorf("echo off %s: %w", p, err)
	}
	if !bytes.Equal(reply, data) {
		_ = s.Reset()
		return nil, fmt.Errorf("echo off %s: %d bytes came back that are not the %d sent", p, len(reply), len(data))
	}
	return reply, s.Close()
}
