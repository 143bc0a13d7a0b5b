// Package nat stands in for github.com/libp2p/go-libp2p/p2p/net/nat, which asks routers
// to forward ports: a tab listens on none.
package nat

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

// DiscoveryTimeout bounds the search for a router.
const DiscoveryTimeout = 10 * time.Second

var errNone = errors.New("a lean program asks no router to forward ports")

// NAT is a router. There is none.
type NAT struct{}

func DiscoverNAT(context.Context) (*NAT, error)                    { return nil, errNone }
func (*NAT) Close() error                                          { return nil }
func (*NAT) GetMapping(string, int) (addr netip.AddrPort, is bool) { return addr, false }
func (*NAT) AddMapping(context.Context, string, int) error         { return errNone }
func (*NAT) RemoveMapping(context.Context, string, int) error      { return errNone }
