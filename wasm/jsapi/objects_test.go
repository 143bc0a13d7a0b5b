//go:build js

package jsapi

import (
	"reflect"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/test"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/bridge"
)

func TestPlainObjectsHaveTheNamesOfJSON(t *testing.T) {
	p := test.RandPeerIDFatal(t)
	opened := time.UnixMilli(1234567890)
	stream := bridge.StreamInfo{ID: 7, Protocol: "/x/a", Peer: p, Transport: "circuit", Opened: opened, LastActive: opened}
	require.Equal(t, map[string]any{
		"id": 7.0, "protocol": "/x/a", "peer": p.String(), "inbound": false, "origin": "", "target": "", "transport": "circuit",
		"sent": 0.0, "received": 0.0, "opened": 1234567890.0, "lastActive": 1234567890.0,
	}, plain(reflect.ValueOf(stream)))
	stream.Ended, stream.Reason, stream.Relay = opened, bridge.NotAllowed, p
	ended := plain(reflect.ValueOf(stream)).(map[string]any)
	require.Equal(t, []any{1234567890.0, "not allowed", p.String()}, []any{ended["ended"], ended["reason"], ended["relay"]})

	listener := bridge.ListenerInfo{Protocol: "/x/a", ListenConfig: bridge.ListenConfig{Announce: "an a", Limits: bridge.Limits{Rate: 5}}}
	require.Equal(t, map[string]any{
		"id": 0.0, "protocol": "/x/a", "listen": "", "target": "", "announce": "an a", "limits": map[string]any{"rate": 5.0},
		"live": 0.0, "total": 0.0, "refused": 0.0,
	}, plain(reflect.ValueOf(listener)))
}

func TestPlainMapsAreObjects(t *testing.T) {
	stats := bridge.Stats{Streams: 1, Ended: map[bridge.Reason]uint64{"": 3, bridge.PeerLost: 1}}
	require.Equal(t, map[string]any{"": 3.0, "peer lost": 1.0}, plain(reflect.ValueOf(stats)).(map[string]any)["ended"])
}
