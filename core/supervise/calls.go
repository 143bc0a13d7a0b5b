package supervise

import "sync"

// Calls counts calls under way, so that Close can wait for them. The zero value is
// usable; all methods may be called concurrently.
type Calls struct {
	mu    sync.Mutex
	n     int
	ended bool
	none  chan struct{} // made by End; closed when n is zero
}

// Begin records that a call begins. It returns false after End; otherwise Leave must
// follow.
func (c *Calls) Begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return false
	}
	c.n++
	return true
}

// Leave records that a call has ended.
func (c *Calls) Leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n--
	if c.ended && c.n == 0 {
		close(c.none)
	}
}

// End makes Begin return false from now on. Later calls do nothing.
func (c *Calls) End() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return
	}
	c.ended, c.none = true, make(chan struct{})
	if c.n == 0 {
		close(c.none)
	}
}

// Wait waits until every call has left. End must have been called before.
func (c *Calls) Wait() {
	c.mu.Lock()
	none := c.none
	c.mu.Unlock()
	<-none
}
