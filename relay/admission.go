package relay

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	pbv2 "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/pb"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/customer"
)

const (
	// admissionWithin bounds a question, including the time that it waits for others.
	admissionWithin = 5 * time.Second
	// admissionSlots is how many questions are sent at once. Peers at one address may use
	// half of them.
	admissionSlots = 64
	// maxQuestions is how many questions may be in flight or waiting. One address may have
	// half of them.
	maxQuestions = 1024
	// maxVerdicts is how many answers are cached.
	maxVerdicts = 16384

	// An answer without a max-age is cached for usualVerdict. Each answer is cached for at
	// least leastVerdict, because peers can ask again as fast as they like.
	leastVerdict = time.Second
	usualVerdict = time.Minute
	mostVerdict  = time.Hour

	maxAdmissionAnswer = 4096 // bytes of an answer that are read
	maxAdmissionReason = 400  // bytes of it that are sent to the peer
)

// limitAdmission is the limit that refuses peers which the service does not admit.
const limitAdmission = "admission"

// Outcomes of a question, as label values of the metric.
const (
	admissionYes     = "yes"
	admissionNo      = "no"
	admissionTimeout = "timeout" // no answer in time
	admissionError   = "error"   // no connection, or neither yes nor no
	admissionBusy    = "busy"    // not asked: too many questions wait
)

// Question is the JSON body that the relay sends to the service of Options.Admission to
// ask about a peer.
type Question struct {
	Peer  string `json:"peer"`            // its ID
	Addr  string `json:"addr"`            // the multiaddr that the peer is connected from
	Relay string `json:"relay"`           // this relay's ID
	Token string `json:"token,omitempty"` // what the peer presented, if it is not a valid token of this relay
}

// CheckAdmission returns an error if service cannot be the URL of Options.Admission.
func CheckAdmission(service string) error {
	u, err := url.Parse(service)
	switch {
	case err != nil:
		return errors.New("it is not a URL") // without the URL, which may hold a password
	case u.Scheme != "http" && u.Scheme != "https":
		return errors.New("it is not the URL of a service that speaks http or https")
	case u.Hostname() == "":
		return errors.New("the URL names no host")
	}
	return nil
}

func checkAdmission(service string) error {
	if service == "" {
		return nil
	}
	if err := CheckAdmission(service); err != nil {
		return fmt.Errorf("admission: %w", err)
	}
	return nil
}

// admissionClient is an HTTP client that follows no redirect.
func admissionClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			MaxConnsPerHost:     admissionSlots,
			MaxIdleConnsPerHost: admissionSlots,
			IdleConnTimeout:     30 * time.Second,
			ForceAttemptHTTP2:   true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// newAdmissionCounter returns a counter of the outcomes of questions; nil without a
// registry.
func newAdmissionCounter(registry *prometheus.Registry) *prometheus.CounterVec {
	if registry == nil {
		return nil
	}
	c := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tombolo_relay_admission_total",
		Help: "What became of questions to the service of --admission: yes, no, timeout, error, or busy if too many wait.",
	}, []string{"answer"})
	for _, answer := range []string{admissionYes, admissionNo, admissionTimeout, admissionError, admissionBusy} {
		c.WithLabelValues(answer) // so that a rate begins at 0
	}
	registry.MustRegister(c)
	return c
}

// admission asks a service of the operator's which peers may use the relay, and caches
// its answers. A peer that it does not admit in time is refused. Its methods may be
// called concurrently.
type admission struct {
	url    string
	self   peer.ID
	client *http.Client
	counts *prometheus.CounterVec // nil: nothing is counted
	run    func(func(context.Context)) bool
	within time.Duration
	slots  chan struct{}

	mu        sync.Mutex
	verdicts  map[question]*verdict
	sites     map[netip.Prefix]*askers
	questions int // in flight or waiting
}

// question is the key of a verdict.
type question struct {
	peer  peer.ID
	site  netip.Prefix
	token [sha256.Size]byte
}

// verdict is the service's answer. It is valid once done is closed.
type verdict struct {
	done  chan struct{}
	why   *refusal  // nil: yes
	until time.Time // guarded by admission.mu; zero before done
}

// askers counts the questions about peers at one address.
type askers struct {
	slots     chan struct{}
	questions int
}

// newAdmission returns an admission that asks the service at a URL. run calls a function
// in its own goroutine with a context that ends with the relay; it returns false if the
// relay has ended.
func newAdmission(url string, self peer.ID, client *http.Client, counts *prometheus.CounterVec, run func(func(context.Context)) bool) *admission {
	return &admission{
		url: url, self: self, client: client, counts: counts, run: run, within: admissionWithin,
		slots: make(chan struct{}, admissionSlots), verdicts: make(map[question]*verdict), sites: make(map[netip.Prefix]*askers),
	}
}

// ask returns why the service does not admit a peer; nil if it does. It returns after
// admissionWithin at the latest.
func (s *admission) ask(p peer.ID, at ma.Multiaddr, token string, now time.Time) *refusal {
	q := question{peer: p, site: customer.Of(at), token: sha256.Sum256([]byte(token))}
	s.mu.Lock()
	v := s.verdicts[q]
	if v == nil || !v.until.IsZero() && !now.Before(v.until) {
		var why *refusal
		if v, why = s.begin(q, Question{Peer: p.String(), Addr: at.String(), Relay: s.self.String(), Token: token}, now); why != nil {
			s.mu.Unlock()
			return why
		}
	}
	s.mu.Unlock()
	<-v.done
	return v.why
}

// begin starts a question about a peer. The mutex is held.
func (s *admission) begin(q question, about Question, now time.Time) (*verdict, *refusal) {
	of := s.sites[q.site]
	if of == nil {
		of = &askers{slots: make(chan struct{}, admissionSlots/2)}
	}
	if s.questions >= maxQuestions || of.questions >= maxQuestions/2 {
		s.count(admissionBusy)
		why := admissionFailed("the service that decides who may use it is asked about too many peers: try again", nil)
		why.value = maxQuestions
		return nil, why
	}
	body, err := json.Marshal(about)
	if err != nil {
		return nil, admissionFailed("the service that decides who may use it cannot be asked", err)
	}
	s.makeRoom(now)
	v := &verdict{done: make(chan struct{})}
	if !s.run(func(ctx context.Context) { s.decide(ctx, v, of, q.site, body) }) {
		return nil, admissionFailed("it is ending", nil)
	}
	s.verdicts[q], s.sites[q.site] = v, of
	s.questions++
	of.questions++
	return v, nil
}

// makeRoom drops expired verdicts if there are too many, and then valid ones if it must.
// The mutex is held.
func (s *admission) makeRoom(now time.Time) {
	if len(s.verdicts) < maxVerdicts {
		return
	}
	for q, v := range s.verdicts {
		if !v.until.IsZero() && !now.Before(v.until) {
			delete(s.verdicts, q)
		}
	}
	for q, v := range s.verdicts {
		if len(s.verdicts) <= maxVerdicts*7/8 {
			return
		}
		if !v.until.IsZero() {
			delete(s.verdicts, q)
		}
	}
}

// decide asks the service, and closes v.done.
func (s *admission) decide(ctx context.Context, v *verdict, of *askers, site netip.Prefix, body []byte) {
	defer close(v.done)
	ctx, stop := context.WithTimeout(ctx, s.within)
	defer stop()
	answer, why, holds := s.request(ctx, of, body)
	s.count(answer)
	s.mu.Lock()
	defer s.mu.Unlock()
	v.why, v.until = why, time.Now().Add(holds)
	s.questions--
	if of.questions--; of.questions == 0 {
		delete(s.sites, site)
	}
}

func (s *admission) count(answer string) {
	if s.counts != nil {
		s.counts.WithLabelValues(answer).Inc()
	}
}

// request asks the service, and returns how long its answer is valid.
func (s *admission) request(ctx context.Context, of *askers, body []byte) (answer string, why *refusal, holds time.Duration) {
	for _, slots := range []chan struct{}{of.slots, s.slots} {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		case <-ctx.Done():
			return admissionTimeout, s.late(errors.New("others are asked about")), leastVerdict
		}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return admissionError, admissionFailed("the service that decides who may use it cannot be asked", err), leastVerdict
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "tombolo-relay/"+core.Version())
	response, err := s.client.Do(request)
	var said []byte
	if err == nil {
		defer response.Body.Close()
		said, err = io.ReadAll(io.LimitReader(response.Body, maxAdmissionAnswer))
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return admissionTimeout, s.late(err), leastVerdict
	case err != nil:
		return admissionError, admissionFailed("the service that decides who may use it does not answer", err), leastVerdict
	case response.StatusCode == http.StatusOK:
		return admissionYes, nil, validity(response.Header)
	case response.StatusCode == http.StatusForbidden:
		return admissionNo, denied(said), validity(response.Header)
	}
	return admissionError, admissionFailed("the service that decides who may use it answers neither yes nor no",
		fmt.Errorf("it answers %q, and not 200 or 403", response.Status)), leastVerdict
}

// denied returns the refusal for a no of the service, with the first line of its body as
// the reason.
func denied(said []byte) *refusal {
	line, _, _ := strings.Cut(strings.TrimSpace(string(said)), "\n")
	if len(line) > maxAdmissionReason {
		line = line[:maxAdmissionReason]
	}
	if line = strings.TrimSpace(strings.ToValidUTF8(line, "")); line == "" {
		line = "its operator does not admit you"
	}
	return &refusal{limit: limitAdmission, flag: "--admission", words: line + " (--admission)", status: pbv2.Status_PERMISSION_DENIED}
}

func (s *admission) late(cause error) *refusal {
	return admissionFailed(fmt.Sprintf("the service that decides who may use it did not answer within %s", s.within), cause)
}

func admissionFailed(words string, cause error) *refusal {
	return &refusal{limit: "admission-failed", flag: "--admission", words: words + " (--admission)", cause: cause, status: pbv2.Status_PERMISSION_DENIED}
}

// validity returns how long an answer may be cached, from its Cache-Control (RFC 9111).
func validity(h http.Header) time.Duration {
	holds := usualVerdict
	for directive := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(directive)), "=")
		switch name {
		case "no-store", "no-cache":
			return leastVerdict
		case "max-age":
			if seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31); err == nil {
				holds = time.Duration(seconds) * time.Second
			} else {
				holds = 0 // RFC 9111, section 4.2.1: a directive that cannot be read means stale
			}
		}
	}
	return min(max(holds, leastVerdict), mostVerdict)
}
