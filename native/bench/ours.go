package main

import "context"

// startOurs bridges with two nodes of Tombolo, as two daemons that listen and
// forward would.
func startOurs(ctx context.Context, target, transport string) (*tunnel, error) {
	return startHelpers(ctx, "ours", target, transport, 0)
}
