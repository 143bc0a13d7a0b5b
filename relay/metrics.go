package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"

	"github.com/tombolo-net/tombolo/core"
)

// httpServer is an HTTP server with its own listener.
type httpServer struct {
	server *http.Server
	addr   net.Addr
	done   chan struct{}
}

// maxHTTP is how many connections an httpServer accepts at once.
const maxHTTP = 256

// register adds the relay's own metrics.
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
		gauge("tombolo_relay_certificate_expires_timestamp_seconds", "When the first certificate ends, in Unix time: 1 if one is missing, 0 if the relay has no TLS.", r.certificateExpires),
		gauge("tombolo_relay_slowed_peers", "Peers that wait for their share of the relay's rate now.", r.circuit.meter.share.slowed),
		gauge("tombolo_relay_rate_bytes", "Bytes per second that peers share; 0 if they need not.", r.circuit.meter.share.rateNow),
	)
}

// serveMetrics serves /metrics on a separate listener, because the metrics are for the
// operator alone.
func serveMetrics(addr string, registry *prometheus.Registry) (*httpServer, error) {
	for _, c := range []prometheus.Collector{collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})} {
		if err := registry.Register(c); err != nil && !errors.As(err, new(prometheus.AlreadyRegisteredError)) {
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry}))
	s, err := serveHTTP(addr, &http.Server{Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second})
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return s, nil
}

func serveHTTP(addr string, server *http.Server) (*httpServer, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	s := &httpServer{server: server, addr: l.Addr(), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		_ = s.server.Serve(netutil.LimitListener(l, maxHTTP))
	}()
	return s, nil
}

func (s *httpServer) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := s.server.Shutdown(ctx)
	if err != nil {
		err = s.server.Close()
	}
	<-s.done
	return err
}

// serveRedirect redirects HTTP requests to https.
func (r *Relay) serveRedirect(addr string) (*httpServer, error) {
	if r.certs == nil {
		return nil, errors.New("redirect: the relay speaks no TLS: give it a domain or a certificate")
	}
	server := &http.Server{ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 1 << 20}
	server.SetKeepAlivesEnabled(false)
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		at := asked(request).host
		if _, err := netip.ParseAddr(at); err != nil && !hostname.MatchString(at) {
			http.Error(w, "the request names no host", http.StatusBadRequest)
			return
		}
		if names := r.certs.names(); isIP(at) && len(names) > 0 && !slices.Contains(names, at) {
			at = names[0] // no certificate is for the IP address
		}
		port := "443"
		for _, a := range r.node.Host().Network().ListenAddresses() {
			if isSecure(a) {
				port = portOf(a)
			}
		}
		http.Redirect(w, request, "https://"+hostPort(at, port)+request.URL.RequestURI(), http.StatusPermanentRedirect)
	})
	s, err := serveHTTP(addr, server)
	if err != nil {
		return nil, fmt.Errorf("redirect: %w", err)
	}
	return s, nil
}

// certificateExpires returns when the first certificate expires, in Unix time: 1 if one
// is missing, 0 without TLS.
func (r *Relay) certificateExpires() int64 {
	if r.certs == nil {
		return 0
	}
	return max(r.certs.expires().Unix(), 1)
}
