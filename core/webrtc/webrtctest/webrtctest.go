// Package webrtctest tests the streams of a platform's connections of package core/webrtc.
package webrtctest

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// waitLimit bounds every wait for an expected event.
const waitLimit = time.Minute

// streams opens a stream from one end to the other.
func streams(t *testing.T, from, to network.MuxedConn) (near, far network.MuxedStream) {
	t.Helper()
	near, err := from.OpenStream(t.Context())
	require.NoError(t, err)
	far, err = to.AcceptStream()
	require.NoError(t, err)
	for _, s := range []network.MuxedStream{near, far} {
		require.NoError(t, s.SetDeadline(time.Now().Add(waitLimit)))
	}
	return near, far
}

// Streams tests the streams between the two ends a and b of a connection, and closes it.
func Streams(t *testing.T, a, b network.MuxedConn) {
	read := func(s network.MuxedStream) error {
		_, err := s.Read(make([]byte, 1))
		return err
	}
	t.Run("CloseWriteIsEOFAndTheReplyArrives", func(t *testing.T) {
		near, far := streams(t, a, b)
		_, err := near.Write([]byte("question"))
		require.NoError(t, err)
		require.NoError(t, near.CloseWrite())
		_, err = near.Write([]byte("more"))
		require.ErrorContains(t, err, "closed for writing")
		got, err := io.ReadAll(far)
		require.NoError(t, err)
		require.Equal(t, "question", string(got))
		_, err = far.Write([]byte("answer"))
		require.NoError(t, err)
		require.NoError(t, far.Close())
		got, err = io.ReadAll(near)
		require.NoError(t, err)
		require.Equal(t, "answer", string(got))
		require.NoError(t, near.Close())
	})
	t.Run("ResetIsResetWithItsCode", func(t *testing.T) {
		for range 50 { // the far side may see that it ends before it sees that it begins
			near, far := streams(t, b, a)
			require.NoError(t, near.ResetWithError(42))
			err := read(far)
			require.ErrorIs(t, err, network.ErrReset)
			var reset *network.StreamError
			require.ErrorAs(t, err, &reset)
			require.True(t, reset.Remote)
			require.EqualValues(t, 42, reset.ErrorCode)
			_, err = far.Write([]byte("x"))
			require.ErrorIs(t, err, network.ErrReset)
			require.ErrorIs(t, read(near), network.ErrReset)
		}
	})
	t.Run("CloseReadStopsTheFarWriterAndLeavesTheOtherWay", func(t *testing.T) {
		near, far := streams(t, a, b)
		require.NoError(t, near.CloseRead())
		require.Error(t, read(near))
		require.Eventually(t, func() bool {
			_, err := far.Write([]byte("x"))
			return errors.Is(err, network.ErrReset)
		}, waitLimit, time.Millisecond)
		_, err := near.Write([]byte("still"))
		require.NoError(t, err)
		require.NoError(t, near.CloseWrite())
		got, err := io.ReadAll(far)
		require.NoError(t, err)
		require.Equal(t, "still", string(got))
	})
	t.Run("ReadDeadlineEndsAReadAndTheStreamLivesOn", func(t *testing.T) {
		near, far := streams(t, a, b)
		require.NoError(t, near.SetReadDeadline(time.Now().Add(10*time.Millisecond)))
		require.ErrorIs(t, read(near), os.ErrDeadlineExceeded)
		require.NoError(t, near.SetReadDeadline(time.Time{}))
		_, err := far.Write([]byte("x"))
		require.NoError(t, err)
		require.NoError(t, read(near))
	})
	t.Run("SlowReaderHoldsItsWriterBackAndNobodyElse", func(t *testing.T) {
		near, far := streams(t, a, b)
		require.NoError(t, near.SetWriteDeadline(time.Now().Add(300*time.Millisecond)))
		sent := make([]byte, 4<<20)
		rand.Read(sent)
		n, err := near.Write(sent)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.LessOrEqual(t, n, 1<<20, "what may be unread")
		require.Greater(t, n, 0)
		other, otherFar := streams(t, a, b)
		_, err = other.Write([]byte("x"))
		require.NoError(t, err)
		require.NoError(t, read(otherFar))
		require.NoError(t, near.SetWriteDeadline(time.Time{}))
		go func() {
			_, _ = near.Write(sent[n:])
			_ = near.CloseWrite()
		}()
		got, err := io.ReadAll(far)
		require.NoError(t, err)
		require.True(t, bytes.Equal(sent, got))
	})
	t.Run("ManyStreamsOneAfterTheOtherAndAtOnce", func(t *testing.T) {
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				for range 10 {
					s, err := a.OpenStream(t.Context())
					if !assert.NoError(t, err) {
						return
					}
					_ = s.SetDeadline(time.Now().Add(waitLimit))
					_, err = s.Write([]byte("hello"))
					assert.NoError(t, err)
					assert.NoError(t, s.CloseWrite())
					got, err := io.ReadAll(s)
					assert.NoError(t, err)
					assert.Equal(t, "hello", string(got))
					_ = s.Close()
				}
			})
		}
		for range 200 {
			s, err := b.AcceptStream()
			require.NoError(t, err)
			all.Go(func() {
				_, _ = io.Copy(s, s)
				_ = s.Close()
			})
		}
		all.Wait()
	})
	t.Run("TheFarSideLeavingFailsAllAndPassesForNoEOF", func(t *testing.T) {
		near, _ := streams(t, a, b)
		require.NoError(t, b.Close())
		err := read(near)
		require.Error(t, err)
		require.NotEqual(t, io.EOF, err)
		_, err = a.AcceptStream()
		require.Error(t, err)
		require.True(t, a.IsClosed())
		_, err = a.OpenStream(t.Context())
		require.Error(t, err)
	})
}
