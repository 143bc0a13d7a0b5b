package core

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
	"github.com/multiformats/go-multistream"
	"github.com/multiformats/go-varint"

	"github.com/tombolo-net/tombolo/core/internal/feed"
)

// The time after which a peer whose identification failed is asked again. It doubles each
// time.
const (
	minAskAgain = time.Second
	maxAskAgain = time.Minute
)

// identifyPart repeats failed identifications. Libp2p asks once for each connection and
// waits five seconds (https://github.com/libp2p/specs/tree/master/identify). If a peer
// was frozen or busy at that time, libp2p would not know its protocols for as long as
// they are connected: GossipSub would not speak to the peer, and discovery would not ask
// it.
func (n *Node) identifyPart() Part {
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	var sub event.Subscription
	return Part{
		Name: "identify",
		Start: func(context.Context) (err error) {
			sub, err = n.host.EventBus().Subscribe([]any{
				new(event.EvtPeerIdentificationFailed), new(event.EvtPeerIdentificationCompleted),
			}, eventbus.Name("tombolo identify"), eventbus.BufSize(feed.Buffer))
			if err == nil {
				running.Go(func() { n.identifyAgain(ctx, sub.Out(), &running) })
			}
			return err
		},
		Close: func() error {
			stop()
			running.Wait()
			return sub.Close()
		},
	}
}

func (n *Node) identifyAgain(ctx context.Context, news <-chan any, running *sync.WaitGroup) {
	type question struct {
		at   time.Time
		wait time.Duration
	}
	unknown := make(map[peer.ID]question)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-news:
			switch e := e.(type) {
			case event.EvtPeerIdentificationCompleted:
				delete(unknown, e.Peer)
			case event.EvtPeerIdentificationFailed:
				if _, asked := unknown[e.Peer]; !asked && !refused(e.Reason) {
					unknown[e.Peer] = question{time.Now().Add(minAskAgain), minAskAgain}
				}
			}
		case <-timer.C:
		}
		now, next := time.Now(), time.Time{}
		for p, q := range unknown {
			if !q.at.After(now) {
				conns := byPreference(n.host.Network().ConnsToPeer(p))
				if len(conns) == 0 {
					delete(unknown, p)
					continue
				}
				running.Go(func() { n.askWho(ctx, conns[0]) })
				q.wait = min(2*q.wait, maxAskAgain)
				q.at = now.Add(identify.DefaultTimeout + q.wait)
				unknown[p] = q
			}
			if next.IsZero() || q.at.Before(next) {
				next = q.at
			}
		}
		if next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
	}
}

// refused reports whether the peer does not speak identify.
func refused(err error) bool {
	return errors.As(err, new(multistream.ErrNotSupported[protocol.ID]))
}

// askWho asks the peer at the other end of a connection once to identify itself. If it
// answers, the host emits EvtPeerIdentificationCompleted.
func (n *Node) askWho(ctx context.Context, c network.Conn) {
	ctx = network.WithAllowLimitedConn(ctx, "identify")
	s, err := newestHost{n.host}.openOn(ctx, c, identify.DefaultTimeout, []protocol.ID{identify.ID})
	if err == nil {
		defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
		if err = n.readIdentity(s); err != nil {
			_ = s.Reset()
		}
	}
	if err != nil {
		n.log.Debug("a peer does not say who it is", "peer", c.RemotePeer(), "error", err)
	}
}

// readIdentity reads the answer. Libp2p has no function for that, but an answer has the
// same format as a push, so the handler for pushes reads it.
func (n *Node) readIdentity(s network.Stream) error {
	var push bytes.Buffer
	for _, token := range []string{"/multistream/1.0.0\n", identify.IDPush + "\n"} {
		push.Write(varint.ToUvarint(uint64(len(token))))
		push.WriteString(token)
	}
	_, handle, err := n.host.Mux().Negotiate(struct {
		io.Reader
		io.Writer
		io.Closer
	}{&push, io.Discard, io.NopCloser(nil)})
	if err != nil {
		return fmt.Errorf("find the handler of %s: %w", identify.IDPush, err)
	}
	return handle(identify.IDPush, s)
}
