package mdns

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/native/internal/namespace"
)

func TestALinkWithoutIPv6Suffices(t *testing.T) {
	if !namespace.In(t, `echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
		ip link set lo up multicast on; ip addr add 10.1.1.1/24 dev lo; ip route add 224.0.0.0/4 dev lo`) {
		return
	}
	var log logged
	a, b := newHost(t, everywhere), newHost(t, everywhere)
	find(t, a, Options{Network: "x", Logger: log.logger()})
	find(t, b, Options{Network: "x", Logger: log.logger()})
	require.Eventually(t, connected(a, b), limit, 10*time.Millisecond)
	assert.Empty(t, log.String())
}

func TestNoMulticastIsAWarningUntilThereIsSome(t *testing.T) {
	if !namespace.In(t, `ip link set lo up`) {
		return
	}
	var log logged
	a, b := newHost(t, everywhere), newHost(t, everywhere)
	find(t, a, Options{Network: "x", Logger: log.logger()})
	f := find(t, b, Options{Network: "x", Logger: log.logger()})
	require.Eventually(t, func() bool { return strings.Count(log.String(), "level=WARN") == 2 }, limit, 10*time.Millisecond)
	assert.Contains(t, log.String(), "peers on the local link are not looked for")

	// A cable is plugged in. The kernel may know no other interface than lo.
	namespace.Do(t, `ip link set lo multicast on; ip addr add 10.1.1.1/24 dev lo; ip route add 224.0.0.0/4 dev lo`)
	require.Eventually(t, connected(a, b), limit, 10*time.Millisecond)
	assert.Equal(t, 2, strings.Count(log.String(), "level=WARN"), "it is said once")
	require.NoError(t, f.Close())
}
