package dispatch

import (
	"errors"
	"fmt"

	"github.com/tombolo-net/tombolo/core/message"
)

const (
	// DefaultBuffer is the default size of a mailbox, in messages.
	DefaultBuffer = 256
	// MaxBuffer is the maximum size of a mailbox, in messages. Each used slot takes 16
	// bytes.
	MaxBuffer = 1 << 20
)

// Option configures a subscription. At most one of the options may be a policy, which
// decides what happens when the mailbox is full: DropNewest (the default), DropOldest,
// Block, LatestPerKey or CloseOnOverflow.
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
	chosen bool // a policy was chosen
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

// Buffer sets the size of the mailbox, from 1 to MaxBuffer messages. By default,
// DefaultBuffer. Memory is allocated as messages arrive.
func Buffer(n int) Option {
	return func(s *settings) error {
		if n < 1 || n > MaxBuffer {
			return fmt.Errorf("a buffer of %d messages; from 1 to %d may be", n, MaxBuffer)
		}
		s.buffer = n
		return nil
	}
}

// DropNewest makes a full mailbox keep old messages: it drops the newest message of the
// sender with the most messages, counting the new one. With one sender, that is the new
// message.
func DropNewest(s *settings) error { return s.choose(dropNewest) }

// DropOldest makes a full mailbox keep new messages: it drops the oldest message of the
// sender with the most messages, counting the new one. With one sender, that is the next
// message in the queue.
func DropOldest(s *settings) error { return s.choose(dropOldest) }

// Block makes Publish wait for room; waiting callers are served in order. Offer does not
// wait: it drops the new message.
func Block(s *settings) error { return s.choose(block) }

// LatestPerKey keeps only the latest message of each key in the mailbox. A newer message
// replaces an older one, which counts as superseded and in the Missed of the newer one.
// A mailbox full of different keys drops messages like DropOldest.
//
// Publishers call key, possibly concurrently; it must not block. If key panics for a
// message, the message is queued without a key, and the panic is logged.
func LatestPerKey(key func(*message.Message) string) Option {
	return func(s *settings) error {
		if key == nil {
			return errors.New("LatestPerKey without a function")
		}
		s.key = key
		return s.choose(latestPerKey)
	}
}

// OnEnd registers f to be called once when the subscription has ended, for whatever
// reason: Close, ErrSlow or the Close of the Dispatcher. If one of these two Closes
// ended it, that Close returns after f. After ErrSlow, f runs in a separate goroutine,
// for which the Close of the Dispatcher waits, because nothing may hold up a publisher.
// f may be called before Subscribe has returned, but not if Subscribe fails.
//
// No lock is held, and f may close subscriptions. A panic of f is caught and logged.
func OnEnd(f func()) Option {
	return func(s *settings) error {
		if f == nil || s.onEnd != nil {
			return errors.New("OnEnd takes one function")
		}
		s.onEnd = f
		return nil
	}
}

// CloseOnOverflow ends the subscription when its mailbox overflows: the reader gets the
// queued messages, and then ErrSlow.
func CloseOnOverflow(s *settings) error { return s.choose(closeOnOverflow) }
