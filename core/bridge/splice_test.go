package bridge_test

import (
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/bridge"
)

func TestTheClientGoesOnAfterTheTargetHasEndedItsSide(t *testing.T) {
	here, there := pair(t, bridge.Timeouts{})
	taken := make(chan [sha256.Size]byte, 1)
	listen(t, there, "/x/half", service(t, func(c *net.TCPConn) {
		_, _ = c.Write([]byte("no more from here"))
		_ = c.CloseWrite()
		b, err := io.ReadAll(c)
		if err == nil {
			taken <- sha256.Sum256(b)
		}
	}))
	_, dial := forward(t, here, "/x/half", there.ID())
	c := dial()
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	assert.Equal(t, "no more from here", string(got))
	sent := randomBytes(1 << 20)
	_, err = c.Write(sent)
	require.NoError(t, err)
	require.NoError(t, c.CloseWrite())
	assert.Equal(t, sha256.Sum256(sent), <-taken)
	assert.Empty(t, endedWith(t, here).Reason)
	assert.Empty(t, endedWith(t, there).Reason)
}

func TestATargetThatSpeaksFirstIsHeard(t *testing.T) {
	here, _, from, dialled := pipes(t, bridge.Timeouts{})
	client := from.dial()
	target := <-dialled // although the client has sent nothing yet
	go target.Write([]byte("220 ready\n"))
	got := make([]byte, 10)
	_, err := io.ReadFull(client, got)
	require.NoError(t, err)
	assert.Equal(t, "220 ready\n", string(got))
	require.NoError(t, client.Close())
	require.NoError(t, target.Close())
	assert.Empty(t, endedWith(t, here).Reason)
}

func TestAnEmptyStreamEndsWell(t *testing.T) {
	here, there, from, dialled := pipes(t, bridge.Timeouts{})
	client := from.dial()
	require.NoError(t, client.CloseWrite())
	target := <-dialled
	_, err := target.Read(make([]byte, 1))
	assert.Equal(t, io.EOF, err)
	require.NoError(t, target.CloseWrite())
	_, err = client.Read(make([]byte, 1))
	assert.Equal(t, io.EOF, err)
	assert.Empty(t, endedWith(t, here).Reason)
	assert.Empty(t, endedWith(t, there).Reason)
}

// A stream that fails at one end never ends cleanly at the other.
func TestAnErrorBecomesAReset(t *testing.T) {
	t.Run("of the client", func(t *testing.T) {
		here, there, from, dialled := pipes(t, bridge.Timeouts{})
		client, target := joined(t, from, dialled)
		require.NoError(t, client.Reset())
		_, err := target.Read(make([]byte, 1))
		assert.ErrorIs(t, err, errPipeReset)
		assert.Equal(t, bridge.ClientFailed, endedWith(t, here).Reason)
		assert.Equal(t, bridge.PeerReset, endedWith(t, there).Reason)
	})
	t.Run("of the target", func(t *testing.T) {
		here, there, from, dialled := pipes(t, bridge.Timeouts{})
		client, target := joined(t, from, dialled)
		require.NoError(t, target.Reset())
		_, err := client.Read(make([]byte, 1))
		assert.ErrorIs(t, err, errPipeReset)
		assert.Equal(t, bridge.TargetFailed, endedWith(t, here).Reason)
		assert.Equal(t, bridge.TargetFailed, endedWith(t, there).Reason)
	})
	t.Run("of a target that had half-closed", func(t *testing.T) {
		here, _, from, dialled := pipes(t, bridge.Timeouts{})
		client, target := joined(t, from, dialled)
		require.NoError(t, client.CloseWrite())
		_, err := target.Read(make([]byte, 1))
		require.Equal(t, io.EOF, err)
		go target.Write([]byte("half of a rep"))
		_, err = io.ReadFull(client, make([]byte, 13))
		require.NoError(t, err)
		require.NoError(t, target.Reset())
		_, err = client.Read(make([]byte, 1))
		assert.ErrorIs(t, err, errPipeReset, "half a reply is no reply")
		assert.Equal(t, bridge.TargetFailed, endedWith(t, here).Reason)
	})
	t.Run("of the way between", func(t *testing.T) {
		here, there, from, dialled := pipes(t, bridge.Timeouts{})
		client, target := joined(t, from, dialled)
		require.NoError(t, there.Disconnect(here.ID()))
		for _, end := range []pipeEnd{client, target} {
			_, err := end.Read(make([]byte, 1))
			assert.ErrorIs(t, err, errPipeReset)
		}
		assert.Equal(t, bridge.PeerLost, endedWith(t, here).Reason)
		assert.Equal(t, bridge.PeerLost, endedWith(t, there).Reason)
	})
	t.Run("of the other node", func(t *testing.T) {
		here, there, from, dialled := pipes(t, bridge.Timeouts{})
		client, target := joined(t, from, dialled)
		require.NoError(t, there.Close())
		for _, end := range []pipeEnd{client, target} {
			_, err := end.Read(make([]byte, 1))
			assert.ErrorIs(t, err, errPipeReset)
		}
		assert.Equal(t, bridge.Shutdown, endedWith(t, there).Reason)
		assert.Contains(t, []bridge.Reason{bridge.PeerLost, bridge.PeerReset}, endedWith(t, here).Reason)
	})
}

// deaf is a local end that takes no more data but still sends some.
type deaf struct{ pipeEnd }

func (deaf) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestTheReplyOfATargetThatTakesNoMoreComesWhole(t *testing.T) {
	here, there := pair(t, bridge.Timeouts{})
	reply := randomBytes(1 << 20)
	listen(t, there, "/x/deaf", bridge.DialTarget("deaf", dialFunc(func() bridge.Local {
		near, far := pipe()
		go func() {
			_, _ = far.Write(reply)
			_ = far.Close()
		}()
		return deaf{near}
	})))
	c, err := here.Dial(testContext(t), there.ID(), "/x/deaf")
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Write([]byte("a question that is too long"))
	require.NoError(t, err)
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	assert.Equal(t, sha256.Sum256(reply), sha256.Sum256(got))
	assert.Equal(t, bridge.TargetFailed, endedWith(t, there).Reason)

	// A caller that keeps sending gets the reason long before the drain time is over.
	_, err = io.Copy(c, zeros{})
	assert.ErrorIs(t, err, bridge.TargetFailed)
}

// zeros reads as an endless stream of zeros.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestASideThatEndedWaitsForTheOtherOnlySoLong(t *testing.T) {
	here, there, from, dialled := pipes(t, bridge.Timeouts{Drain: 50 * time.Millisecond})
	client, target := joined(t, from, dialled)
	require.NoError(t, client.CloseWrite())
	_, err := target.Read(make([]byte, 1))
	require.Equal(t, io.EOF, err)
	_, err = client.Read(make([]byte, 1)) // the target is silent
	assert.ErrorIs(t, err, errPipeReset)
	assertTimedOut(t, endedWith(t, here), endedWith(t, there))
}

// assertTimedOut checks that at least one node timed out. Both watch the stream, but the
// second may get the reason from the first.
func assertTimedOut(t testing.TB, ours, theirs bridge.StreamInfo) {
	t.Helper()
	reasons := []bridge.Reason{ours.Reason, theirs.Reason}
	assert.Contains(t, reasons, bridge.TimedOut)
	assert.Subset(t, []bridge.Reason{bridge.TimedOut, bridge.PeerReset}, reasons)
}

func TestAnIdleStreamEndsWhereThatIsAskedFor(t *testing.T) {
	here, there, from, dialled := pipes(t, bridge.Timeouts{Idle: 50 * time.Millisecond})
	client, target := joined(t, from, dialled)
	for _, end := range []pipeEnd{client, target} {
		_, err := end.Read(make([]byte, 1))
		assert.ErrorIs(t, err, errPipeReset)
	}
	ours, theirs := endedWith(t, here), endedWith(t, there)
	assertTimedOut(t, ours, theirs)
	assert.GreaterOrEqual(t, max(ours.Ended.Sub(ours.Opened), theirs.Ended.Sub(theirs.Opened)), 50*time.Millisecond)
}

func TestWhoDoesNotReadHoldsBackTheSender(t *testing.T) {
	t.Parallel() // it mostly waits
	here, _, from, dialled := pipes(t, bridge.Timeouts{})
	client, target := joined(t, from, dialled)
	const most = 24 << 20 // yamux's largest window, and some
	sent := make(chan int64, 1)
	go func() {
		n, _ := io.Copy(client.PipeWriter, io.LimitReader(zeros{}, 2*most))
		sent <- n
	}()
	held := func() int64 { return here.Bridge().Streams()[0].Sent }
	// Wait until no byte has been sent for a while, however slow the machine is.
	last, since := held(), time.Now()
	eventually(t, func() bool {
		if now := held(); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > 500*time.Millisecond
	})
	assert.Less(t, last, int64(most))
	select {
	case n := <-sent:
		t.Fatalf("all %d bytes were taken, though nobody reads", n)
	default:
	}
	go io.Copy(io.Discard, target)
	assert.EqualValues(t, 2*most, <-sent, "it goes on when the reader does")
	require.NoError(t, client.Close())
	require.NoError(t, target.Close())
}

func TestAStreamMayBeSilentForAsLongAsItLikes(t *testing.T) {
	// There is no idle limit by default. Short drain and target timeouts do not limit
	// silence.
	_, _, from, dialled := pipes(t, bridge.Timeouts{Drain: time.Millisecond, Target: 100 * time.Millisecond})
	client, target := joined(t, from, dialled)
	time.Sleep(300 * time.Millisecond)
	go target.Write([]byte("still here"))
	_, err := io.ReadFull(client, make([]byte, 10))
	assert.NoError(t, err)
}
