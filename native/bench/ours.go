package main

import "context"

// startOurs starts a tunnel of two Tombolo nodes, as two daemons that listen and forward
// would.
func startOurs(ctx context.Context, target, transport string) (*tunnel, error) {
	return startHelpers(ctx, "ours", target, transport, 0)
}
