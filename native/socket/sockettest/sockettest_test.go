//go:build linux

package sockettest_test

import (
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/native/socket/sockettest"
)

func TestAHeldPortRefusesUntilSomebodyListensThereAndAfterwards(t *testing.T) {
	at := sockettest.Nobody(t)
	for range 3 {
		_, err := net.Dial("tcp4", at)
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		l, err := net.Listen("tcp4", at)
		require.NoError(t, err)
		c, err := net.Dial("tcp4", at)
		require.NoError(t, err)
		_ = c.Close()
		require.NoError(t, l.Close())
	}
}

func TestAHeldPortIsGivenToNobodyElse(t *testing.T) {
	held := sockettest.Nobody(t)
	for range 40_000 { // more than there are ports
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		require.NoError(t, err)
		require.NotEqual(t, held, l.Addr().String())
		require.NoError(t, l.Close())
	}
}
