package webrtc_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/stretchr/testify/require"

	core "github.com/tombolo-net/tombolo/core/webrtc"
	"github.com/tombolo-net/tombolo/native/webrtc"
)

// tapped is a platform that hands its connections to a test, which may send anything on them.
type tapped struct {
	*webrtc.Platform
	made chan core.PeerConnection
}

func (p tapped) New(e core.Events) (core.PeerConnection, error) {
	pc, err := p.Platform.New(e)
	if err == nil {
		p.made <- pc
	}
	return pc, err
}

// raw is a channel on which a test may send anything.
type raw struct {
	core.Channel
	opened, closed chan struct{}
}

func (r raw) Opened()        { close(r.opened) }
func (r raw) Message([]byte) {}
func (r raw) Closed()        { close(r.closed) }

func open(t *testing.T, pc core.PeerConnection) raw {
	t.Helper()
	ch, err := pc.OpenChannel(t.Context(), "", "")
	require.NoError(t, err)
	r := raw{Channel: ch, opened: make(chan struct{}), closed: make(chan struct{})}
	ch.Handle(r)
	receive(t, r.opened)
	return r
}

func TestWhatAPeerSendsEndsItsStreamAndNotTheConnection(t *testing.T) {
	made := make(chan core.PeerConnection, 1)
	a, b := pairOn(t, tapped{webrtc.New(webrtc.Options{Loopback: true}), made})
	pc := receive(t, made)
	data := func(n int) []byte { // a frame of n bytes of data
		head := append([]byte{0x12}, binary.AppendUvarint(nil, uint64(n))...)
		return append(append(binary.AppendUvarint(nil, uint64(len(head)+n)), head...), make([]byte, n)...)
	}
	for name, test := range map[string]struct {
		message []byte
		times   int
		code    network.StreamErrorCode
	}{
		"a frame that cannot be read":     {[]byte{3, 0x12, 0xff, 0xff}, 1, network.StreamProtocolViolation},
		"a frame that is too large":       {[]byte{0xff, 0xff, 0xff, 0xff, 0x7f}, 1, network.StreamProtocolViolation},
		"a length that is no number":      {bytes.Repeat([]byte{0xff}, 11), 1, network.StreamProtocolViolation},
		"more than it was given room for": {data(60 << 10), 20, network.StreamResourceLimitExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			ch := open(t, pc)
			for range test.times {
				_ = ch.Send(test.message) // the channel may be closed before the last one
			}
			receive(t, ch.closed)
			s, err := b.AcceptStream()
			require.NoError(t, err)
			_, err = io.ReadAll(s)
			var reset *network.StreamError
			require.ErrorAs(t, err, &reset)
			require.Equal(t, test.code, reset.ErrorCode)
			require.False(t, reset.Remote)
			require.Error(t, reset.TransportError, "it says why")
		})
	}
	s, err := a.OpenStream(t.Context())
	require.NoError(t, err)
	_, err = s.Write([]byte("x"))
	require.NoError(t, err)
	far, err := b.AcceptStream()
	require.NoError(t, err)
	require.NoError(t, far.SetDeadline(time.Now().Add(waitLimit)))
	_, err = io.ReadFull(far, make([]byte, 1))
	require.NoError(t, err, "the connection goes on")
	require.NoError(t, a.Close())
	require.NoError(t, b.Close())
}
