// Package autonatv2 stands in for github.com/libp2p/go-libp2p/p2p/protocol/autonatv2, as
// package autonat does for the version before.
package autonatv2

import (
	"context"
	"errors"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	ma "github.com/multiformats/go-multiaddr"
)

var (
	ErrNoPeers      = errors.New("no peers for autonat v2")
	ErrPrivateAddrs = errors.New("private addresses cannot be verified with autonatv2")

	errLeftOut = errors.New("autonat v2 is left out of a lean program: build it with lean -keep github.com/libp2p/go-libp2p")
)

// Request asks whether an address can be dialled.
type Request struct {
	Addr         ma.Multiaddr
	SendDialData bool
}

// Result answers it.
type Result struct {
	Addr            ma.Multiaddr
	Idx             int
	Reachability    network.Reachability
	AllAddrsRefused bool
}

// AutoNAT asks peers to dial this host. Nothing here makes one.
type AutoNAT struct{}

func (*AutoNAT) Start(host.Host) error { return errLeftOut }
func (*AutoNAT) Close()                {}
func (*AutoNAT) GetReachability(context.Context, []Request) (Result, error) {
	return Result{}, errLeftOut
}
