package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/tombolo-net/tombolo/core/link"
	"github.com/tombolo-net/tombolo/core/message"
)

const (
	linkHosts = 10  // one of which publishes
	linkSize  = 128 // bytes of a message
	linkType  = "chat"

	pacedRate  = 1000 // messages a second
	pacedTotal = 10 * time.Second

	// How many messages the slowest receiver may lag behind a publisher that is as fast
	// as it can be.
	linksWindow  = 512
	gossipWindow = 32

	linksSaturated  = 200_000 // messages in a round
	gossipSaturated = 3_000

	// tunedQueue is the length of GossipSub's queues, in messages. The default is 32.
	tunedQueue = 4096
)

// linkContender delivers messages that one host publishes to all the others.
type linkContender struct {
	name string
	// start returns functions that publish a message and stop the contender. got is
	// called for every message that a receiver gets.
	start func(ctx context.Context, hosts []host.Host, got func(receiver int, data []byte)) (publish func([]byte) error, stop func(), err error)
}

var pacedContenders = []linkContender{
	{"ours", startLinks},
	{"gossipsub", startGossip(false)},
	{"gossipsub-tuned", startGossip(true)},
}

// saturating is a contender with its messages per round and its window.
type saturating struct {
	linkContender
	messages, window int
}

var saturatingContenders = []saturating{
	{linkContender{"ours", startLinks}, linksSaturated, linksWindow},
	{linkContender{"gossipsub", startGossip(false)}, gossipSaturated, gossipWindow},
}

// startLinks opens links from the publisher to each of the others.
func startLinks(_ context.Context, hosts []host.Host, got func(int, []byte)) (func([]byte) error, func(), error) {
	var all []*link.Links
	stop := func() {
		for _, l := range all {
			_ = l.Close()
		}
	}
	var peers []peer.ID
	for i, h := range hosts {
		l, err := link.New(h, link.Options{
			Open: func(ctx context.Context, p peer.ID, proto protocol.ID) (network.Stream, error) {
				return h.NewStream(ctx, p, proto)
			},
			Deliver: func(_ context.Context, m *message.Message) { got(i-1, m.Data) },
		})
		if err != nil {
			stop()
			return nil, nil, err
		}
		all = append(all, l)
		if i > 0 {
			peers = append(peers, h.ID())
		}
	}
	publisher := all[0]
	var failed atomic.Pointer[error]
	done := func(p peer.ID, err error) {
		if err != nil {
			err = fmt.Errorf("to %s: %w", p, err)
			failed.Store(&err)
		}
	}
	publish := func(data []byte) error {
		if err := failed.Load(); err != nil {
			return *err
		}
		return publisher.PostAll(peers, &message.Message{Type: linkType, Data: data}, link.Normal, done)
	}
	return publish, stop, nil
}

// startGossip uses a GossipSub topic whose messages are signed, as by default.
func startGossip(tuned bool) func(context.Context, []host.Host, func(int, []byte)) (func([]byte) error, func(), error) {
	var opts []pubsub.Option
	var subOpts []pubsub.SubOpt
	if tuned {
		opts = []pubsub.Option{pubsub.WithPeerOutboundQueueSize(tunedQueue), pubsub.WithValidateQueueSize(tunedQueue)}
		subOpts = []pubsub.SubOpt{pubsub.WithBufferSize(tunedQueue)}
	}
	return func(ctx context.Context, hosts []host.Host, got func(int, []byte)) (func([]byte) error, func(), error) {
		ctx, cancel := context.WithCancel(ctx)
		var ended sync.WaitGroup
		stop := func() { cancel(); ended.Wait() }
		var publisher *pubsub.Topic
		for i, h := range hosts {
			ps, err := pubsub.NewGossipSub(ctx, h, opts...)
			if err != nil {
				stop()
				return nil, nil, err
			}
			topic, err := ps.Join(linkType)
			if err != nil {
				stop()
				return nil, nil, err
			}
			sub, err := topic.Subscribe(subOpts...)
			if err != nil {
				stop()
				return nil, nil, err
			}
			if i == 0 {
				publisher = topic
			}
			ended.Go(func() {
				for {
					m, err := sub.Next(ctx)
					if err != nil {
						return
					}
					if i > 0 {
						got(i-1, m.Data)
					}
				}
			})
		}
		return func(data []byte) error { return publisher.Publish(ctx, data) }, stop, nil
	}
}

// warm marks a message that is not measured.
const warm = 1 << 63

// linkRun is a measurement of one contender.
type linkRun struct {
	publish func([]byte) error
	stop    func()

	start     time.Time
	warmed    [linkHosts - 1]atomic.Uint64  // the last warm-up message received
	count     [linkHosts - 1]atomic.Int64   // measured messages received
	published []atomic.Int64                // time of publishing, since start
	latencies [linkHosts - 1][]atomic.Int64 // 0: not received yet
	acks      [linkHosts - 1]chan struct{}  // one value for each step
	step      int64                         // messages; 0: nobody waits for acks
}

func (c linkContender) run(messages, step int) (*linkRun, error) {
	ctx := context.Background()
	hosts, stopHosts, err := startHosts(ctx, linkHosts)
	if err != nil {
		return nil, err
	}
	r := &linkRun{start: time.Now(), published: make([]atomic.Int64, messages), step: int64(step)}
	for i := range r.latencies {
		r.latencies[i] = make([]atomic.Int64, messages)
		r.acks[i] = make(chan struct{}, 4)
	}
	publish, stop, err := c.start(ctx, hosts, r.got)
	if err != nil {
		stopHosts()
		return nil, err
	}
	r.publish = publish
	r.stop = func() { stop(); stopHosts() }
	if err := r.warmUp(); err != nil {
		r.stop()
		return nil, fmt.Errorf("warm up: %w", err)
	}
	return r, nil
}

func (r *linkRun) got(receiver int, data []byte) {
	n := binary.BigEndian.Uint64(data)
	if n&warm != 0 {
		r.warmed[receiver].Store(n)
		return
	}
	r.latencies[receiver][n].Store(max(1, int64(time.Since(r.start))-r.published[n].Load()))
	count := r.count[receiver].Add(1)
	if r.step > 0 && count%r.step == 0 {
		r.acks[receiver] <- struct{}{}
	}
}

func (r *linkRun) send(n uint64) error {
	data := make([]byte, linkSize)
	binary.BigEndian.PutUint64(data, n)
	if n&warm == 0 {
		r.published[n].Store(int64(time.Since(r.start)))
	}
	return r.publish(data)
}

// warmUp publishes until each receiver has got several messages in a row: then streams are
// open and GossipSub has built its mesh.
func (r *linkRun) warmUp() error {
	const needed, limit = 20, 600
	row := 0
	for n := uint64(0); row < needed; n++ {
		if n == limit {
			return errors.New("not all receive what is published")
		}
		if err := r.send(warm | n); err != nil {
			return err
		}
		row++
		if until(100*time.Millisecond, func() bool { return r.warm(warm | n) }) != nil {
			row = 0
		}
	}
	return nil
}

func (r *linkRun) warm(n uint64) bool {
	for i := range r.warmed {
		if r.warmed[i].Load() != n {
			return false
		}
	}
	return true
}

func (r *linkRun) arrived() (n int64) {
	for i := range r.count {
		n += r.count[i].Load()
	}
	return n
}

// quiet waits until all messages have arrived, or none has for three seconds, which is
// longer than GossipSub takes to ask for messages that it was told of. It returns the
// usage at the time of the last arrival.
func (r *linkRun) quiet() usage {
	all := int64(len(r.published)) * int64(len(r.count))
	last, at := r.arrived(), usageNow()
	for last < all && time.Since(at.wall) < 3*time.Second {
		time.Sleep(time.Millisecond)
		if n := r.arrived(); n != last {
			last, at = n, usageNow()
		}
	}
	return at
}

// quantiles returns quantiles of the latencies of the messages that arrived, in
// microseconds.
func (r *linkRun) quantiles(qs ...float64) []float64 {
	var all []int64
	for i := range r.latencies {
		for j := range r.latencies[i] {
			if l := r.latencies[i][j].Load(); l > 0 {
				all = append(all, l)
			}
		}
	}
	slices.Sort(all)
	var us []float64
	for _, q := range qs {
		us = append(us, float64(all[min(int(q*float64(len(all))), len(all)-1)])/1e3)
	}
	return us
}

// linksPaced measures a publisher that sends a thousand messages a second, whether or not
// they arrive: their latency, how many are lost, and their cost. All rounds together take
// ten seconds.
func linksPaced(rounds int) ([]*figure, error) {
	contenders := pacedContenders
	var names []string
	for _, c := range contenders {
		names = append(names, c.name)
	}
	p50 := newFigure("links/p50", "us", names...)
	p99 := newFigure("links/p99", "us", names...)
	lost := newFigure("links/lost", "%", names...)
	cpu := newFigure("links/cpu", "cpu-us/delivery", names...)
	messages := int(pacedTotal.Seconds()*pacedRate) / rounds
	sent, missing := make(map[string]int64), make(map[string]int64)
	for round := range rounds {
		for i := range contenders {
			c := contenders[(i+round)%len(contenders)]
			if err := func() error {
				r, err := c.run(messages, 0)
				if err != nil {
					return err
				}
				defer r.stop()
				from := usageNow()
				for n := range messages {
					time.Sleep(time.Until(from.wall.Add(time.Duration(n) * time.Second / pacedRate)))
					if err := r.send(uint64(n)); err != nil {
						return err
					}
				}
				used := r.quiet().cpu - from.cpu
				arrived := r.arrived()
				if arrived == 0 {
					return errors.New("nothing arrived")
				}
				q := r.quantiles(0.5, 0.99)
				p50.add(c.name, q[0])
				p99.add(c.name, q[1])
				cpu.add(c.name, float64(used.Microseconds())/float64(arrived))
				all := int64(messages) * (linkHosts - 1)
				sent[c.name] += all
				missing[c.name] += all - arrived
				return nil
			}(); err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	for _, name := range names { // over all rounds: a median would hide losses
		lost.add(name, 100*float64(missing[name])/float64(sent[name]))
	}
	return []*figure{p99, p50, lost, cpu}, nil
}

// linksSaturate measures a publisher that is as fast as it can be, with up to the
// contender's window of messages under way.
func linksSaturate(rounds int) ([]*figure, error) {
	contenders := saturatingContenders
	var names []string
	for _, c := range contenders {
		names = append(names, c.name)
	}
	cpu := newFigure("links/saturated-cpu", "cpu-us/delivery", names...)
	rate := newFigure("links/saturated", "deliveries/s", names...)
	rate.more = true
	lost := newFigure("links/saturated-lost", "%", names...)
	missing := make(map[string]int64)
	for round := range rounds {
		for i := range contenders {
			c := contenders[(i+round)%len(contenders)]
			if err := func() error {
				r, err := c.run(c.messages, c.window/2)
				if err != nil {
					return err
				}
				defer r.stop()
				from := usageNow()
				to, err := r.saturate(c.messages, c.window/2)
				if err != nil {
					return err
				}
				arrived := r.arrived()
				rate.add(c.name, float64(arrived)/to.wall.Sub(from.wall).Seconds())
				cpu.add(c.name, float64((to.cpu-from.cpu).Nanoseconds())/1e3/float64(arrived))
				missing[c.name] += int64(c.messages)*(linkHosts-1) - arrived
				return nil
			}(); err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	for _, c := range contenders {
		lost.add(c.name, 100*float64(missing[c.name])/float64(int64(c.messages)*(linkHosts-1)*int64(rounds)))
	}
	return []*figure{cpu, rate, lost}, nil
}

// saturate publishes in steps. Each step begins when all receivers have got the step before
// the last. saturate returns the usage when the last message has arrived.
func (r *linkRun) saturate(messages, step int) (usage, error) {
	for n := range messages {
		if n%step == 0 && n >= 2*step {
			for i := range r.acks {
				select {
				case <-r.acks[i]:
				case <-time.After(10 * time.Second): // more than a step was lost
					return usage{}, fmt.Errorf("messages were lost: %d deliveries of %d messages", r.arrived(), n)
				}
			}
		}
		if err := r.send(uint64(n)); err != nil {
			return usage{}, err
		}
	}
	return r.quiet(), nil
}
