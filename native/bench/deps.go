package main

import (
	_ "github.com/libp2p/go-libp2p/p2p/host/eventbus"
	_ "github.com/nats-io/nats-server/v2/server"
	_ "github.com/nats-io/nats.go"
	_ "github.com/tombolo-net/tombolo/core/dispatch"
)
