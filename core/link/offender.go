package link

import (
	"errors"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/message"
)

const (
	// offencesAllowed is the number of malformed streams within offenceWindow after which
	// the streams of a peer are refused.
	offencesAllowed = 3
	offenceWindow   = time.Minute
	// refuseFirst is how long they are refused at first. Each further offence doubles it,
	// up to refuseMost.
	refuseFirst = 10 * time.Second
	refuseMost  = 10 * time.Minute
	// offenceMemory is how long an offence is remembered after its peer is no longer
	// refused.
	offenceMemory = 10 * time.Minute
	// offendersKept bounds the peers whose offences are remembered, because a peer ID
	// costs an attacker nothing.
	offendersKept = 1024
)

// offender is a peer that sent something that no honest peer sends.
type offender struct {
	count   int
	first   time.Time // of the counted offences
	refused time.Duration
	until   time.Time // its streams are refused until then
	last    time.Time
}

// offenders are guarded by Links.mu.
type offenders map[peer.ID]*offender

// judge counts an offence of a peer whose stream ended with an error that no honest peer
// causes.
func (l *Links) judge(p peer.ID, err error) {
	if !errors.Is(err, message.ErrMalformed) && !errors.Is(err, message.ErrTooLarge) && !errors.Is(err, errRules) {
		return
	}
	l.mu.Lock()
	refuse := l.offenders.add(p, time.Now())
	l.mu.Unlock()
	l.count.malformed.Add(1)
	l.log.Warn("a peer sent what is no message; its stream was reset", "peer", p, "error", err, "refused", refuse)
}

// add counts an offence of p and returns how long p is refused from now on, or 0.
func (os offenders) add(p peer.ID, now time.Time) time.Duration {
	o := os[p]
	if o == nil {
		if len(os) >= offendersKept {
			os.dropOldest()
		}
		o = &offender{first: now}
		os[p] = o
	}
	if o.refused == 0 && now.Sub(o.first) > offenceWindow {
		o.count, o.first = 0, now
	}
	o.count++
	o.last = now
	if o.count < offencesAllowed {
		return 0
	}
	o.refused = min(max(2*o.refused, refuseFirst), refuseMost)
	o.until = now.Add(o.refused)
	return o.refused
}

func (os offenders) refused(p peer.ID, now time.Time) bool {
	o := os[p]
	return o != nil && now.Before(o.until)
}

// forget removes the peers that have behaved for long enough.
func (os offenders) forget(now time.Time) {
	for p, o := range os {
		if now.Sub(o.last) > offenceMemory+o.refused {
			delete(os, p)
		}
	}
}

func (os offenders) dropOldest() {
	var oldest peer.ID
	var last time.Time
	for p, o := range os {
		if oldest == "" || o.last.Before(last) {
			oldest, last = p, o.last
		}
	}
	delete(os, oldest)
}
