//go:build js

package wasm_test

import (
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/datagram"
	"github.com/tombolo-net/tombolo/wasm"
	"github.com/tombolo-net/tombolo/wasm/internal/farside"
)

func TestDatagramsGoBothWaysOverWebTransportAlone(t *testing.T) {
	native := farside.Start(t, "listen=ws,webtransport")
	for _, name := range available() {
		t.Run(name, func(t *testing.T) {
			n, err := wasm.New(bounded(t), wasm.Options{Transports: []string{name}})
			require.NoError(t, err)
			defer n.Close()
			require.NoError(t, n.ConnectPeer(bounded(t), peer.AddrInfo{ID: native.ID, Addrs: native.Addrs}))
			s, err := n.Open(bounded(t), native.ID, "/test/datagrams/1") // the peer echoes on lane 7
			require.NoError(t, err)
			defer s.Reset()
			_, err = s.Write([]byte{1}) // otherwise the peer does not know of the stream
			require.NoError(t, err)
			came := make(chan string, 8)
			lane, err := datagram.Open(s.Conn(), 7, datagram.Opening, func(data []byte) { came <- string(data) })
			if name != wasm.WebTransport {
				require.ErrorIs(t, err, datagram.ErrNone)
				return
			}
			require.NoError(t, err)
			defer lane.Close()
			sent := string(make([]byte, datagram.MaxSize))
			require.Error(t, lane.Send([]byte(sent+"x")))
			for ctx := bounded(t); ; { // any may get lost, and the first arrive before the peer's lane is open
				require.NoError(t, ctx.Err())
				require.NoError(t, lane.Send([]byte(sent)))
				select {
				case got := <-came:
					assert.Equal(t, sent, got)
					return
				case <-time.After(100 * time.Millisecond):
				}
			}
		})
	}
}
