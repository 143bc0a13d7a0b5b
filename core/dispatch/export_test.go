package dispatch

import "unsafe"

// Remembered is how many messages s tells copies by.
func (s *Subscription) Remembered() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		return 0
	}
	return len(s.seen.numbers)
}

// Places is how many messages the ring of s has room for.
func (s *Subscription) Places() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.slots)
}

// Accounts is how many senders the book of s has.
func (s *Subscription) Accounts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.book == nil {
		return 0
	}
	return len(s.book.places)
}

// ReaderEnds is where what the reader touches for each message ends within a
// Subscription, and where what publishers touch begins.
func ReaderEnds() (reader, publishers uintptr) {
	var s Subscription
	return unsafe.Offsetof(s.inherits) + unsafe.Sizeof(s.inherits), unsafe.Offsetof(s.mu)
}
