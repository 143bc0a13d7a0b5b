package main

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
)

// identities stores the result of each open connection's identification.
type identities struct {
	sub   event.Subscription
	ended sync.WaitGroup

	mu      sync.Mutex
	byConn  map[string]event.EvtPeerIdentificationCompleted
	changed chan struct{} // closed and replaced at each identification
}

// follow follows h's events until stop.
func (ids *identities) follow(h host.Host) error {
	sub, err := h.EventBus().Subscribe(new(event.EvtPeerIdentificationCompleted))
	if err != nil {
		return fmt.Errorf("follow identifications: %w", err)
	}
	ids.sub = sub
	ids.byConn = make(map[string]event.EvtPeerIdentificationCompleted)
	ids.changed = make(chan struct{})
	h.Network().Notify(&network.NotifyBundle{DisconnectedF: func(_ network.Network, c network.Conn) {
		ids.mu.Lock()
		defer ids.mu.Unlock()
		delete(ids.byConn, c.ID())
	}})
	ids.ended.Go(func() {
		for e := range sub.Out() {
			ids.add(e.(event.EvtPeerIdentificationCompleted))
		}
	})
	return nil
}

func (ids *identities) add(ident event.EvtPeerIdentificationCompleted) {
	ids.mu.Lock()
	defer ids.mu.Unlock()
	if ident.Conn.IsClosed() {
		return // its removal came first
	}
	ids.byConn[ident.Conn.ID()] = ident
	close(ids.changed)
	ids.changed = make(chan struct{})
}

func (ids *identities) stop() {
	if ids.sub != nil {
		ids.sub.Close()
	}
	ids.ended.Wait()
}

func (ids *identities) of(ctx context.Context, c network.Conn) (event.EvtPeerIdentificationCompleted, error) {
	for {
		ids.mu.Lock()
		ident, ok := ids.byConn[c.ID()]
		changed := ids.changed
		ids.mu.Unlock()
		if ok {
			return ident, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ident, fmt.Errorf("identify %s: %w", c.RemotePeer(), ctx.Err())
		}
	}
}

func (p *testPeer) doIdentify(ctx context.Context, c network.Conn, _ url.Values, out *result) error {
	if h, ok := p.host.(interface{ IDService() identify.IDService }); ok {
		select {
		case <-h.IDService().IdentifyWait(c):
			// Identification has ended; the event with its result comes next.
		case <-ctx.Done():
			return fmt.Errorf("identify %s: %w", c.RemotePeer(), ctx.Err())
		}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	ident, err := p.idents.of(ctx, c)
	if err != nil {
		return err
	}
	out.Agent, out.ProtocolVersion = ident.AgentVersion, ident.ProtocolVersion
	if ident.ObservedAddr != nil {
		out.Observed = ident.ObservedAddr.String()
	}
	for _, a := range ident.ListenAddrs {
		out.Addrs = append(out.Addrs, a.String())
	}
	// The peerstore also knows what the peer pushed later.
	protos, err := p.host.Peerstore().GetProtocols(c.RemotePeer())
	if err != nil {
		return err
	}
	for _, id := range protos {
		out.Protocols = append(out.Protocols, string(id))
	}
	slices.Sort(out.Protocols)
	for _, a := range p.host.Peerstore().Addrs(c.RemotePeer()) {
		if s := a.String(); !slices.Contains(out.Addrs, s) {
			out.Addrs = append(out.Addrs, s)
		}
	}
	return nil
}
