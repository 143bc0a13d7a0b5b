package main

import "context"

// startStock bridges with two processes of a go-libp2p host with its defaults
// and io.Copy, and a relay of its own if the transport is a circuit.
func startStock(ctx context.Context, target, transport string) (*tunnel, error) {
	return startHelpers(ctx, "stock", target, transport)
}

// startHelpers starts the two ends, and the relay between them.
func startHelpers(ctx context.Context, kind, target, transport string) (_ *tunnel, err error) {
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
	listen := []string{"listen", target}
	if transport == "circuit" {
		through, err := run("relay")
		if err != nil {
			return nil, err
		}
		listen = append(listen, through)
	}
	peer, err := run(listen...)
	if err != nil {
		return nil, err
	}
	t.addr, err = run("forward", peer)
	return t, err
}
