package supervise

import (
	"bytes"
	"runtime"
	"strconv"
	"sync"
	"time"
)

// CloseGrace is how long whoever runs functions of a program waits for them when it
// closes, once it has told them that it does.
const CloseGrace = 3 * time.Second

// Within knows the goroutines that run functions of a program now: what such a
// function closes cannot wait for it. The zero value is usable; all methods may be
// called concurrently.
type Within struct{ goroutines sync.Map }

// Enter counts the calling goroutine in, until it calls leave. It takes about a
// microsecond.
func (w *Within) Enter() (leave func()) {
	id := goroutine()
	if _, already := w.goroutines.LoadOrStore(id, nil); already {
		return func() {}
	}
	return func() { w.goroutines.Delete(id) }
}

// Here says whether the calling goroutine is counted in.
func (w *Within) Here() bool {
	_, within := w.goroutines.Load(goroutine())
	return within
}

// Await waits for what wait waits for, CloseGrace at most, and says whether that
// was enough.
func Await(wait func()) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		wait()
	}()
	grace := time.NewTimer(CloseGrace)
	defer grace.Stop()
	select {
	case <-done:
		return true
	case <-grace.C:
		return false
	}
}

// goroutine is the number of the calling goroutine, which Go gives away only as
// text.
func goroutine() uint64 {
	var buf [64]byte
	b := bytes.TrimPrefix(buf[:runtime.Stack(buf[:], false)], []byte("goroutine "))
	number, _, _ := bytes.Cut(b, []byte(" "))
	n, err := strconv.ParseUint(string(number), 10, 64)
	if err != nil { // a change of Go that the tests notice
		panic("supervise: a stack without the goroutine's number: " + err.Error())
	}
	return n
}
