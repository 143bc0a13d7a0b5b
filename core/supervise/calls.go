package supervise

import "sync"

// Calls counts what is under way, so that who closes can wait for it. The zero
// value is usable; all methods may be called concurrently.
type Calls struct {
	mu    sync.Mutex
	n     int
	ended bool
	none  chan struct{} // made by End; closed when n is zero
}

// Begin is false after End. Else Leave must follow.
func (c *Calls) Begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return false
	}
	c.n++
	return true
}

// Leave is for what has begun.
func (c *Calls) Leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n--
	if c.ended && c.n == 0 {
		close(c.none)
	}
}

// End lets nothing begin any more. It must be called once.
func (c *Calls) End() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended, c.none = true, make(chan struct{})
	if c.n == 0 {
		close(c.none)
	}
}

// Wait waits for all that has begun. End must have been called.
func (c *Calls) Wait() {
	c.mu.Lock()
	none := c.none
	c.mu.Unlock()
	<-none
}
