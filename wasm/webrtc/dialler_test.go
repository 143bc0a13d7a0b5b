//go:build js

package webrtc_test

import (
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/stretchr/testify/require"

	core "github.com/tombolo-net/tombolo/core/webrtc"
	"github.com/tombolo-net/tombolo/wasm/internal/conformance"
	"github.com/tombolo-net/tombolo/wasm/internal/farside"
	"github.com/tombolo-net/tombolo/wasm/webrtc"
)

func newDialler(t testing.TB, key crypto.PrivKey, timeout time.Duration) transport.Transport {
	d, err := core.NewDialler(key, webrtc.New(webrtc.Options{}), core.DiallerOptions{Timeout: timeout})
	require.NoError(t, err)
	return d
}

func TestDiallerConforms(t *testing.T) {
	if !webrtc.Available() {
		t.Skip("the platform has no RTCPeerConnection here")
	}
	conformance.Run(t, conformance.Subject{
		Listen:        "webrtc-direct",
		Part:          "/webrtc-direct",
		Name:          "webrtc-direct",
		RefusesWrites: true,
		New:           newDialler,
		Except: map[string]string{
			"SlowReaderHoldsBackAFastSender": "a browser hands every message on, and libp2p knows no credit",
			"NothingLeaksOverManyDials":      "it has hundreds, and two a second are made",
			"NothingLeaksOverManyStreams":    "the streams are those of /webrtc, which has the test",
			"KilledFarSideFailsAllStreams":   "ICE takes a quarter of a minute to say so, for the platform's own reasons",
		},
	})
}

func TestDiallerRefusesAnotherCertificate(t *testing.T) {
	if !webrtc.Available() {
		t.Skip("the platform has no RTCPeerConnection here")
	}
	far, other := farside.Start(t, "listen=webrtc-direct"), farside.Start(t, "listen=webrtc-direct")
	d := newDialler(t, conformance.NewKey(t), waitLimit)
	_, err := d.Dial(t.Context(), far.Addrs[0][:3].Encapsulate(other.Addrs[0][3:]), far.ID)
	require.ErrorIs(t, err, core.ErrCertificate)
}
