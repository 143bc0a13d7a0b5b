package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/native/gateway"
)

// gatewayGrace is how long requests in progress may continue when the daemon ends.
const gatewayGrace = time.Second

// gatewayHost is a flag for a host name or an IP address at which the gateway answers.
type gatewayHost string

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *gatewayHost) UnmarshalText(text []byte) error {
	name, err := gateway.ParseHost(string(text))
	*h = gatewayHost(name)
	return err
}

// serveGateway serves the gateway at an address of this machine until it is
// closed, and returns its URL.
func serveGateway(node *core.Node, addr string, hosts []gatewayHost, log *slog.Logger) (url string, closeAll func() error, err error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return "", nil, fmt.Errorf("gateway: %w; choose another address with --gateway", err)
	}
	names := make([]string, len(hosts))
	for i, h := range hosts {
		names[i] = string(h)
	}
	g := gateway.New(node, gateway.Options{Hosts: names, Logger: log})
	server := gateway.Server(g)
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the gateway failed", "error", err)
		}
	}()
	return "http://" + l.Addr().String() + "/", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), gatewayGrace)
		defer cancel()
		_ = server.Shutdown(ctx) // requests that take longer are broken off
		err := errors.Join(g.Close(), server.Close())
		<-served
		return err
	}, nil
}
