package dispatch

import "unsafe"

// Remembered returns how many messages s remembers to recognize copies.
func (s *Subscription) Remembered() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		return 0
	}
	return len(s.seen.numbers)
}

// Places returns how many messages the ring of s has room for.
func (s *Subscription) Places() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.slots)
}

// Accounts returns how many senders the book of s has.
func (s *Subscription) Accounts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.book == nil {
		return 0
	}
	return len(s.book.places)
}

// ReaderEnds returns the offset in a Subscription at which the fields end that the reader
// uses for each message, and the offset at which the fields begin that publishers use.
func ReaderEnds() (reader, publishers uintptr) {
	var s Subscription
	return unsafe.Offsetof(s.inherits) + unsafe.Sizeof(s.inherits), unsafe.Offsetof(s.mu)
}
