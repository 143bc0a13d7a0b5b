// Package autonat stands in for github.com/libp2p/go-libp2p/p2p/host/autonat, which finds
// out whether the addresses of a host can be dialled: a tab has none but those of relays.
package autonat

import (
	"io"

	"github.com/libp2p/go-libp2p/core/network"
)

// AutoNAT knows whether a host can be dialled.
type AutoNAT interface {
	Status() network.Reachability
	io.Closer
}
