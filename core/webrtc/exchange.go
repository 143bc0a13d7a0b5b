package webrtc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

// An exchange is the signalling of one connection.
type exchange struct {
	platform   Platform
	stream     network.Stream
	r          *bufio.Reader
	candidates chan string // candidates of this end, to be sent
	writing    sync.Mutex
	early      []string // candidates of the remote end that came before its description
	count      int      // messages that were read
	taken      int      // candidates of the remote end that were added
	unusable   error    // the error of the last candidate that could not be used
}

// offer makes the connection at the end that dialled.
func (c *conn) offer(ctx context.Context, x *exchange) error {
	if err := x.begin(c); err != nil {
		return err
	}
	ch, err := c.pc.OpenChannel(ctx, labelInit, "")
	if err != nil {
		return fmt.Errorf("open the first channel: %w", err)
	}
	first := newInitChannel()
	ch.Handle(first)
	sdp, err := c.pc.Offer(ctx)
	if err != nil {
		return fmt.Errorf("make an offer: %w", err)
	}
	if err := x.send(signal{kind: kindOffer, data: sdp, window: window, message: maxMessage}); err != nil {
		return fmt.Errorf("send the offer: %w", err)
	}
	answer, err := x.description(kindAnswer)
	if err != nil {
		return fmt.Errorf("%w: read the answer: %w", ErrRefused, orCause(ctx, err))
	}
	c.agree(answer)
	if err := c.pc.Accept(ctx, answer.data); err != nil {
		return fmt.Errorf("take the answer: %w", err)
	}
	if err := c.connect(ctx, x); err != nil {
		return err
	}
	return first.finish(ctx, ch)
}

// answer makes the connection that the remote end offers.
func (c *conn) answer(ctx context.Context, x *exchange) error {
	offer, err := x.description(kindOffer)
	if err != nil {
		c.pc = unmade{}
		return fmt.Errorf("read the offer: %w", orCause(ctx, err))
	}
	if err := x.begin(c); err != nil {
		return err
	}
	c.agree(offer)
	sdp, err := c.pc.Answer(ctx, offer.data)
	if err != nil {
		return fmt.Errorf("take the offer: %w", err)
	}
	if err := x.send(signal{kind: kindAnswer, data: sdp, window: window, message: maxMessage}); err != nil {
		return fmt.Errorf("send the answer: %w", err)
	}
	return c.connect(ctx, x)
}

// begin makes the platform's connection, and sends its candidates.
func (x *exchange) begin(c *conn) error {
	return c.begin(x.platform, func(candidate string) {
		select {
		case x.candidates <- candidate:
		default: // more than the remote end would accept
		}
	})
}

// begin makes the platform's connection; candidate receives this end's candidates.
func (c *conn) begin(p Platform, candidate func(string)) error {
	pc, err := p.New(c.events(candidate))
	if err != nil {
		c.pc = unmade{}
		return fmt.Errorf("%w: %w", ErrPlatform, err)
	}
	c.pc = pc
	return nil
}

// unmade stands in for the platform's connection if there is none.
type unmade struct{ PeerConnection }

func (unmade) Close() error { return nil }

// connect exchanges candidates until the ends are connected.
func (c *conn) connect(ctx context.Context, x *exchange) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var both sync.WaitGroup
	both.Go(func() { x.sendCandidates(ctx) })
	both.Go(func() {
		if err := x.takeCandidates(ctx, c.pc); err != nil {
			cancel(err)
		}
	})
	var err error
	select {
	case <-c.connected:
	case <-c.ended:
		err = c.endErr()
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	cancel(nil)
	_ = x.stream.SetReadDeadline(time.Now())
	both.Wait()
	if errors.Is(err, errTimeout) {
		err = fmt.Errorf("%w: %w: %d candidates of the peer were tried", ErrUnanswered, err, x.taken)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("connect: %w", err), x.unusable)
	}
	return nil
}

func (x *exchange) send(s signal) error {
	x.writing.Lock()
	defer x.writing.Unlock()
	_, err := x.stream.Write(s.append(nil))
	return err
}

// sendCandidates sends the candidates of this end until ctx ends. It ignores an error in
// sending: the remote end has all it wants, or reports the failure itself.
func (x *exchange) sendCandidates(ctx context.Context) {
	for {
		select {
		case candidate := <-x.candidates:
			if x.send(signal{kind: kindCandidate, data: candidate}) != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// takeCandidates adds the remote end's candidates until ctx ends or no more come. If the
// platform cannot use one, it continues with the others.
func (x *exchange) takeCandidates(ctx context.Context, pc PeerConnection) error {
	for _, candidate := range x.early {
		x.take(ctx, pc, candidate)
	}
	for {
		s, err := x.next()
		switch {
		case ctx.Err() != nil, errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, network.ErrReset): // the remote end has given up, a moment before this one
			return fmt.Errorf("%w: read candidates: %w", ErrUnanswered, err)
		case err != nil:
			return fmt.Errorf("%w: read candidates: %w", ErrRefused, err)
		case s.kind == kindCandidate:
			x.take(ctx, pc, s.data)
		}
	}
}

func (x *exchange) take(ctx context.Context, pc PeerConnection, candidate string) {
	if candidate == "" || candidate == "null" { // some implementations mark the end in this way
		return
	}
	if err := pc.AddCandidate(ctx, candidate); err != nil {
		x.unusable = fmt.Errorf("a candidate of the peer cannot be used: %w", err)
		return
	}
	x.taken++
}

// next reads a message. It bounds the number of messages.
func (x *exchange) next() (signal, error) {
	if x.count++; x.count > maxSignals {
		return signal{}, fmt.Errorf("the peer sent more than %d signalling messages", maxSignals)
	}
	return readSignal(x.r)
}

// description reads the remote end's offer or answer, and keeps the candidates that come
// before it.
func (x *exchange) description(kind uint64) (signal, error) {
	for {
		s, err := x.next()
		switch {
		case errors.Is(err, io.EOF):
			return signal{}, errors.New("the peer has ended the stream without one")
		case err != nil:
			return signal{}, err
		case s.kind == kind && s.data != "":
			return s, nil
		case s.kind == kindCandidate:
			x.early = append(x.early, s.data)
		default:
			return signal{}, fmt.Errorf("%w: its type is %d, not %d", errSignal, s.kind, kind)
		}
	}
}

// drainTimeout is how long the answering end waits for the other one to end the stream.
const drainTimeout = 5 * time.Second

// drain reads until the remote end, which opened the stream, ends it.
func (x *exchange) drain() {
	_ = x.stream.SetReadDeadline(time.Now().Add(drainTimeout))
	for {
		if _, err := x.next(); err != nil {
			return
		}
	}
}

// orCause returns the cause of the end of ctx if ctx has ended, and err otherwise.
func orCause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
