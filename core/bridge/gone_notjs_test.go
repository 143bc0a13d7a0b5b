//go:build !js

package bridge_test

import (
	"context"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/core/internal/hosttest"
)

func TestAWriterIsToldWhenTheClientIsGone(t *testing.T) {
	for name, meet := range map[string]func(t *testing.T) (here, there *core.Node){
		"direct": func(t *testing.T) (here, there *core.Node) { return pair(t, bridge.Timeouts{}) },
		"relayed": func(t *testing.T) (here, there *core.Node) {
			r := hosttest.New(t, hosttest.Options{})
			circuits(t, r)
			return relayed(t, r), relayed(t, r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			here, there := meet(t)
			over := make(chan error, 1)
			listen(t, there, "/x/source", bridge.Func(func(_ context.Context, c net.Conn) {
				_, err := c.Read(make([]byte, 10))
				for part := make([]byte, 64<<10); err == nil; {
					_, err = c.Write(part)
				}
				over <- err
			}))
			_, dial := forward(t, here, "/x/source", there.ID())
			for range 20 {
				c := dial()
				_, err := c.Write([]byte("go"))
				require.NoError(t, err)
				_, err = io.ReadFull(c, make([]byte, 64<<10))
				require.NoError(t, err)
				require.NoError(t, c.CloseWrite(), "so that the peer notices when it writes")
				require.NoError(t, c.Close())
				select {
				case <-over:
				case <-testContext(t).Done():
					t.Fatalf("it still writes: %+v", there.Bridge().Streams())
				}
			}
		})
	}
}
