package mesh

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-msgio"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/internal/hosttest"
)

// If two nodes have two connections, one of them is closed, and its streams end
// with it.
func TestWhatIsSaidReachesAPeerToWhichAStreamEnds(t *testing.T) {
	t.Parallel()
	relay, listener, speaker := newNode(t, Options{RelayTopics: 10}), newNode(t, Options{}), newNode(t, Options{})
	subscribe(t, "chat", listener)
	connect(t, listener, relay)
	connect(t, speaker, relay)
	waitPeers(t, relay, "chat", 1)
	waitPeers(t, speaker, "chat", 1)
	const times = 6 // GossipSub by itself reopens a stream only four times
	var said []string
	for range times {
		require.Eventually(t, func() bool { return resetGossip(relay.host, listener.host.ID()) }, patience, time.Millisecond)
		said = append(said, "are you there?")
		require.Eventually(t, func() bool { return relay.Meshed(listener.host.ID()) }, patience, 5*time.Millisecond)
		speaker.say(t, "chat", "are you there?")
		listener.waitFor(t, said...)
	}
	assert.Equal(t, said, listener.texts())
}

// resetGossip resets the GossipSub stream from a host to a peer, and reports whether
// it did.
func resetGossip(h host.Host, p peer.ID) (done bool) {
	for _, c := range h.Network().ConnsToPeer(p) {
		for _, s := range c.GetStreams() {
			if s.Stat().Direction == network.DirOutbound && strings.HasPrefix(string(s.Protocol()), "/meshsub/") {
				done = s.Reset() == nil
			}
		}
	}
	return done
}

func TestAPeerToWhichNoStreamCanBeOpenedIsTriedAgain(t *testing.T) {
	t.Parallel()
	busy := &busyHost{Host: hosttest.New(t, hosttest.Options{})}
	busy.refusals.Store(2)
	a, b := onHost(t, busy, Options{}), newNode(t, Options{})
	subscribe(t, "chat", a, b)
	connect(t, b, a)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(t, b.Broadcast(ctx, "chat", []byte("do you hear me?"), WaitForPeer()))
	a.waitFor(t, "do you hear me?")
	assert.Negative(t, busy.refusals.Load())
}

// busyHost is a host that at first cannot open a stream for GossipSub.
type busyHost struct {
	host.Host
	refusals atomic.Int32
}

func (h *busyHost) NewStream(ctx context.Context, p peer.ID, protos ...protocol.ID) (network.Stream, error) {
	if h.refusals.Add(-1) >= 0 {
		return nil, errors.New("too much to do")
	}
	return h.Host.NewStream(ctx, p, protos...)
}

func TestTheStreamsOfAPeerAreReadOneAfterTheOther(t *testing.T) {
	a, b := hosttest.New(t, hosttest.Options{}), hosttest.New(t, hosttest.Options{})
	require.NoError(t, a.Connect(t.Context(), hosttest.Info(b)))
	begun := make(chan struct{}, 3)
	tracked := newTrackedHost(b, func(peer.ID) { begun <- struct{}{} })
	var reading atomic.Int32
	tracked.SetStreamHandler("/read", func(s network.Stream) {
		assert.EqualValues(t, 1, reading.Add(1))
		_, _ = io.Copy(io.Discard, s)
		reading.Add(-1)
	})
	for range 3 {
		s, err := a.NewStream(t.Context(), b.ID(), "/read")
		require.NoError(t, err)
		_, err = s.Write([]byte("x"))
		require.NoError(t, err)
		<-begun
	}
	tracked.close()
	assert.Zero(t, reading.Load())
}

// Repeated data is read between two RPCs of the peer, wherever in one of them the
// reader is. If the peer sends nothing, it is read at once.
func TestWhatIsRepeatedIsReadBetweenTwoRPCs(t *testing.T) {
	t.Parallel()
	first, second, again := frame(strings.Repeat("x", 300)), frame("second"), frame("again") // the length of the first takes two bytes
	rpcs := slices.Concat(first, second)
	for after := range len(rpcs) + 1 {
		theirs, in := inboundStream(t)
		_, err := theirs.Write(rpcs[:after])
		require.NoError(t, err)
		got := make([]byte, after)
		_, err = io.ReadFull(in, got)
		require.NoError(t, err)
		if after == 0 || after == len(first) || after == len(rpcs) {
			waiting := make([]byte, len(again))
			done := make(chan error)
			go func() {
				_, err := io.ReadFull(in, waiting)
				done <- err
			}()
			in.repeat(again)
			require.NoError(t, <-done)
			got = append(got, waiting...)
		} else {
			in.repeat(again)
		}
		_, err = theirs.Write(rpcs[after:])
		require.NoError(t, err)
		require.NoError(t, theirs.CloseWrite())
		rest, err := io.ReadAll(in)
		require.NoError(t, err)
		want := slices.Concat(again, first, second)
		if after > len(first) {
			want = slices.Concat(first, second, again)
		} else if after > 0 {
			want = slices.Concat(first, again, second)
		}
		require.Equal(t, string(want), string(append(got, rest...)), "after %d bytes", after)
	}
}

func TestOfManyTopicsSeveralRPCsAreMade(t *testing.T) {
	var topics, on, meshed []string
	for i := range 3*typesPerRPC - 1 {
		topics = append(topics, "a/"+strings.Repeat("t", i+1))
	}
	r := msgio.NewVarintReaderSize(bytes.NewReader(frames(topics, topics[:typesPerRPC])), rpcOverhead)
	for {
		b, err := r.ReadMsg()
		if err != nil {
			require.ErrorIs(t, err, io.EOF)
			break
		}
		var rpc pubsub.RPC
		require.NoError(t, rpc.Unmarshal(b))
		for _, s := range rpc.Subscriptions {
			assert.True(t, s.GetSubscribe())
			on = append(on, s.GetTopicid())
		}
		for _, g := range rpc.GetControl().GetGraft() {
			meshed = append(meshed, g.GetTopicID())
		}
	}
	assert.Equal(t, topics, on)
	assert.Equal(t, topics[:typesPerRPC], meshed)
}

func frame(text string) []byte {
	return append(binary.AppendUvarint(nil, uint64(len(text))), text...)
}

// inboundStream opens a stream between two hosts.
func inboundStream(t *testing.T) (theirs network.Stream, in *inbound) {
	t.Helper()
	a, b := hosttest.New(t, hosttest.Options{}), hosttest.New(t, hosttest.Options{})
	require.NoError(t, a.Connect(t.Context(), hosttest.Info(b)))
	opened := make(chan network.Stream, 1)
	b.SetStreamHandler("/read", func(s network.Stream) { opened <- s })
	theirs, err := a.NewStream(t.Context(), b.ID(), "/read")
	require.NoError(t, err)
	_, err = theirs.Write(nil)
	require.NoError(t, err)
	return theirs, &inbound{Stream: <-opened, done: make(chan struct{})}
}
