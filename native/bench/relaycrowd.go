package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/mesh"
	"github.com/tombolo-net/tombolo/core/message"
	"github.com/tombolo-net/tombolo/native"
)

// The numbers of peers on a type that newcomers join.
var crowds = []int{200, 600, 1000}

const (
	crowdType     = "bench"
	crowdNewcomer = 16 // joins that are measured
	crowdWatchers = 4  // joins that watch presence; fewer, because each answer may go to everyone
	crowdAtOnce   = 8
	crowdTries    = 5
	crowdRest     = 3 * time.Second // if little is written in this time, everything has been
)

// relayCrowd measures what a newcomer to a type of message with many peers costs the relay:
// CPU time and bytes written. The newcomers are Tombolo nodes. The peers that are there
// already are bare peers that speak GossipSub and presence but do not check signatures: a
// thousand nodes that did would measure this process.
func relayCrowd(rounds int) (figures []*figure, err error) {
	for range min(rounds, 2) {
		var of []*figure
		if of, err = measureCrowds(); err != nil {
			break
		}
		if figures == nil {
			figures = of
			continue
		}
		for i, f := range figures {
			f.add("ours", of[i].values["ours"][0])
		}
	}
	return figures, err
}

func measureCrowds() (figures []*figure, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	r, err := startBareRelay(ctx, "ours")
	if err != nil {
		return nil, err
	}
	defer r.stop()
	c := crowd{r: r}
	defer c.close()
	for _, size := range crowds {
		if err := c.grow(ctx, size); err != nil {
			return figures, err
		}
		for _, watching := range []bool{false, true} {
			of, err := c.measure(ctx, size, watching)
			if figures = append(figures, of...); err != nil {
				return figures, err
			}
		}
	}
	return figures, nil
}

// crowd is the peers that are on the type.
type crowd struct {
	r  *bareRelay
	mu sync.Mutex

	hosts []host.Host
}

func (c *crowd) close() {
	for _, h := range c.hosts {
		_ = h.Close()
	}
}

// grow adds peers until the crowd has the given size.
func (c *crowd) grow(ctx context.Context, size int) error {
	more := size - len(c.hosts)
	errs := make(chan error, more)
	places := make(chan struct{}, crowdAtOnce)
	for range more {
		places <- struct{}{}
		go func() {
			h, err := bareMember(ctx, c.r.over("ws"))
			for tries := 1; err != nil && tries < crowdTries; tries++ { // a dial may take five seconds at most, even on a busy machine
				h, err = bareMember(ctx, c.r.over("ws"))
			}
			if err == nil {
				c.mu.Lock()
				c.hosts = append(c.hosts, h)
				c.mu.Unlock()
			}
			errs <- err
			<-places
		}()
	}
	var failed error
	for range more {
		failed = errors.Join(failed, <-errs)
	}
	return errors.Join(failed, c.settled())
}

// measure lets some nodes join, one after the other, and leave again.
func (c *crowd) measure(ctx context.Context, size int, watching bool) (figures []*figure, err error) {
	name, count := fmt.Sprintf("relay-crowd/%d", size), crowdNewcomer
	if watching {
		name, count = name+"-watching", crowdWatchers
	}
	cpu, bytes := newFigure(name, "ms", "ours"), newFigure(name+"-written", "KB", "ours")
	var nodes []*core.Node
	defer func() {
		for _, n := range nodes {
			_ = n.Close()
		}
		err = errors.Join(err, c.settled())
	}()
	all := []*process{c.r.process}
	cpuBefore, written := cpuOf(all), writtenBy(c.r.process)
	for range count {
		n, err := native.New(ctx, native.Options{Listen: []ma.Multiaddr{}, NoMDNS: true, Relays: []peer.AddrInfo{c.r.over("ws")}})
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, n)
		if _, err := n.Subscribe(crowdType); err != nil {
			return nil, err
		}
		if watching {
			p, err := n.Presence(crowdType)
			if err != nil {
				return nil, err
			}
			defer p.Close()
		}
		if err := until(time.Minute, func() bool { return len(n.Reservations()) == 1 }); err != nil {
			return nil, err
		}
	}
	if err := c.settled(); err != nil {
		return nil, err
	}
	cpu.add("ours", float64(cpuOf(all)-cpuBefore)/float64(time.Millisecond)/float64(count))
	bytes.add("ours", float64(writtenBy(c.r.process)-written)/1000/float64(count))
	return []*figure{cpu, bytes}, nil
}

// settled waits until the relay writes little.
func (c *crowd) settled() error {
	from := writtenBy(c.r.process)
	return until(5*time.Minute, func() bool {
		time.Sleep(crowdRest)
		now := writtenBy(c.r.process)
		was := from
		from = now
		return now-was < 100_000*uint64(crowdRest/time.Second)
	})
}

// writtenBy returns how many bytes a process has written, also to sockets, or 0 if the
// system does not report it.
func writtenBy(p *process) (n uint64) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, after, _ := bytes.Cut(b, []byte("wchar: "))
	_, _ = fmt.Sscan(string(after), &n)
	return n
}

// bareMember returns a peer on the type that announces itself and answers presence queries.
func bareMember(ctx context.Context, relay peer.AddrInfo) (host.Host, error) {
	h, err := bareClient("ws")
	if err != nil {
		return nil, err
	}
	m := &member{Host: h, topic: mesh.DefaultNetwork + "/" + crowdType, epoch: uint64(time.Now().UnixMicro())}
	h.SetStreamHandler(pubsub.GossipSubID_v11, m.hear)
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := h.Connect(ctx, relay); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	if m.out, err = h.NewStream(ctx, relay.ID, pubsub.GossipSubID_v11); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	m.send(&pb.RPC{
		Subscriptions: []*pb.RPC_SubOpts{{Topicid: &m.topic, Subscribe: new(true)}},
		Control:       &pb.ControlMessage{Graft: []*pb.ControlGraft{{TopicID: &m.topic}}},
	})
	m.answer()
	return h, nil
}

type member struct {
	host.Host
	topic string
	epoch uint64

	mu       sync.Mutex
	out      network.Stream
	seq      uint64
	answered time.Time
}

// hear reads the relay's messages.
func (m *member) hear(s network.Stream) {
	defer s.Reset()
	r := bufio.NewReader(s)
	for {
		n, err := binary.ReadUvarint(r)
		if err != nil {
			return
		}
		frame := make([]byte, n)
		if _, err := io.ReadFull(r, frame); err != nil {
			return
		}
		var rpc pb.RPC
		if rpc.Unmarshal(frame) != nil {
			return
		}
		for _, p := range rpc.Publish {
			var msg message.Message
			if msg.Decode(p.Data, nil) == nil && msg.Kind == message.Who && len(msg.Data) == 0 {
				time.AfterFunc(rand.N(200*time.Millisecond), m.answer)
			}
		}
	}
}

// answer announces the member's presence, at most once a second.
func (m *member) answer() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Since(m.answered) < time.Second {
		return
	}
	m.answered = time.Now()
	m.seq++
	here := message.Message{Kind: message.Here, ID: message.ID{Epoch: m.epoch, Seq: m.seq}}
	msg := &pb.Message{
		From: []byte(m.ID()), Topic: &m.topic, Data: here.Append(nil),
		Seqno: binary.BigEndian.AppendUint64(nil, m.seq),
	}
	unsigned, err := msg.Marshal()
	if err == nil {
		msg.Signature, err = m.Peerstore().PrivKey(m.ID()).Sign(append([]byte(pubsub.SignPrefix), unsigned...))
	}
	if err == nil {
		m.write(&pb.RPC{Publish: []*pb.Message{msg}})
	}
}

func (m *member) send(rpc *pb.RPC) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.write(rpc)
}

// write is send with mu held. If it fails, the connection has ended.
func (m *member) write(rpc *pb.RPC) {
	if b, err := rpc.Marshal(); err == nil {
		_, _ = m.out.Write(append(binary.AppendUvarint(nil, uint64(len(b))), b...))
	}
}
