package relay

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// newTestAdmission returns an admission that asks a service with the given handler.
func newTestAdmission(t *testing.T, answer http.HandlerFunc) *admission {
	t.Helper()
	service := httptest.NewServer(answer)
	return testAdmissionAt(t, service.URL, service.Close)
}

func testAdmissionAt(t *testing.T, url string, also func()) *admission {
	web := admissionClient()
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	t.Cleanup(func() {
		stop()
		running.Wait()
		web.CloseIdleConnections()
		also()
	})
	return newAdmission(url, "relay", web, newAdmissionCounter(prometheus.NewRegistry()), func(f func(context.Context)) bool {
		running.Go(func() { f(ctx) })
		return true
	})
}

func addressOf(n int) ma.Multiaddr {
	return ma.StringCast(fmt.Sprintf("/ip4/192.0.2.%d/tcp/1", n))
}

// counted returns the number of questions with the given answer, or -1 if none is counted.
func counted(t *testing.T, s *admission, answer string) float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(s.counts)
	families, err := registry.Gather()
	require.NoError(t, err)
	for _, m := range families[0].GetMetric() {
		if m.GetLabel()[0].GetValue() == answer {
			return m.GetCounter().GetValue()
		}
	}
	return -1
}

func TestAServiceThatDoesNotAnswerAsItShouldAdmitsNobody(t *testing.T) {
	var elsewhere atomic.Bool
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		says   string
		count  string
	}{
		"late": {func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // otherwise the handler would not notice the end of the request
			<-r.Context().Done()
		}, "did not answer within 200ms", admissionTimeout},
		"late in the middle": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, "did not answer within 200ms", admissionTimeout},
		"500":      {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, "neither yes nor no", admissionError},
		"204":      {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, "neither yes nor no", admissionError},
		"hangs up": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "does not answer", admissionError},
		"elsewhere": {func(w http.ResponseWriter, r *http.Request) {
			elsewhere.Store(r.URL.Path == "/yes")
			http.Redirect(w, r, "/yes", http.StatusTemporaryRedirect)
		}, "neither yes nor no", admissionError},
	} {
		s := newTestAdmission(t, c.answer)
		if c.count == admissionTimeout {
			s.within = 200 * time.Millisecond
		}
		why := s.ask("peer", addressOf(1), "", time.Now())
		require.NotNil(t, why, name)
		assert.Contains(t, why.words, c.says, name)
		assert.Contains(t, why.words, "--admission", name)
		assert.Equal(t, "admission-failed", why.limit)
		assert.Error(t, why.cause, name)
		assert.Equal(t, 1.0, counted(t, s, c.count), name)
	}
	assert.False(t, elsewhere.Load(), "a redirect is not followed")
	nobody := httptest.NewServer(http.NotFoundHandler())
	nobody.Close()
	assert.Contains(t, testAdmissionAt(t, nobody.URL, func() {}).ask("peer", addressOf(1), "", time.Now()).words, "does not answer")
}

func TestAnAnswerIsKeptForAsLongAsItSaysWithinBounds(t *testing.T) {
	for header, holds := range map[string]time.Duration{
		"": time.Minute, "max-age=90": 90 * time.Second, "private, MAX-AGE=7": 7 * time.Second, "max-age=0": time.Second, "no-store": time.Second,
		"max-age=90, no-cache": time.Second, "max-age=86400": time.Hour, "max-age=-1": time.Second, "max-age=soon": time.Second, "max-age=99999999999": time.Second,
	} {
		var asked atomic.Int32
		status := atomic.Int32{}
		status.Store(403)
		s := newTestAdmission(t, func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			if header != "" {
				w.Header().Set("Cache-Control", header)
			}
			w.WriteHeader(int(status.Load()))
		})
		began := time.Now()
		require.NotNil(t, s.ask("peer", addressOf(1), "", began))
		ended := time.Now()
		status.Store(200)
		assert.NotNil(t, s.ask("peer", addressOf(1), "", began.Add(holds-time.Millisecond)), header)
		assert.EqualValues(t, 1, asked.Load(), header)
		assert.Nil(t, s.ask("peer", addressOf(1), "", ended.Add(holds)), header)
		assert.EqualValues(t, 2, asked.Load(), header)
		for _, other := range []func() *refusal{
			func() *refusal { return s.ask("other", addressOf(1), "", began) },
			func() *refusal { return s.ask("peer", addressOf(2), "", began) },
			func() *refusal { return s.ask("peer", addressOf(1), "token", began) },
		} {
			assert.Nil(t, other())
		}
		assert.EqualValues(t, 5, asked.Load(), "an answer is about a peer at an address with a token")
	}
}

func TestQuestionsHaveBoundsAndAnAddressHasItsShareOfThem(t *testing.T) {
	var most, now atomic.Int32
	answering, arrived := make(chan struct{}), make(chan struct{}, maxQuestions)
	s := newTestAdmission(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		arrived <- struct{}{}
		<-answering
		now.Add(-1)
	})
	s.within = time.Minute
	var asking sync.WaitGroup
	ask := func(p string, at int) {
		asking.Go(func() { s.ask(peer.ID(p), addressOf(at), "", time.Now()) })
	}
	for n := range maxQuestions / 2 {
		ask(fmt.Sprint("crowd ", n), 1)
	}
	for range admissionSlots / 2 {
		<-arrived
	}
	require.Eventually(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.questions == maxQuestions/2
	}, 30*time.Second, time.Millisecond)
	why := s.ask("one more of them", addressOf(1), "", time.Now())
	require.NotNil(t, why)
	assert.Contains(t, why.words, "too many peers")
	assert.Equal(t, 1.0, counted(t, s, admissionBusy))
	ask("somebody else", 2)
	<-arrived // the question is sent, although hundreds wait
	for range 3 {
		ask("somebody else", 2) // further questions about the same peer are not sent
	}
	assert.EqualValues(t, admissionSlots/2+1, most.Load())
	close(answering)
	asking.Wait()
	assert.LessOrEqual(t, int(most.Load()), admissionSlots)
	assert.Equal(t, float64(maxQuestions/2+1), counted(t, s, admissionYes))
	assert.Empty(t, s.sites)
	assert.Zero(t, s.questions)
}

func TestVerdictsAreForgottenWhenThereAreTooMany(t *testing.T) {
	s := newTestAdmission(t, func(http.ResponseWriter, *http.Request) {})
	now := time.Now()
	waited := question{peer: "waits"}
	s.verdicts[waited] = &verdict{}
	for n := range maxVerdicts - 1 {
		s.verdicts[question{peer: peer.ID(fmt.Sprint(n))}] = &verdict{until: now.Add(time.Hour)}
	}
	require.Nil(t, s.ask("late", addressOf(1), "", now))
	assert.LessOrEqual(t, len(s.verdicts), maxVerdicts*7/8+1)
	assert.Contains(t, s.verdicts, waited)
}

func TestTheServiceIsAskedInJSONAndItsReasonIsBounded(t *testing.T) {
	var got Question
	body := "no room for you\r\nand more"
	s := newTestAdmission(t, func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "POST", r.Method)
		assert.Equal(t, "application/json", r.Header.Get("Content-Type"))
		assert.NoError(t, json.NewDecoder(r.Body).Decode(&got))
		w.WriteHeader(403)
		_, _ = io.WriteString(w, body)
	})
	why := s.ask("peer", addressOf(1), "secret", time.Now())
	assert.Equal(t, Question{Peer: peer.ID("peer").String(), Addr: "/ip4/192.0.2.1/tcp/1", Relay: peer.ID("relay").String(), Token: "secret"}, got)
	assert.Equal(t, "no room for you (--admission)", why.words)
	assert.Equal(t, "admission", why.limit)
	body = strings.Repeat("ä", 1<<20)
	assert.Less(t, len(s.ask("other", addressOf(1), "", time.Now()).words), 450)
	body = " \n"
	assert.Contains(t, s.ask("third", addressOf(1), "", time.Now()).words, "does not admit you")
}
