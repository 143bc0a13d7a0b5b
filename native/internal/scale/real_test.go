package scale

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/mesh"
	"github.com/tombolo-net/tombolo/core/message"
)

// realTab is a tab that runs package mesh itself, on the simulated network.
type realTab struct {
	*mesh.Mesh
	host *peerHost
}

// addReal adds n real tabs that are subscribed to a type.
func (w *world) addReal(t *testing.T, n int, typ string) (tabs []realTab) {
	for i := range n {
		h, err := w.newHost(fmt.Sprintf("/ip4/100.99.%d.%d/tcp/1", i>>8, i&0xff), 2*time.Millisecond+rand.N(40*time.Millisecond), 0)
		require.NoError(t, err)
		m, err := mesh.New(w.ctx, h, mesh.Options{Deliver: func(*message.Message) {}})
		require.NoError(t, err)
		_, err = m.Subscribe(typ)
		require.NoError(t, err)
		w.relays, w.meshes = append(w.relays, h), append(w.meshes, m) // so that they are closed
		tabs = append(tabs, realTab{m, h})
	}
	return tabs
}

// comes connects the tab to n of the relays, picked at random.
func (t realTab) comes(relays []*peerHost, n int) {
	w := t.host.w
	for _, i := range rand.Perm(len(relays))[:n] {
		r := relays[i]
		time.AfterFunc(r.turn(w.opts.JoinCPU)+joinTrips*2*w.delay(t.host, r), func() {
			l := w.connect(t.host, r)
			t.host.joined(l.ends[0], r.protocols())
			r.joined(l.ends[1], t.host.protocols())
		})
	}
}

// costs is the traffic that the tabs of a small world cause at its relays.
type costs struct {
	join, asked, said Traffic
}

const (
	fewRelays = 3
	fewTabs   = 24
)

func fewOptions(tabs int) Options {
	return Options{Within: time.Second, Relays: fewRelays, Tabs: tabs, Types: 1, Reservations: 2, Answers: Everybody, JoinCPU: 5 * time.Millisecond}
}

func costsOfReal(t *testing.T) (c costs) {
	w, err := begin(fewOptions(0))
	require.NoError(t, err)
	defer func() { require.NoError(t, w.close()) }()
	w.sleep(settle)
	relays := w.relays[:fewRelays]
	m := measure(relays)
	tabs := w.addReal(t, fewTabs, "room/0")
	for _, tab := range tabs {
		time.AfterFunc(rand.N(time.Second), func() { tab.comes(relays, 2) })
	}
	w.sleep(settle)
	c.join = m.end()
	m = measure(relays)
	watch, err := tabs[0].Presence("room/0") // it asks at once, and again a second later
	require.NoError(t, err)
	w.sleep(settle)
	assert.Len(t, watch.Now(), fewTabs-1)
	c.asked = m.end()
	m = measure(relays)
	require.NoError(t, tabs[0].Broadcast(t.Context(), "room/0", make([]byte, said)))
	w.sleep(2 * time.Second)
	c.said = m.end()
	for _, tab := range tabs[1:] {
		require.EqualValues(t, 1, tab.Stats().Received)
	}
	return c
}

func costsOfLight(t *testing.T) (c costs) {
	w, err := begin(fewOptions(fewTabs))
	require.NoError(t, err)
	defer func() { require.NoError(t, w.close()) }()
	w.sleep(settle)
	m := measure(w.relays)
	w.come(w.opts.Within)
	w.sleep(settle - time.Second)
	c.join = m.end()
	m = measure(w.relays)
	w.tabs[0].tell(message.Who)
	w.sleep(askSoon)
	w.tabs[0].tell(message.Who)
	w.sleep(settle - askSoon)
	c.asked = m.end()
	m = measure(w.relays)
	r := w.says(w.tabs)
	c.said = m.end()
	require.Equal(t, fewTabs, r.Reached)
	return c
}

// A light tab costs its relays what a real one does: when it joins, when a peer asks who is
// present, and when a peer broadcasts.
func TestLightTabsCostWhatRealOnesDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		real, light := costsOfReal(t), costsOfLight(t)
		same := func(what string, real, light uint64, within float64) {
			t.Logf("%s: real %d, light %d", what, real, light)
			assert.InEpsilon(t, 1+real, 1+light, within, what)
		}
		for what, pair := range map[string][2]Traffic{"come": {real.join, light.join}, "asked": {real.asked, light.asked}} {
			a, b := pair[0].Total[presence], pair[1].Total[presence]
			if what == "come" {
				// How much a tab hears of the others depends on who came first, so the two
				// may differ: real is less than three times light, and light less than twice real.
				assert.Less(t, a.bytes(), 3*b.bytes())
				assert.Less(t, b.bytes(), 2*a.bytes())
				continue
			}
			same(what+": words sent", a.SentMessages, b.SentMessages, 0.15)
			same(what+": words received", a.ReceivedMessages, b.ReceivedMessages, 0.15)
			same(what+": bytes", a.bytes(), b.bytes(), 0.15)
		}
		for _, k := range []kind{topics, history} {
			a, b := real.join.Total[k], light.join.Total[k]
			same("come: "+k.String(), a.SentMessages+a.ReceivedMessages, b.SentMessages+b.ReceivedMessages, 0.3)
		}
		a, b := real.said.Total[broadcast], light.said.Total[broadcast]
		same("said: sent", a.SentMessages, b.SentMessages, 0.15)
		same("said: received", a.ReceivedMessages, b.ReceivedMessages, 0.15)
		same("said: bytes", a.bytes(), b.bytes(), 0.15)
	})
}
