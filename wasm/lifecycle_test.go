//go:build js

package wasm_test

import (
	"syscall/js"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/wasm/internal/farside"
)

func TestANodeAtRestLeavesItsRelayUntilItIsWoken(t *testing.T) {
	for _, name := range available() {
		t.Run(name, func(t *testing.T) {
			relay := farside.Start(t, "listen=ws,webtransport&relay=1")
			n, events := join(t, relay, name)
			n.Rest()
			assert.Empty(t, n.Peers())
			next(t, events, core.ReservationLost)
			_, err := n.Connect(bounded(t), relay.ID.String())
			require.ErrorIs(t, err, core.ErrResting)
			n.Wake()
			next(t, events, core.ReservationMade)
		})
	}
}

func TestTheNetworkThatIsBackEndsNoRest(t *testing.T) {
	if js.Global().Get("addEventListener").IsUndefined() {
		t.Skip("needs a platform that tells of the network")
	}
	relay := farside.Start(t, "listen=ws,webtransport&relay=1")
	n, events := join(t, relay)
	online := js.Global().Get("Event").New("online")
	js.Global().Call("dispatchEvent", online)
	_, err := n.Connect(bounded(t), relay.ID.String())
	require.NoError(t, err)
	n.Rest()
	next(t, events, core.ReservationLost)
	js.Global().Call("dispatchEvent", online)
	_, err = n.Connect(bounded(t), relay.ID.String())
	require.ErrorIs(t, err, core.ErrResting)
	n.Wake()
	next(t, events, core.ReservationMade)
}

func TestANodeRestsWhileItsPageIsAway(t *testing.T) {
	if js.Global().Get("document").IsUndefined() {
		t.Skip("needs a page")
	}
	relay := farside.Start(t, "listen=ws,webtransport&relay=1")
	n, events := join(t, relay)
	global, document := js.Global(), js.Global().Get("document")
	tell := func(target js.Value, event string, persisted bool) {
		target.Call("dispatchEvent", global.Get("PageTransitionEvent").New(event, map[string]any{"persisted": persisted}))
	}
	for _, away := range []struct {
		target     js.Value
		left, back string
	}{{global, "pagehide", "pageshow"}, {document, "freeze", "resume"}} {
		tell(away.target, away.left, true)
		assert.Empty(t, n.Peers(), "the connections end before the listener returns, because the page may not run again")
		next(t, events, core.ReservationLost)
		tell(away.target, away.back, true)
		next(t, events, core.ReservationMade)
	}
	tell(global, "pageshow", false) // as when the page has just been loaded
	assert.Len(t, n.Reservations(), 1)
}

// A script of the page may dispatch any event.
func TestEventsThatThePageMakesUpAreNoEnd(t *testing.T) {
	if js.Global().Get("document").IsUndefined() {
		t.Skip("needs a page")
	}
	n, _ := join(t, farside.Start(t, "listen=ws,webtransport&relay=1"))
	for _, persisted := range []string{`value: 1n`, `value: Symbol()`, `value: null`, `get() { throw 1n }`} {
		js.Global().Get("Function").New(`dispatchEvent(Object.defineProperty(new Event('pageshow'), 'persisted', {` + persisted + `}))`).Invoke()
	}
	assert.Len(t, n.Reservations(), 1)
}
