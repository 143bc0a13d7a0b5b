package dispatch

import (
	"errors"
	"fmt"

	"github.com/tombolo-net/tombolo/core/message"
)

const (
	// DefaultBuffer is how many messages a mailbox holds if nothing is said.
	DefaultBuffer = 256
	// MaxBuffer is the most that may be said. A place takes 16 bytes, once it
	// has been used.
	MaxBuffer = 1 << 20
)

// Option configures a subscription. At most one of them may be a policy, which
// says what becomes of a message where the mailbox is full: DropNewest (the
// default), DropOldest, Block, LatestPerKey or CloseOnOverflow.
type Option func(*settings) error

type policy uint8

const (
	dropNewest policy = iota
	dropOldest
	block
	latestPerKey
	closeOnOverflow
)

type settings struct {
	buffer int
	policy policy
	chosen bool // a policy was
	key    func(*message.Message) string
	onEnd  func()
}

func (s *settings) choose(p policy) error {
	if s.chosen {
		return errors.New("two policies for a full mailbox")
	}
	s.policy, s.chosen = p, true
	return nil
}

// Buffer bounds the messages that wait for the reader; from 1 to MaxBuffer. If
// not given, DefaultBuffer. Memory is taken as they come.
func Buffer(n int) Option {
	return func(s *settings) error {
		if n < 1 || n > MaxBuffer {
			return fmt.Errorf("a buffer of %d messages; from 1 to %d may be", n, MaxBuffer)
		}
		s.buffer = n
		return nil
	}
}

// DropNewest makes a full mailbox keep what is old: of the messages of the
// senders with the most places in it, the arriving one counted, the newest goes.
// With one sender that is the arriving message.
func DropNewest(s *settings) error { return s.choose(dropNewest) }

// DropOldest makes a full mailbox keep what is new: of the messages of the
// senders with the most places in it, the arriving one counted, the oldest goes.
// With one sender that is the one next in line.
func DropOldest(s *settings) error { return s.choose(dropOldest) }

// Block makes Publish wait for room. Those who wait are let in in their order.
// Offer does not wait: it drops the arriving message.
func Block(s *settings) error { return s.choose(block) }

// LatestPerKey keeps at most one message of each key waiting: a newer one takes
// the place of the older, which is counted as superseded and in the Missed of
// the newer one's delivery. A mailbox full of distinct keys drops as DropOldest
// does.
//
// key is called by those who publish, possibly by several at once, before the
// mailbox is touched; it must not block. A message for which it panics is
// queued without a key, and the panic is logged.
func LatestPerKey(key func(*message.Message) string) Option {
	return func(s *settings) error {
		if key == nil {
			return errors.New("LatestPerKey without a function")
		}
		s.key = key
		return s.choose(latestPerKey)
	}
}

// OnEnd has f called once when the subscription has ended, for whatever reason: Close,
// ErrSlow or the Dispatcher's Close. Those two Closes return after f did when they are
// what ended it; on ErrSlow, f runs in a goroutine of its own, for which the Dispatcher's
// Close waits, because nothing may hold up a publisher. That may all be before Subscribe
// has returned, but is not when it fails.
//
// No lock is held, and f may close subscriptions. A panic of f is caught and
// logged.
func OnEnd(f func()) Option {
	return func(s *settings) error {
		if f == nil || s.onEnd != nil {
			return errors.New("OnEnd takes one function")
		}
		s.onEnd = f
		return nil
	}
}

// CloseOnOverflow ends the subscription when a message finds its mailbox full:
// the reader gets what was queued and then ErrSlow.
func CloseOnOverflow(s *settings) error { return s.choose(closeOnOverflow) }
