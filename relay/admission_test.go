package relay_test

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	circuit "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/reservation"
	"github.com/tombolo-net/tombolo/native"
	"github.com/tombolo-net/tombolo/relay"
)

// service is an admission service, which decides which peers may use a relay.
type service struct {
	*httptest.Server
	mu    sync.Mutex
	no    map[string]string // by peer ID: why the peer is refused
	late  map[string]bool   // by peer ID: the question gets no answer
	asked map[string]int
}

func newService(t *testing.T) *service {
	s := &service{no: make(map[string]string), late: make(map[string]bool), asked: make(map[string]int)}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q relay.Question
		if !assert.NoError(t, json.NewDecoder(r.Body).Decode(&q)) {
			return
		}
		s.mu.Lock()
		why, late := s.no[q.Peer], s.late[q.Peer]
		s.asked[q.Peer]++
		s.mu.Unlock()
		if late {
			<-r.Context().Done()
		}
		w.Header().Set("Cache-Control", "no-store")
		if why != "" {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, why)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *service) refuse(n *core.Node, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.no[n.ID().String()] = why
}

func (s *service) questions(n *core.Node) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[n.ID().String()]
}

func TestAServiceSaysWhoMayUseTheRelayThatNoRuleAndNoTokenLetsIn(t *testing.T) {
	t.Parallel()
	s := newService(t)
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	require.NoError(t, err)
	registry, dir := prometheus.NewRegistry(), t.TempDir()
	r := newRelay(t, relay.Options{DataDir: dir, Identity: key, Admission: s.URL, Registry: registry})
	at := infoOf(r)
	token, err := relay.Token(key, "alice", time.Now().Add(time.Hour))
	require.NoError(t, err)
	alice, bob := newNode(t, native.Options{Token: token}), newNode(t, native.Options{})
	write(t, dir, "allow "+bob.ID().String())
	require.NoError(t, r.Reload())
	for _, n := range []*core.Node{alice, bob} {
		s.refuse(n, "nobody asks about them")
		require.NoError(t, n.AddRelays([]peer.AddrInfo{at}))
		awaitReserved(t, n)
		assert.Zero(t, s.questions(n))
	}

	// While the service takes long for one peer, others are admitted.
	slow, mallory := newNode(t, native.Options{}), newNode(t, native.Options{Token: "a password"})
	s.late[slow.ID().String()] = true
	news := slow.Events()
	defer news.Close()
	require.NoError(t, slow.AddRelays([]peer.AddrInfo{at}))
	require.Eventually(t, func() bool { return s.questions(slow) == 1 }, 30*time.Second, 5*time.Millisecond)
	carol := newReserved(t, r)
	assert.Equal(t, 1, s.questions(carol))
	_, err = carol.Echo(testContext(t), r.Node().ID(), []byte("hello"))
	require.NoError(t, err)

	s.refuse(mallory, "you owe us for May")
	refused, ok := errors.AsType[*reservation.RefusedError](failure(t, mallory, at))
	require.True(t, ok)
	assert.Equal(t, "admission", refused.Limit)
	assert.Equal(t, "you owe us for May (--admission)", refused.Reason)
	assert.GreaterOrEqual(t, refusedBy(t, registry, "admission"), 1.0)
	_, err = mallory.Echo(testContext(t), r.Node().ID(), []byte("hello"))
	require.Error(t, err, "nor does it get anything else")

	for {
		ev, err := news.Next(testContext(t))
		require.NoError(t, err)
		if ev.Type == core.ReservationFailed {
			require.ErrorContains(t, ev.Err, "did not answer within 5s")
			break
		}
	}
	assert.GreaterOrEqual(t, refusedBy(t, registry, "admission-failed"), 1.0)
}

func TestAPeerThatWouldGetNoPlaceIsNotAskedAbout(t *testing.T) {
	s := newService(t)
	r := newRelay(t, relay.Options{Admission: s.URL, Limits: relay.Limits{Peers: 1}})
	newReserved(t, r)
	late := newNode(t, native.Options{})
	require.ErrorContains(t, failure(t, late, infoOf(r)), "all 1 reservations are taken")
	assert.Zero(t, s.questions(late))
}

func TestAPeerThatTheServiceNoLongerAdmitsGoesWhenItRenewsItsReservation(t *testing.T) {
	s := newService(t)
	r := newRelay(t, relay.Options{DataDir: t.TempDir(), Admission: s.URL})
	n := newReserved(t, r)
	news := n.Events()
	defer news.Close()
	renew := func() error {
		_, err := circuit.Reserve(testContext(t), n.Host(), infoOf(r))
		return err
	}
	require.NoError(t, renew())
	s.refuse(n, "your trial is over")
	require.Eventually(t, func() bool { return renew() != nil }, 30*time.Second, 50*time.Millisecond, "the answer is kept for a second")
	require.NoError(t, r.Reload()) // without this, it takes up to five seconds
	for {
		ev, err := news.Next(testContext(t))
		require.NoError(t, err)
		if ev.Type == core.ReservationLost {
			require.ErrorContains(t, ev.Err, "your trial is over")
			break
		}
	}
}

func TestAReloadChangesWhoIsAsked(t *testing.T) {
	s, other := newService(t), newService(t)
	r, reload := reloadable(t, relay.Options{DataDir: t.TempDir()})
	n := newReserved(t, r)
	require.ErrorContains(t, reload(func(o *relay.Options) { o.Admission = "ftp://relay.example" }), "http or https")
	assert.Len(t, n.Reservations(), 1)

	news := n.Events()
	defer news.Close()
	await := func(want core.EventType) error {
		for {
			ev, err := news.Next(testContext(t))
			require.NoError(t, err)
			if ev.Type == want {
				return ev.Err
			}
		}
	}
	require.NoError(t, reload(func(o *relay.Options) { o.Admission = s.URL }))
	require.ErrorContains(t, await(core.ReservationLost), "has allowed")
	_ = await(core.ReservationMade)
	assert.Equal(t, 1, s.questions(n))
	require.NoError(t, reload(func(o *relay.Options) { o.Admission = other.URL }))
	assert.Len(t, n.Reservations(), 1, "it was admitted")
	assert.Zero(t, other.questions(n))
	other.refuse(n, "not here")
	require.NoError(t, n.Disconnect(r.Node().ID()))
	require.ErrorContains(t, await(core.ReservationFailed), "not here")
	require.NoError(t, reload(func(o *relay.Options) { o.Admission = "" }))
	n.Wake()
	awaitReserved(t, n)
}
