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
	candidates chan string // of this end, to be sent
	writing    sync.Mutex
	early      []string // candidates of the far side that came before its description
	count      int      // of messages that were read
	taken      int      // candidates of the far side
	unusable   error    // of the last candidate that was of no use
}

// offer makes the connection whose circuit this end dialled on.
func (c *conn) offer(ctx context.Context, x *exchange) error {
	if err := x.begin(c); err != nil {
		return err
	}
	ch, err := c.pc.OpenChannel(ctx, labelInit)
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

// answer makes the connection that the far side offers.
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

// begin makes the platform's connection, whose candidates are sent.
func (x *exchange) begin(c *conn) error {
	return c.begin(x.platform, func(candidate string) {
		select {
		case x.candidates <- candidate:
		default: // more than the far side would take, too
		}
	})
}

// begin makes the platform's connection; candidate takes this end's.
func (c *conn) begin(p Platform, candidate func(string)) error {
	pc, err := p.New(c.events(candidate))
	if err != nil {
		c.pc = unmade{}
		return fmt.Errorf("%w: %w", ErrPlatform, err)
	}
	c.pc = pc
	return nil
}

// unmade stands for the platform's connection that there is not.
type unmade struct{ PeerConnection }

func (unmade) Close() error { return nil }

// connect exchanges candidates until the ends speak.
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

// sendCandidates sends the candidates of this end until ctx ends. An error in sending is
// ignored: the far side has all it wants, or reports the failure itself.
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

// takeCandidates takes the far side's until ctx ends or no more come. One that the
// platform cannot use is not the end of the others.
func (x *exchange) takeCandidates(ctx context.Context, pc PeerConnection) error {
	for _, candidate := range x.early {
		x.take(ctx, pc, candidate)
	}
	for {
		s, err := x.next()
		switch {
		case ctx.Err() != nil, errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, network.ErrReset): // it has given up, a moment before this end
			return fmt.Errorf("%w: read candidates: %w", ErrUnanswered, err)
		case err != nil:
			return fmt.Errorf("%w: read candidates: %w", ErrRefused, err)
		case s.kind == kindCandidate:
			x.take(ctx, pc, s.data)
		}
	}
}

func (x *exchange) take(ctx context.Context, pc PeerConnection, candidate string) {
	if candidate == "" || candidate == "null" { // the end of them, as some say it
		return
	}
	if err := pc.AddCandidate(ctx, candidate); err != nil {
		x.unusable = fmt.Errorf("a candidate of the peer cannot be used: %w", err)
		return
	}
	x.taken++
}

// next reads a message, of a number that is bounded.
func (x *exchange) next() (signal, error) {
	if x.count++; x.count > maxSignals {
		return signal{}, fmt.Errorf("the far side sent more than %d signalling messages", maxSignals)
	}
	return readSignal(x.r)
}

// description reads the far side's offer or answer, and keeps the candidates that come
// before it.
func (x *exchange) description(kind uint64) (signal, error) {
	for {
		s, err := x.next()
		switch {
		case errors.Is(err, io.EOF):
			return signal{}, errors.New("the far side has ended the stream without one")
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

// drainTimeout is how long the end that answered waits for the other to end the stream.
const drainTimeout = 5 * time.Second

// drain reads what is left until the far side, which began, ends the stream.
func (x *exchange) drain() {
	_ = x.stream.SetReadDeadline(time.Now().Add(drainTimeout))
	for {
		if _, err := x.next(); err != nil {
			return
		}
	}
}

// orCause is why ctx has ended, where that made err.
func orCause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
