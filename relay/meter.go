package relay

import (
	"context"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"golang.org/x/time/rate"
)

// A peer's bucket holds burstTime of its rate, so that it can send fast after a pause,
// and at least minBurst bytes, so that a full buffer always passes.
const (
	burstTime = 100 * time.Millisecond
	minBurst  = 4 * circuitBuffer

	// forgetEvery is how often full buckets without streams are removed.
	forgetEvery = time.Minute
)

// meter limits each peer to a rate, and all peers to their share of the relay's rate. It
// counts the bytes read from all streams of a peer. The streams of a peer that sends
// faster are read later, which fills its own windows. Data sent to a peer counts against
// its sender only.
type meter struct {
	share *share

	mu      sync.Mutex
	rate    rate.Limit // bytes per second
	burst   int
	buckets map[peer.ID]*bucket
	looked  time.Time

	ctx  context.Context // ends waits
	stop context.CancelFunc
}

type bucket struct {
	*rate.Limiter
	streams int // that share it; guarded by meter.mu
}

// newMeter returns a meter that limits each peer to bytesPerSecond (no limit if negative)
// and the relay to ofRelay: see newShare.
func newMeter(bytesPerSecond, ofRelay int64) *meter {
	m := &meter{buckets: make(map[peer.ID]*bucket), share: newShare(ofRelay)}
	m.setRate(bytesPerSecond)
	m.ctx, m.stop = context.WithCancel(context.Background())
	return m
}

// set changes both rates at once, for open streams, too.
func (m *meter) set(bytesPerSecond, ofRelay int64) {
	m.setRate(bytesPerSecond)
	m.share.set(ofRelay)
}

func (m *meter) setRate(bytesPerSecond int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rate, m.burst = rate.Inf, minBurst
	if bytesPerSecond >= 0 {
		m.rate = rate.Limit(bytesPerSecond)
		m.burst = max(int(float64(bytesPerSecond)*burstTime.Seconds()), minBurst)
	}
	for _, b := range m.buckets {
		b.SetBurst(m.burst)
		b.SetLimit(m.rate)
	}
}

// close ends all waits: later reads are not limited.
func (m *meter) close() {
	m.stop()
	m.share.close()
}

// host returns h with every stream metered that is opened or accepted through it.
func (m *meter) host(h host.Host) host.Host {
	return &meteredHost{Host: h, meter: m}
}

type meteredHost struct {
	host.Host
	meter *meter
}

func (h *meteredHost) SetStreamHandler(p protocol.ID, f network.StreamHandler) {
	h.Host.SetStreamHandler(p, func(s network.Stream) { f(h.meter.stream(s)) })
}

func (h *meteredHost) SetStreamHandlerMatch(p protocol.ID, match func(protocol.ID) bool, f network.StreamHandler) {
	h.Host.SetStreamHandlerMatch(p, match, func(s network.Stream) { f(h.meter.stream(s)) })
}

func (h *meteredHost) NewStream(ctx context.Context, p peer.ID, protos ...protocol.ID) (network.Stream, error) {
	s, err := h.Host.NewStream(ctx, p, protos...)
	if err != nil {
		return nil, err
	}
	return h.meter.stream(s), nil
}

// stream meters s until it is closed or reset.
func (m *meter) stream(s network.Stream) network.Stream {
	p := s.Conn().RemotePeer()
	ms := &meteredStream{Stream: s, bucket: m.acquire(p), account: m.share.open(p)}
	ctx, cancel := context.WithCancel(m.ctx)
	ms.ctx = ctx
	ms.done = sync.OnceFunc(func() {
		cancel()
		m.release(ms.bucket)
		ms.account.leave()
	})
	return ms
}

func (m *meter) acquire(p peer.ID) *bucket {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now := time.Now(); now.Sub(m.looked) > forgetEvery {
		m.looked = now
		for id, b := range m.buckets {
			if b.streams == 0 && b.Tokens() >= float64(m.burst) {
				delete(m.buckets, id)
			}
		}
	}
	b := m.buckets[p]
	if b == nil {
		b = &bucket{Limiter: rate.NewLimiter(m.rate, m.burst)}
		m.buckets[p] = b
	}
	b.streams++
	return b
}

func (m *meter) release(b *bucket) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b.streams--
}

// meteredStream is a stream whose reads wait for their peer's rate.
type meteredStream struct {
	network.Stream
	bucket  *bucket
	account *account
	ctx     context.Context // ends with the stream
	done    func()
}

// Read reads from the stream, then waits until the peer may have sent that much. The wait
// ends early when the stream is closed or reset.
func (s *meteredStream) Read(b []byte) (int, error) {
	if len(b) > minBurst {
		b = b[:minBurst] // a bucket can give no more at once
	}
	n, err := s.Stream.Read(b)
	if n > 0 {
		// An error means that the stream or the meter is closed.
		_ = s.bucket.WaitN(s.ctx, n)
		s.account.take(s.ctx, n)
	}
	return n, err
}

func (s *meteredStream) Close() error {
	s.done()
	return s.Stream.Close()
}

func (s *meteredStream) Reset() error {
	s.done()
	return s.Stream.Reset()
}

func (s *meteredStream) ResetWithError(code network.StreamErrorCode) error {
	s.done()
	return s.Stream.ResetWithError(code)
}
