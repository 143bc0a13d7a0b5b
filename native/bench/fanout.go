package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/tombolo-net/tombolo/core/dispatch"
	"github.com/tombolo-net/tombolo/core/message"
)

const (
	fanoutSize   = 128  // bytes of a message
	fanoutBuffer = 1024 // messages of a subscriber
	fanoutType   = "chat"
	// window is how many messages a subscriber may lag behind the publisher, for
	// contenders that lose messages if the publisher is not held up.
	window = fanoutBuffer
	step   = window / 2
	// fanoutRounds is how many rounds are measured for each requested one. A round takes
	// a fraction of a second, and other programs that share the processor's caches can
	// slow it by half.
	fanoutRounds = 3
)

// fanoutContender delivers messages to n subscribers, each read by a goroutine. start sets
// it up and returns functions that publish the i-th message and stop the contender.
type fanoutContender struct {
	name       string
	deliveries int // in a round
	warmUp     int // messages before the round
	paced      bool
	start      func(readers []*reader) (publish func(i int) error, stop func(), err error)
}

var fanoutContenders = []fanoutContender{
	{"ours", 2_000_000, 4096, false, fanoutOurs},
	{"eventbus", 2_000_000, 4096, false, fanoutEventbus},
	{"nebulas", 2_000_000, 4096, true, fanoutNebulas},
	{"nats", 200_000, 128, true, fanoutNATS},
}

// fanoutTo measures the cost of each delivery of a message to n subscribers, from the
// publisher's call until the reader has it. Publishers are as fast as they can be, and
// nothing is lost. The messages are made beforehand, so that only the contenders'
// allocations are counted.
func fanoutTo(n int) func(rounds int) ([]*figure, error) {
	return func(rounds int) ([]*figure, error) {
		var names []string
		for _, c := range fanoutContenders {
			names = append(names, c.name)
		}
		name := fmt.Sprintf("dispatch/fanout-%d", n)
		cpu := newFigure(name, "cpu-ns/delivery", names...)
		wall := newFigure(name+"-wall", "ns/delivery", names...)
		allocs := newFigure(name+"-allocs", "allocations/delivery", names...)
		for round := range rounds * fanoutRounds {
			for i := range fanoutContenders {
				c := fanoutContenders[(i+round)%len(fanoutContenders)]
				m, err := c.measure(n)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", c.name, err)
				}
				cpu.add(c.name, m.cpu)
				wall.add(c.name, m.wall)
				// Rounded, because an allocation made once, for example by a ring
				// that grows, is not one of the delivery.
				allocs.add(c.name, math.Round(m.allocs*100)/100)
			}
		}
		return []*figure{cpu, wall, allocs}, nil
	}
}

// perDelivery is the cost of a delivery: ns of CPU and wall time, and allocations.
type perDelivery struct{ cpu, wall, allocs float64 }

// fanoutLimit is how long a subscriber may take to get the published messages.
const fanoutLimit = time.Minute

func (c fanoutContender) measure(n int) (perDelivery, error) {
	messages := max(c.deliveries/n, 1)
	var warm, done sync.WaitGroup
	readers := make([]*reader, n)
	for i := range readers {
		readers[i] = &reader{warmUp: c.warmUp, all: c.warmUp + messages, warm: &warm, done: &done}
		if c.paced {
			readers[i].acks = make(chan struct{}, 2)
		}
	}
	warm.Add(n)
	done.Add(n)
	publish, stop, err := c.start(readers)
	if err != nil {
		return perDelivery{}, err
	}
	defer stop()

	run := func(from, to int) error {
		for i := from; i < to; i++ {
			if c.paced && i%step == 0 && i >= 2*step {
				for _, r := range readers { // each must have got the step before the last
					<-r.acks
				}
			}
			if err := publish(i); err != nil {
				return err
			}
		}
		return nil
	}
	if err := run(0, c.warmUp); err != nil {
		return perDelivery{}, err
	}
	if err := wait(&warm); err != nil {
		return perDelivery{}, err
	}
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	from := usageNow()
	if err := run(c.warmUp, c.warmUp+messages); err != nil {
		return perDelivery{}, err
	}
	if err := wait(&done); err != nil {
		return perDelivery{}, err
	}
	wall, cpu := from.since()
	runtime.ReadMemStats(&after)
	d := float64(messages * n)
	return perDelivery{
		cpu:    float64(cpu.Nanoseconds()) / d,
		wall:   float64(wall.Nanoseconds()) / d,
		allocs: float64(after.Mallocs-before.Mallocs) / d,
	}, nil
}

// wait waits until all readers have reached the point that wg stands for.
func wait(wg *sync.WaitGroup) error {
	ok := make(chan struct{})
	go func() { wg.Wait(); close(ok) }()
	select {
	case <-ok:
		return nil
	case <-time.After(fanoutLimit):
		return errors.New("messages were lost")
	}
}

// reader counts the messages that a subscriber gets.
type reader struct {
	n, warmUp, all int
	warm, done     *sync.WaitGroup
	acks           chan struct{} // one for each step; nil: the publisher is not paced
}

// got counts a message and reports whether more are to come.
func (r *reader) got() bool {
	r.n++
	if r.n%step != 0 && r.n != r.warmUp && r.n != r.all {
		return true
	}
	return r.milestone()
}

func (r *reader) milestone() bool {
	if r.acks != nil && r.n%step == 0 {
		r.acks <- struct{}{}
	}
	if r.n == r.warmUp {
		r.warm.Done()
	}
	if r.n == r.all {
		r.done.Done()
	}
	return r.n != r.all
}

// made makes messages that are published over and over.
func made[T any](one func(data []byte) T) func(i int) T {
	var all [2 * window]T
	for i := range all {
		all[i] = one(make([]byte, fanoutSize))
	}
	return func(i int) T { return all[i%len(all)] }
}

func fanoutOurs(readers []*reader) (func(int) error, func(), error) {
	d := dispatch.New(dispatch.Options{})
	var ended sync.WaitGroup
	for _, r := range readers {
		s, err := d.Subscribe(fanoutType, dispatch.Buffer(fanoutBuffer), dispatch.Block)
		if err != nil {
			return nil, nil, err
		}
		ended.Go(func() {
			for range s.All() {
				if !r.got() {
					return
				}
			}
		})
	}
	message := made(func(data []byte) *message.Message { return &message.Message{Type: fanoutType, Data: data} })
	ctx := context.Background()
	return func(i int) error { return d.Publish(ctx, message(i)) },
		func() { _ = d.Close(); ended.Wait() }, nil
}

// busMessage is published by reference, so that the bus need not allocate.
type busMessage struct{ data []byte }

func fanoutEventbus(readers []*reader) (func(int) error, func(), error) {
	bus := eventbus.NewBus()
	var ended sync.WaitGroup
	var subs []event.Subscription
	for _, r := range readers {
		s, err := bus.Subscribe(new(*busMessage), eventbus.BufSize(fanoutBuffer))
		if err != nil {
			return nil, nil, err
		}
		subs = append(subs, s)
		ended.Go(func() {
			for range s.Out() {
				if !r.got() {
					return
				}
			}
		})
	}
	e, err := bus.Emitter(new(*busMessage))
	if err != nil {
		return nil, nil, err
	}
	message := made(func(data []byte) *busMessage { return &busMessage{data} })
	stop := func() {
		for _, s := range subs {
			_ = s.Close()
		}
		_ = e.Close()
		ended.Wait()
	}
	return func(i int) error { return e.Emit(message(i)) }, stop, nil
}

func fanoutNebulas(readers []*reader) (func(int) error, func(), error) {
	d := newNebulas()
	var ended sync.WaitGroup
	var subs []*nebulasSubscriber
	for _, r := range readers {
		s := &nebulasSubscriber{fanoutType, make(chan *nebulasMessage, fanoutBuffer)}
		subs = append(subs, s)
		d.register(s)
		ended.Go(func() {
			for range s.ch {
				if !r.got() {
					return
				}
			}
		})
	}
	message := made(func(data []byte) *nebulasMessage { return &nebulasMessage{fanoutType, data} })
	stop := func() {
		d.stop()
		for _, s := range subs {
			d.deregister(s)
			close(s.ch)
		}
		ended.Wait()
	}
	return func(i int) error { d.put(message(i)); return nil }, stop, nil
}

// natsPending is how much the server queues for a connection before it closes it, in bytes:
// more than a window for all subscriptions.
const natsPending = 1 << 30

// fanoutNATS starts a server in the process, with a connection that publishes and one that
// the subscriptions share, both without a socket.
func fanoutNATS(readers []*reader) (func(int) error, func(), error) {
	srv, err := server.NewServer(&server.Options{DontListen: true, NoLog: true, NoSigs: true, MaxPending: natsPending, WriteDeadline: fanoutLimit})
	if err != nil {
		return nil, nil, err
	}
	srv.Start()
	stop := func() { srv.Shutdown(); srv.WaitForShutdown() }
	if !srv.ReadyForConnections(fanoutLimit) {
		stop()
		return nil, nil, errors.New("the server is not ready")
	}
	var conns [2]*nats.Conn
	for i := range conns {
		if conns[i], err = nats.Connect("", nats.InProcessServer(srv)); err != nil {
			stop()
			return nil, nil, err
		}
	}
	pub, sub := conns[0], conns[1]
	closeAll := func() { pub.Close(); sub.Close(); stop() }
	for _, r := range readers {
		s, err := sub.Subscribe(fanoutType, func(*nats.Msg) { r.got() })
		if err == nil {
			err = s.SetPendingLimits(-1, -1)
		}
		if err != nil {
			closeAll()
			return nil, nil, err
		}
	}
	if err := sub.Flush(); err != nil {
		closeAll()
		return nil, nil, err
	}
	data := made(func(data []byte) []byte { return data })
	return func(i int) error { return pub.Publish(fanoutType, data(i)) }, closeAll, nil
}
