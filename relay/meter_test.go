package relay

import (
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fakeStream sends endlessly, as fast as it is read.
type fakeStream struct {
	network.Stream
	from peer.ID
}

func (s fakeStream) Read(b []byte) (int, error) { return len(b), nil }
func (s fakeStream) Conn() network.Conn         { return fakeConn{from: s.from} }
func (s fakeStream) Close() error               { return nil }
func (s fakeStream) Reset() error               { return nil }

type fakeConn struct {
	network.Conn
	from peer.ID
}

func (c fakeConn) RemotePeer() peer.ID { return c.from }

const testRate = 1 << 20 // bytes per second

// readAll reads n bytes in steps of the circuit's buffer.
func readAll(s io.Reader, n int) {
	buf := make([]byte, circuitBuffer)
	for n > 0 {
		got, _ := s.Read(buf[:min(n, len(buf))])
		n -= got
	}
}

// within checks that d is want, or shorter by at most the time that a burst saves.
func within(t *testing.T, want, d time.Duration) {
	t.Helper()
	burst := time.Duration(float64(minBurst) / testRate * float64(time.Second))
	assert.LessOrEqual(t, d, want)
	assert.GreaterOrEqual(t, d, want-burst-time.Millisecond)
}

func TestAPeerIsHeldToItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeter(testRate, -1)
		defer m.close()
		s := m.stream(fakeStream{from: "a"})
		defer s.Close()
		start := time.Now()
		readAll(s, 10*testRate)
		within(t, 10*time.Second, time.Since(start))

		time.Sleep(time.Hour) // idle time saves no more than a burst
		start = time.Now()
		readAll(s, 2*testRate)
		within(t, 2*time.Second, time.Since(start))
	})
}

func TestThePeersStreamsShareItsRateAndPeersDoNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeter(testRate, -1)
		defer m.close()
		took := make(chan time.Duration, 4)
		start := time.Now()
		for _, from := range []peer.ID{"a", "a", "a", "b"} {
			go func() {
				s := m.stream(fakeStream{from: from})
				defer s.Close()
				readAll(s, testRate)
				took <- time.Since(start)
			}()
		}
		within(t, 1*time.Second, <-took) // the stream of b
		<-took
		<-took
		within(t, 3*time.Second, <-took) // the three streams of a
	})
}

func TestAReadOfAnySizePasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeter(1, -1) // so slow that only a burst passes
		s := m.stream(fakeStream{from: "a"})
		defer s.Close()
		n, err := s.Read(make([]byte, 10*minBurst))
		require.NoError(t, err)
		assert.Equal(t, minBurst, n)
		m.close()
		n, err = s.Read(make([]byte, circuitBuffer))
		require.NoError(t, err)
		assert.Equal(t, circuitBuffer, n, "a closed meter delays nobody")
	})
}

func TestAWaitEndsWithItsStream(t *testing.T) {
	for name, end := range map[string]func(*meter, network.Stream){
		"closed":       func(_ *meter, s network.Stream) { s.Close() },
		"reset":        func(_ *meter, s network.Stream) { s.Reset() },
		"meter closed": func(m *meter, _ network.Stream) { m.close() },
		"twice over":   func(m *meter, s network.Stream) { s.Reset(); s.Close(); m.close(); s.Reset() },
		"with a code":  func(_ *meter, s network.Stream) { s.ResetWithError(0) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMeter(1, -1)
				defer m.close()
				s := m.stream(resettable{fakeStream{from: "a"}})
				readAll(s, minBurst)
				done := make(chan struct{})
				go func() {
					defer close(done)
					readAll(s, circuitBuffer)
				}()
				synctest.Wait()
				select {
				case <-done:
					t.Fatal("it did not wait")
				default:
				}
				end(m, s)
				<-done // otherwise synctest reports a deadlock
			})
		})
	}
}

type resettable struct{ fakeStream }

func (resettable) ResetWithError(network.StreamErrorCode) error { return nil }

func TestBucketsAreForgottenOnceTheyAreFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeter(testRate, -1)
		defer m.close()
		for i := range 1000 {
			s := m.stream(fakeStream{from: peer.ID(fmt.Sprint(i))})
			readAll(s, 1000)
			s.Close()
		}
		open := m.stream(fakeStream{from: "open"})
		defer open.Close()
		time.Sleep(2 * forgetEvery)
		m.stream(fakeStream{from: "next"}).Close()
		assert.Len(t, m.buckets, 2)

		// A new stream does not refill the bucket.
		start := time.Now()
		for range 80 {
			s := m.stream(fakeStream{from: "again"})
			readAll(s, testRate/20)
			s.Close()
		}
		within(t, 4*time.Second, time.Since(start))
	})
}
