package link

import (
	"context"
	"errors"
	"fmt"

	"github.com/tombolo-net/tombolo/core/message"
)

// The kinds of answers, as the i of their items.
const (
	// refusal is an answer of the links themselves.
	refusal int32 = iota
	// outcomeOfHandler is the answer of a handler. Its request counts among those of its
	// peer until the answer is written.
	outcomeOfHandler
)

// errUnread ends a stream whose peer sends requests and does not read the answers.
var errUnread = errors.New("the peer does not read its answers")

// begin records a request whose handler is about to run.
func (in *incoming) begin(id message.ID, cancel context.CancelFunc) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.open++
	if in.ended {
		cancel()
		return
	}
	if in.running == nil {
		in.running = make(map[message.ID]context.CancelFunc)
	}
	in.running[id] = cancel
}

// isRunning reports whether the handler of a request is running.
func (in *incoming) isRunning(id message.ID) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.running[id] != nil
}

// cancel ends the ctx of the handler of a request that its sender has cancelled.
func (in *incoming) cancel(id message.ID) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if cancel := in.running[id]; cancel != nil {
		cancel()
	}
}

// returned records that the handler of a request has returned.
func (in *incoming) returned(id message.ID) {
	in.mu.Lock()
	defer in.mu.Unlock()
	delete(in.running, id)
}

// refuse answers a request with an error of this node's own.
func (in *incoming) refuse(m *message.Message, code message.Code, text string) {
	in.answerAtOnce(in.links.errorFor(m, code, text))
}

// answerAtOnce sends an answer that no handler has made.
func (in *incoming) answerAtOnce(m *message.Message) {
	in.mu.Lock()
	in.open++
	in.mu.Unlock()
	in.put(in.links.answerFrame(m), refusal)
}

// put queues an answer and does not wait. The answers of handlers are bounded by the
// number of requests that the peer may have; refusals are bounded here, in bytes. A peer
// with that many waiting answers does not read them: put ends its stream, which fails all
// its requests on it.
func (in *incoming) put(frame []byte, kind int32) {
	it := item{frame: frame, to: in, i: kind}
	in.mu.Lock()
	q := &in.queues[High]
	full := kind == refusal && q.n > 0 && q.bytes+len(frame) > in.links.opts.QueueBytes
	if full || in.ended {
		in.mu.Unlock()
		if full {
			in.end(errUnread)
		}
		in.drop([]item{it}, ErrLost)
		return
	}
	q.push(it)
	if !in.writing {
		in.writing = true
		in.links.goroutines.Go(in.writeAnswers) // not after Close, which ends the stream first
	}
	in.mu.Unlock()
}

// writeAnswers writes answers while there are any.
func (in *incoming) writeAnswers() {
	for in.next() {
		if err := in.writes.flush(in.reads.stream); err != nil {
			err = fmt.Errorf("write to %s: %w", in.peer, err)
			in.end(err)
			in.writes.tell(err)
			in.writes.release()
			return
		}
	}
}

// next makes a batch of the waiting answers. If there are none, it returns false, and
// another goroutine may write from then on.
func (in *incoming) next() bool {
	in.mu.Lock()
	if in.ended || !in.writes.take(&in.queues) {
		in.queues[High].trim()
		in.writes.release()
		in.writing = false
		in.mu.Unlock()
		return false
	}
	in.mu.Unlock()
	in.free(in.writes.batch)
	return true
}

// free makes room for new requests in place of those that are answered. It is called
// before the answers are written, because a peer that reads one may send the next request
// at once.
func (in *incoming) free(answers []item) {
	n := 0
	for _, it := range answers {
		if it.i == outcomeOfHandler {
			n++
		}
	}
	in.links.countActive(in.peer, -n)
}

// drop fails answers that are not going to be written.
func (in *incoming) drop(answers []item, why error) {
	in.free(answers)
	for _, it := range answers {
		it.tell(why)
	}
}

// sent is called for each answer, when it is written or with the reason why it is not.
func (in *incoming) sent(_ int32, err error) {
	if err != nil {
		in.links.count.unreplied.Add(1)
		in.links.log.Debug("an answer could not be sent", "peer", in.peer, "error", err)
	}
	in.settle()
}

// settle is called once for each request, when nothing is left to do for it.
func (in *incoming) settle() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.open--; in.open == 0 {
		in.settled.Broadcast()
	}
}

// drain waits until all requests are answered, or the stream has ended: a peer that
// half-closes the stream after its requests still gets its answers.
func (in *incoming) drain() {
	in.mu.Lock()
	defer in.mu.Unlock()
	for in.open > 0 && !in.ended {
		in.settled.Wait()
	}
}

// end ends the stream, once. It cancels the handlers and drops the waiting answers. If
// why is nil or ErrClosed, it does not reset the stream unless it must, because answers
// that were written must still arrive.
func (in *incoming) end(why error) {
	in.mu.Lock()
	if in.ended {
		in.mu.Unlock()
		return
	}
	in.ended = true
	for _, cancel := range in.running {
		cancel()
	}
	var left []item
	for q := &in.queues[High]; q.n > 0; {
		left = append(left, q.pop())
	}
	in.queues[High].trim()
	stuck := in.writing
	in.settled.Broadcast()
	in.mu.Unlock()
	quiet := why == nil || errors.Is(why, ErrClosed)
	if stuck || !quiet || in.reads.stream.Close() != nil {
		_ = in.reads.stream.Reset()
	}
	in.drop(left, why)
}

// queued returns the size of the waiting answers.
func (in *incoming) queued() Queued {
	in.mu.Lock()
	defer in.mu.Unlock()
	return Queued{Messages: in.queues[High].n, Bytes: in.queues[High].bytes}
}
