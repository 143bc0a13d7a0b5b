//go:build js

package jsapi

import (
	"context"
	"fmt"
	"log/slog"
	"syscall/js"

	"github.com/tombolo-net/tombolo/core"
)

// dispatchEvents turns the node's events into DOM events until it closes.
func (n *node) dispatchEvents() {
	events := n.Events()
	n.events.Go(func() {
		defer events.Close()
		for ev := range events.All(context.Background()) {
			name, detail := n.describe(ev)
			n.dispatch(name, detail)
		}
	})
}

func (n *node) dispatch(name string, detail map[string]any) {
	event := js.Global().Get("CustomEvent").New(name, map[string]any{"detail": detail})
	dispatchEvent.Call("call", n.object, event) // the platform reports exceptions of listeners
}

// dispatchEvent is the platform's method, because a page may override that of the object.
var dispatchEvent = js.Global().Get("EventTarget").Get("prototype").Get("dispatchEvent")

// dispatchLog dispatches log records as events, too, at the level of the option log.
func (n *node) dispatchLog(logger *slog.Logger) {
	if h, ok := logger.Handler().(*consoleHandler); ok { // not so if log is "off"
		h.setTell(func(level, attrs string, r slog.Record) {
			n.dispatch("log", map[string]any{"level": level, "time": r.Time.UnixMilli(), "message": r.Message, "attrs": attrs})
		})
	}
}

func (n *node) describe(ev core.Event) (string, map[string]any) {
	id := ev.Peer.String()
	switch ev.Type {
	case core.PeerConnected, core.PeerDirect, core.PeerRelayed:
		names := map[core.EventType]string{core.PeerConnected: "peer:connect", core.PeerDirect: "peer:direct", core.PeerRelayed: "peer:relayed"}
		return names[ev.Type], map[string]any{
			"peer": id, "addr": ev.Conn.Addr.String(), "transport": ev.Conn.Transport,
			"relayed": ev.Conn.Relayed, "direction": direction(ev.Conn.Direction),
		}
	case core.PeerDisconnected:
		return "peer:disconnect", map[string]any{"peer": id}
	case core.ReservationMade:
		return "relay:reserved", map[string]any{"relay": id, "addrs": addrStrings(ev.Addrs), "expires": ev.Expires.UnixMilli()}
	case core.ReservationLost:
		return "relay:lost", map[string]any{"relay": id, "reason": ev.Err.Error()}
	case core.ReservationFailed:
		if ev.Peer == "" {
			id = ev.URL
		}
		return "relay:failed", map[string]any{"relay": id, "reason": ev.Err.Error()}
	case core.EchoAnswered:
		return "echo", map[string]any{"peer": id, "bytes": ev.Bytes}
	case core.EventsMissed:
		return "error", map[string]any{"message": fmt.Sprintf("%d events were missed: the page was too busy", ev.Missed)}
	}
	return "error", map[string]any{"message": ev.Type.String()}
}
