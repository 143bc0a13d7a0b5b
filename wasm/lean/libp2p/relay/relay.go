// Package relay stands in for github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay:
// a tab can be reached through relays only, and is none.
package relay

import "github.com/prometheus/client_golang/prometheus"

type (
	Option              func() error
	MetricsTracer       interface{}
	MetricsTracerOption func()
)

func WithMetricsTracer(MetricsTracer) Option                   { return nil }
func NewMetricsTracer(...MetricsTracerOption) MetricsTracer    { return nil }
func WithRegisterer(prometheus.Registerer) MetricsTracerOption { return nil }
