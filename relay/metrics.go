package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tombolo-net/tombolo/core"
)

// metricsServer serves /metrics on a listener of its own: what it tells is for
// the operator alone.
type metricsServer struct {
	server *http.Server
	addr   net.Addr
	done   chan struct{}
}

// register adds what the relay tells of itself.
func (r *Relay) register(registry *prometheus.Registry) {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "tombolo_relay_info", Help: "1, with the version of the program.",
		ConstLabels: prometheus.Labels{"version": core.Version(), "go": runtime.Version()},
	})
	info.Set(1)
	gauge := func(name, help string, f func() int64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(f()) })
	}
	limit := func(i int) LimitStatus { return r.circuit.places.limits()[i] }
	registry.MustRegister(info,
		gauge("tombolo_relay_reservations", "Reservations that peers hold.", func() int64 { return limit(0).Used }),
		gauge("tombolo_relay_reservations_limit", "Most reservations that peers may hold.", func() int64 { return limit(0).Value }),
		gauge("tombolo_relay_circuits", "Circuits that are open.", func() int64 { return limit(1).Used }),
		gauge("tombolo_relay_circuits_limit", "Most circuits that may be open.", func() int64 { return limit(1).Value }),
		gauge("tombolo_relay_to_move", "Peers that move to another relay, because this one drains, and have not done so.", r.drain.toMove),
		gauge("tombolo_relay_slowed_peers", "Peers that wait for their share of the relay's rate now.", r.circuit.meter.share.slowed),
		gauge("tombolo_relay_rate_bytes", "Bytes per second that peers share; 0 if they need not.", r.circuit.meter.share.rateNow),
	)
}

func serveMetrics(addr string, registry *prometheus.Registry) (*metricsServer, error) {
	for _, c := range []prometheus.Collector{collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})} {
		if err := registry.Register(c); err != nil && !errors.As(err, new(prometheus.AlreadyRegisteredError)) {
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("metrics: listen on %s: %w", addr, err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry}))
	m := &metricsServer{
		server: &http.Server{Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second},
		addr:   l.Addr(),
		done:   make(chan struct{}),
	}
	go func() {
		defer close(m.done)
		_ = m.server.Serve(l)
	}()
	return m, nil
}

func (m *metricsServer) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := m.server.Shutdown(ctx)
	if err != nil {
		err = m.server.Close()
	}
	<-m.done
	return err
}
