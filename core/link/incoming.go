package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/message"
)

// peerStreams bounds the inbound streams of one peer. An honest peer has one,
// and for a while those that it lost and this node does not yet know of.
const peerStreams = 4

// errRules is wrapped by the errors about envelopes that no honest peer sends.
var errRules = errors.New("broken rule of links")

// incoming is a stream that a peer opened, which is only read.
type incoming struct {
	peer   peer.ID
	stream network.Stream
	reader *message.Reader
	stall  stall

	// Of the reading goroutine.
	links    *Links
	lastType string // the last one that passed
	sumSteps int    // of stall: the sixty-fourths of a frame seen
	messages uint64 // not yet counted
	bytes    uint64
}

// accept reads a stream until it ends. It is called on a goroutine of the
// stream's own.
func (l *Links) accept(ctx context.Context, s network.Stream) {
	in := l.admit(s)
	if in == nil {
		_ = s.Reset()
		return
	}
	defer l.goroutines.Done()
	err := in.receive(ctx)
	in.count()
	if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		_ = s.Close()
		err = nil
	} else {
		_ = s.Reset()
	}
	l.leave(in, err)
}

// admit registers a stream, unless its peer has no right to one. The caller
// owes goroutines a Done.
func (l *Links) admit(s network.Stream) *incoming {
	p := s.Conn().RemotePeer()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	if l.offenders.refused(p, time.Now()) {
		l.count.refused.Add(1)
		return nil
	}
	r := l.remote(p)
	if len(r.in) >= peerStreams {
		l.count.refused.Add(1)
		return nil
	}
	in := &incoming{peer: p, stream: s, links: l}
	in.reader = message.NewReader(in, l.opts.MaxData)
	r.in[in] = struct{}{}
	l.goroutines.Add(1)
	return in
}

// leave forgets a stream. An err says that what the peer sent on it may be lost:
// its requests are given up, and so are ours, whose answers may have been on it.
func (l *Links) leave(in *incoming, err error) {
	l.mu.Lock()
	r := l.peers[in.peer]
	delete(r.in, in)
	offence := errors.Is(err, message.ErrMalformed) || errors.Is(err, message.ErrTooLarge) || errors.Is(err, errRules)
	var refuse time.Duration
	if offence {
		refuse = l.offenders.add(in.peer, time.Now())
	}
	var calls *outgoing
	if err != nil {
		for _, running := range r.running {
			if running.in == in {
				running.cancel()
			}
		}
		calls = r.out
	}
	l.tidy(in.peer)
	l.mu.Unlock()

	if calls != nil && calls.isOpen() {
		calls.failCalls(fmt.Errorf("%w: the stream of %s ended: %w", ErrLost, in.peer, err))
	}
	if offence {
		l.count.malformed.Add(1)
		l.log.Warn("a peer sent what is no message; its stream was reset", "peer", in.peer, "error", err, "refused", refuse)
	}
}

// receive handles messages until the stream ends, and returns why.
func (in *incoming) receive(ctx context.Context) error {
	for {
		m, err := in.reader.Next()
		in.stall.rest()
		if err != nil {
			return err
		}
		m.From, m.Via = in.peer, in.peer
		in.messages++
		switch m.Kind {
		case message.Event:
			if err := in.checkType(m.Type); err != nil {
				return err
			}
			in.links.opts.Deliver(ctx, m)
		case message.Request:
			if err := in.checkType(m.Type); err != nil {
				return err
			}
			if err := in.links.serve(ctx, in, m); err != nil {
				return err
			}
		case message.Reply, message.Error:
			in.links.answered(m)
		case message.Cancel:
			in.links.canceled(m)
		default:
			return fmt.Errorf("%w: a %s is for broadcasts", errRules, m.Kind)
		}
		if ctx.Err() != nil {
			return ErrClosed
		}
	}
}

func (in *incoming) checkType(t string) error {
	if t == in.lastType && t != "" {
		return nil
	}
	if err := message.CheckType(t); err != nil {
		return fmt.Errorf("%w: %w", errRules, err)
	}
	in.lastType = t
	return nil
}

// Read is what the Reader reads from: the stream, watched for stalls within a
// frame.
func (in *incoming) Read(b []byte) (int, error) {
	in.count()
	if within := in.reader.Buffered(); within > 0 {
		in.watch(within)
	}
	n, err := in.stream.Read(b)
	in.bytes += uint64(n)
	return n, err
}

// count adds up what was received since the last time: once per read rather
// than once per message.
func (in *incoming) count() {
	if in.messages > 0 || in.bytes > 0 {
		in.links.count.received.Add(in.messages)
		in.links.count.receivedBytes.Add(in.bytes)
		in.messages, in.bytes = 0, 0
	}
}

// watch makes progress of the beginning of a frame and of each 64 KiB of it,
// but not of each byte: a peer could send one now and then for ever.
func (in *incoming) watch(within int) {
	resting := in.stall.mark.Load()&1 == 0
	if steps := within / writeBuffer; resting || steps != in.sumSteps {
		in.sumSteps = steps
		in.stall.step()
	}
}
