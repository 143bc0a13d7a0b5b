package stack

import (
	"net/netip"
	"os"
	"slices"
	"strconv"
	"syscall"
	"testing"

	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fakeSwarm is a swarm whose ports other programs take at the worst moment.
type fakeSwarm struct {
	listening []ma.Multiaddr
	refuse    int // how many times to refuse, at the third address
	rounds    int
}

func (s *fakeSwarm) AddListenAddr(a ma.Multiaddr) error {
	if len(s.listening) == 0 {
		s.rounds++
	}
	if len(s.listening) == 2 && s.refuse > 0 {
		s.refuse--
		return &os.SyscallError{Syscall: "bind", Err: syscall.EADDRINUSE}
	}
	s.listening = append(s.listening, a)
	return nil
}

func (s *fakeSwarm) ListenClose(addrs ...ma.Multiaddr) {
	s.listening = slices.DeleteFunc(s.listening, func(a ma.Multiaddr) bool {
		return slices.ContainsFunc(addrs, a.Equal)
	})
}

func (s *fakeSwarm) ListenAddresses() []ma.Multiaddr { return slices.Clone(s.listening) }

func TestAPickedPortThatSomeoneElseTookIsPickedAnew(t *testing.T) {
	s := &fakeSwarm{refuse: 3}
	require.NoError(t, listen(s, ListenOn(loopback, 0, 0)))
	assert.Equal(t, 4, s.rounds)
	assert.Len(t, s.listening, 5)
}

func TestAGivenPortThatSomeoneElseTookIsNot(t *testing.T) {
	probed, err := bind(endpoint{"tcp4", netip.AddrPortFrom(loopback, 0)})
	require.NoError(t, err)
	s := &fakeSwarm{refuse: 1}
	err = listen(s, ListenOn(loopback, int(probed), int(probed)))
	var inUse *InUseError
	require.ErrorAs(t, err, &inUse)
	assert.EqualValues(t, probed, inUse.Port)
	assert.ErrorContains(t, err, strconv.Itoa(int(probed)))
	assert.Equal(t, 1, s.rounds)
	assert.Empty(t, s.listening, "with an error, it listens nowhere")
}

func TestWebRTCComesAfterTheQUICWhosePortItShares(t *testing.T) {
	s := &fakeSwarm{}
	addrs := ListenOn(loopback, -1, 0)
	slices.Reverse(addrs)
	require.NoError(t, listen(s, addrs))
	assert.Contains(t, s.listening[2].String(), "/webrtc-direct")
}
