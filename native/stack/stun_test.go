package stack

import (
	"net"
	"os"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	"github.com/pion/stun/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheUDPPortAnswersSTUNWithinLimits(t *testing.T) {
	h, err := New(Options{Key: newKey(t), STUN: true, Listen: []ma.Multiaddr{
		ma.StringCast("/ip4/127.0.0.1/udp/0/quic-v1"), ma.StringCast("/ip4/127.0.0.1/udp/0/webrtc-direct"),
	}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = h.Close() })
	var at endpoint
	for _, a := range h.Network().ListenAddresses() {
		if _, err := a.ValueForProtocol(ma.P_WEBRTC_DIRECT); err == nil {
			at, _ = endpointOf(a)
		}
	}
	c, err := net.Dial("udp4", at.at.String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	read := func(wait time.Duration) (*stun.Message, error) {
		b := make([]byte, 1500)
		require.NoError(t, c.SetReadDeadline(time.Now().Add(wait)))
		n, err := c.Read(b)
		m := &stun.Message{Raw: b[:n]}
		if err == nil {
			err = m.Decode()
		}
		return m, err
	}

	// A request with a user name belongs to ICE and is not for this server. A datagram that
	// comes before the server reads is lost, so both are sent until an answer comes.
	named := stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.NewUsername("x:y"))
	question := stun.MustBuild(stun.TransactionID, stun.BindingRequest)
	start := time.Now()
	var answer *stun.Message
	for err = os.ErrDeadlineExceeded; err != nil && time.Since(start) < time.Minute; {
		for _, m := range []*stun.Message{named, question} {
			_, err = c.Write(m.Raw)
			require.NoError(t, err)
		}
		answer, err = read(200 * time.Millisecond)
	}
	require.NoError(t, err)
	assert.Equal(t, question.TransactionID, answer.TransactionID)
	var told stun.XORMappedAddress
	require.NoError(t, told.GetFrom(answer))
	assert.Equal(t, c.LocalAddr().String(), told.String())
	assert.LessOrEqual(t, len(answer.Raw), 3*len(question.Raw), "no more than QUIC may")

	const asked = 4 * stunBurst
	for range asked {
		_, err = c.Write(question.Raw)
		require.NoError(t, err)
	}
	answers := 0
	for {
		if _, err := read(200 * time.Millisecond); err != nil {
			break
		}
		answers++
	}
	assert.LessOrEqual(t, answers, stunBurst+int(time.Since(start).Seconds()*stunRate))
}

// A page may keep such an address: see docs/browsers.md.
func TestTheHashOfAWebRTCDirectAddressIsThatOfTheIdentity(t *testing.T) {
	key := newKey(t)
	var addrs [2]string
	for i := range addrs {
		made, err := newWebRTC(key, nil, nil, nil, nil)
		require.NoError(t, err)
		a, ok := made.AddCertHashes(ma.StringCast("/ip4/127.0.0.1/udp/1/webrtc-direct"))
		require.True(t, ok)
		addrs[i] = a.String()
	}
	assert.Equal(t, addrs[0], addrs[1])
	assert.Contains(t, addrs[0], "/certhash/")
}
