package dispatch

import (
	"context"
	"fmt"
	"slices"
)

// Handle subscribes to a type or pattern and calls f for each message, one at a time and
// in order, in a goroutine of the subscription. A panic of f is caught and logged with
// the message's type and ID and the stack, and the next message is delivered. A call that
// takes longer than Options.HandlerLimit is named in the log and in Stats while it lasts.
// The context of f ends when the subscription or the Dispatcher is closed.
//
// Pattern, options and errors are those of Subscribe. f must not wait for a goroutine of
// its own that closes the subscription or the Dispatcher.
func (d *Dispatcher) Handle(pattern string, f func(ctx context.Context, d Delivery), opts ...Option) (*Subscription, error) {
	s, err := d.newSubscription(pattern, opts)
	if err != nil {
		return nil, err
	}
	if f == nil {
		return nil, fmt.Errorf("subscribe to %q: the handler is nil", pattern)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.readers.Store(readerHandler)
	s.cancel, s.served = cancel, make(chan struct{})
	if err := d.add(s); err != nil {
		cancel()
		return nil, err
	}
	go s.serve(ctx, f)
	return s, nil
}

// serve calls the handler until the subscription ends.
func (s *Subscription) serve(ctx context.Context, f func(context.Context, Delivery)) {
	leave := s.d.program.Enter()
	exited := true
	defer func() {
		leave()
		if exited { // f called runtime.Goexit, which must end this goroutine but not the subscription
			go s.serve(ctx, f)
			return
		}
		close(s.served)
	}()
	var d Delivery
	call := func() { f(ctx, d) }
	for {
		var err error
		if d, err = s.next(context.Background()); err != nil {
			break
		}
		_ = s.d.supervisor.Run(s.pattern, d.Message, call) // Run has counted and logged the error
		d = Delivery{}
	}
	exited = false
}

// waitServed waits for the goroutines of the handlers and channels of subscriptions that
// have ended, unless a function of the program calls it.
func (d *Dispatcher) waitServed(subs ...*Subscription) {
	subs = slices.DeleteFunc(slices.Clone(subs), (*Subscription).isServed)
	if len(subs) == 0 || d.program.Within() {
		return
	}
	if d.program.Await(func() {
		for _, s := range subs {
			<-s.served
		}
	}) {
		return
	}
	for _, s := range slices.DeleteFunc(subs, (*Subscription).isServed) {
		d.log.Error("closed without a handler that does not return", "handler", s.pattern)
	}
}

// isServed reports whether no goroutine serves the subscription any more.
func (s *Subscription) isServed() bool {
	s.mu.Lock()
	served := s.served
	s.mu.Unlock()
	if served == nil {
		return true
	}
	select {
	case <-served:
		return true
	default:
		return false
	}
}
