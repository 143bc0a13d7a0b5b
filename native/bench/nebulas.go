package main

import (
	"sync"
	"sync/atomic"
	"time"
)

// nebulas is a reimplementation of the design of Nebulas' dispatcher: one inbound queue, one
// goroutine that distributes its messages, a table of subscribers by type, and a bounded
// channel for each, which drops messages when it is full. It does not look for duplicates,
// because Nebulas need not.
type nebulas struct {
	inbound     chan *nebulasMessage
	subscribers sync.Map // type -> *sync.Map of *nebulasSubscriber
	waiting     atomic.Int64
	dropped     atomic.Uint64
	quit        chan struct{}
	ended       sync.WaitGroup
}

type nebulasMessage struct {
	typ  string
	data []byte
}

type nebulasSubscriber struct {
	typ string
	ch  chan *nebulasMessage
}

const nebulasInbound = 65536 // messages

func newNebulas() *nebulas {
	n := &nebulas{inbound: make(chan *nebulasMessage, nebulasInbound), quit: make(chan struct{})}
	n.ended.Go(n.loop)
	return n
}

func (n *nebulas) loop() {
	gauge := time.NewTicker(time.Second)
	defer gauge.Stop()
	for {
		select {
		case <-gauge.C:
			n.waiting.Store(int64(len(n.inbound)))
		case <-n.quit:
			return
		case m := <-n.inbound:
			set, ok := n.subscribers.Load(m.typ)
			if !ok {
				continue
			}
			set.(*sync.Map).Range(func(s, _ any) bool {
				select {
				case s.(*nebulasSubscriber).ch <- m:
				default:
					n.dropped.Add(1)
				}
				return true
			})
		}
	}
}

func (n *nebulas) put(m *nebulasMessage) { n.inbound <- m }

func (n *nebulas) register(s *nebulasSubscriber) {
	set, _ := n.subscribers.LoadOrStore(s.typ, new(sync.Map))
	set.(*sync.Map).Store(s, true)
}

func (n *nebulas) deregister(s *nebulasSubscriber) {
	if set, ok := n.subscribers.Load(s.typ); ok {
		set.(*sync.Map).Delete(s)
	}
}

func (n *nebulas) stop() {
	close(n.quit)
	n.ended.Wait()
}
