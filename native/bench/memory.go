package main

import (
	"fmt"
	"runtime"
	"sync"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"

	"github.com/tombolo-net/tombolo/core/dispatch"
)

const (
	memorySubscriptions = 10_000
	memoryTypes         = 1_000
	// churn is how many subscriptions are made and ended for one value.
	churn = 20_000
)

// memory measures the memory of a subscription with the default buffer that has had no
// message, and the cost of making and ending one among many.
func memory(rounds int) ([]*figure, error) {
	held := newFigure("dispatch/memory", "bytes/subscription", "ours", "eventbus", "nebulas")
	var figures []*figure
	figures = append(figures, held)
	for range rounds {
		for _, c := range holders {
			bytes, err := c.hold(memorySubscriptions)
			if err != nil {
				return figures, fmt.Errorf("%s: %w", c.name, err)
			}
			held.add(c.name, bytes)
		}
	}
	for _, existing := range []int{10, 1_000, 10_000, 100_000} {
		f := newFigure(fmt.Sprintf("dispatch/subscribe-%d", existing), "cpu-ns/subscribe+close", "ours", "eventbus", "nebulas")
		figures = append(figures, f)
		for range rounds {
			for _, c := range holders {
				if c.name == "eventbus" && existing > memorySubscriptions {
					continue // its Close searches all of them: this would take minutes
				}
				ns, err := c.churn(existing)
				if err != nil {
					return figures, fmt.Errorf("%s of %d: %w", c.name, existing, err)
				}
				f.add(c.name, ns)
			}
		}
	}
	return figures, nil
}

// A holder keeps subscriptions.
type holder struct {
	name string
	// start returns functions that make a subscription to the i-th type, with the
	// default buffer, and stop the holder. subscribe returns a function that ends the
	// subscription.
	start func() (subscribe func(i int) (end func(), err error), stop func())
}

var holders = []holder{
	{"ours", func() (func(int) (func(), error), func()) {
		d := dispatch.New(dispatch.Options{})
		return func(i int) (func(), error) {
			s, err := d.Subscribe(memoryType(i))
			if err != nil {
				return nil, err
			}
			return func() { _ = s.Close() }, nil
		}, func() { _ = d.Close() }
	}},
	// The bus supports only Go types, so all subscriptions are to the same one.
	{"eventbus", func() (func(int) (func(), error), func()) {
		bus := eventbus.NewBus()
		return func(int) (func(), error) {
			var s event.Subscription
			s, err := bus.Subscribe(new(*busMessage), eventbus.BufSize(dispatch.DefaultBuffer))
			if err != nil {
				return nil, err
			}
			return func() { _ = s.Close() }, nil
		}, func() {}
	}},
	{"nebulas", func() (func(int) (func(), error), func()) {
		d := newNebulas()
		return func(i int) (func(), error) {
			s := &nebulasSubscriber{memoryType(i), make(chan *nebulasMessage, dispatch.DefaultBuffer)}
			d.register(s)
			return func() { d.deregister(s) }, nil
		}, d.stop
	}},
}

var memoryTypeNames = sync.OnceValue(func() []string {
	var names []string
	for i := range memoryTypes {
		names = append(names, fmt.Sprintf("room/%d/chat", i))
	}
	return names
})

func memoryType(i int) string { return memoryTypeNames()[i%memoryTypes] }

// hold returns the bytes that each of n idle subscriptions takes.
func (h holder) hold(n int) (float64, error) {
	subscribe, stop := h.start()
	defer stop()
	ends := make([]func(), 0, n)
	before := heap()
	for i := range n {
		end, err := subscribe(i)
		if err != nil {
			return 0, err
		}
		ends = append(ends, end)
	}
	after := heap()
	for _, end := range ends {
		end()
	}
	return float64(after-before) / float64(n), nil
}

func heap() int64 {
	memoryTypeNames()
	for range 2 { // memory released by finalizers is freed only by the next run
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// churn returns the CPU time, in ns, of making and ending one subscription beside existing
// others.
func (h holder) churn(existing int) (float64, error) {
	subscribe, stop := h.start()
	defer stop()
	var ends []func()
	for i := range existing {
		end, err := subscribe(i)
		if err != nil {
			return 0, err
		}
		ends = append(ends, end)
	}
	runtime.GC()
	from := usageNow()
	for i := range churn {
		end, err := subscribe(i)
		if err != nil {
			return 0, err
		}
		end()
	}
	_, cpu := from.since()
	for _, end := range ends {
		end()
	}
	return float64(cpu.Nanoseconds()) / churn, nil
}
