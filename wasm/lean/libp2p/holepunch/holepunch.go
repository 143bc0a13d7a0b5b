// Package holepunch stands in for github.com/libp2p/go-libp2p/p2p/protocol/holepunch: a
// tab has no port of its own from which to dial, and be dialled, at the same time.
package holepunch

import (
	"errors"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/prometheus/client_golang/prometheus"
)

// Service would make connections direct. A lean program has none.
type Service struct{}

func NewService(host.Host, identify.IDService, func() []ma.Multiaddr, ...Option) (*Service, error) {
	return nil, errors.New("hole punching is left out of a lean program: build it with lean -keep github.com/libp2p/go-libp2p")
}

func (*Service) Close() error { return nil }

type (
	Option              func(*Service) error
	MetricsTracer       interface{}
	MetricsTracerOption func()
)

func WithMetricsTracer(MetricsTracer) Option                   { return nil }
func NewMetricsTracer(...MetricsTracerOption) MetricsTracer    { return nil }
func WithRegisterer(prometheus.Registerer) MetricsTracerOption { return nil }
