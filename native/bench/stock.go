package main

import (
	"context"
	"strings"
	"time"
)

// startStock starts a tunnel of two processes, each with a go-libp2p host with default
// options and io.Copy, and a relay if the transport is a circuit.
func startStock(ctx context.Context, target, transport string) (*tunnel, error) {
	return startHelpers(ctx, "stock", target, transport, 0)
}

// startHelpers starts the two ends, the relay between them, if any, and, if trip is not 0,
// the long lines: one between the two ends, or one on either side of the relay.
func startHelpers(ctx context.Context, kind, target, transport string, trip time.Duration) (_ *tunnel, err error) {
	t := &tunnel{}
	defer func() {
		if err != nil {
			stopAll(t.processes)
		}
	}()
	run := func(args ...string) (string, error) {
		p, address, err := startHelper(ctx, append([]string{kind, transport}, args...)...)
		if err == nil {
			t.processes = append(t.processes, p)
		}
		return address, err
	}
	far := func(address string) (string, error) {
		if trip == 0 {
			return address, nil
		}
		port, err := portOf(address)
		if err != nil {
			return "", err
		}
		of := trip
		if isCircuit(transport) {
			of /= 2
		}
		p, line, err := startHelper(ctx, "line", of.String(), port)
		if err != nil {
			return "", err
		}
		t.processes = append(t.processes, p)
		return throughLine(address, line)
	}
	listen := []string{"listen", target}
	var through string
	if isCircuit(transport) {
		if through, err = run("relay"); err != nil {
			return nil, err
		}
		behind, err := far(through)
		if err != nil {
			return nil, err
		}
		listen = append(listen, behind)
	}
	peer, err := run(listen...)
	if err != nil {
		return nil, err
	}
	if through != "" { // its own line to the relay
		_, of, _ := strings.Cut(peer, "/p2p-circuit/")
		peer = through + "/p2p-circuit/" + of
	}
	if peer, err = far(peer); err != nil {
		return nil, err
	}
	t.addr, err = run("forward", peer)
	return t, err
}
