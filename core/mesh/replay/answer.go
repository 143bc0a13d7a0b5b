package replay

import (
	"bufio"
	"errors"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/message"
)

// handle answers one stream.
func (s *Service) handle(stream network.Stream) {
	leave, err := s.enter(func() { _ = stream.Reset() })
	if err != nil {
		_ = stream.Reset()
		return
	}
	defer leave()
	s.stats.asked.Add(1)
	from := stream.Conn().RemotePeer()
	if err := s.answer(stream, from); err != nil {
		_ = stream.Reset()
		s.stats.failed.Add(1)
		s.opts.Logger.Debug("replay: an answer broke off", "peer", from, "error", err)
		return
	}
	_ = stream.Close()
}

func (s *Service) answer(stream network.Stream, from peer.ID) error {
	// A peer is admitted before its request is read, because reading it takes memory,
	// too.
	leave, retry := s.guard.admit(from)
	if leave == nil {
		s.stats.busy.Add(1)
		return s.end(stream, wireEnd{status: busy, retryAfter: retry})
	}
	defer leave()
	if err := stream.SetReadDeadline(time.Now().Add(askTimeout)); err != nil {
		return err
	}
	b, err := readFrame(bufio.NewReader(stream), maxAsk)
	if err != nil && !errors.Is(err, message.ErrTooLarge) {
		return err
	}
	var ask *wireAsk
	if err == nil {
		ask, err = decodeAsk(b)
	}
	if err != nil {
		s.stats.bad.Add(1)
		s.opts.Logger.Debug("replay: a bad ask", "peer", from, "error", err)
		return s.end(stream, wireEnd{status: badAsk})
	}
	history, err := s.history(ask.typ)
	if err != nil {
		s.stats.answered.Add(1)
		return s.end(stream, wireEnd{status: noHistory})
	}
	if err := s.send(stream, history.extract(ask.cursors(), s.bounds(ask))); err != nil {
		return err
	}
	s.stats.answered.Add(1)
	return nil
}

func (a *wireAsk) cursors() map[peer.ID]*Cursor {
	m := make(map[peer.ID]*Cursor, len(a.have))
	for i := range a.have {
		m[a.have[i].Publisher] = &a.have[i]
	}
	return m
}

// bounds returns what was asked for, within what this peer is willing to send.
func (s *Service) bounds(a *wireAsk) bounds {
	within := func(asked uint64, own int) int {
		if asked == 0 || asked > uint64(own) {
			return own
		}
		return int(asked)
	}
	b := bounds{
		messages: within(a.messages, s.opts.AnswerMessages),
		bytes:    within(a.bytes, s.opts.AnswerBytes),
		entry:    within(a.entry, s.opts.MaxEntry),
	}
	if a.age > 0 {
		b.cutoff = time.Now().Add(-a.age)
	}
	return b
}

// send writes an answer. One deadline applies to all of it, so that an asker that stalls
// does not keep it in memory for longer.
func (s *Service) send(stream network.Stream, x extract) error {
	if err := stream.SetWriteDeadline(time.Now().Add(s.opts.Timeout)); err != nil {
		return err
	}
	w := bufio.NewWriterSize(stream, ownBuffer)
	now := time.Now()
	var b []byte
	write := func(f wireFrame) error {
		b = appendFrame(b[:0], f.append(nil))
		_, err := w.Write(b)
		return err
	}
	for _, r := range x.entries {
		if err := write(wireFrame{entry: &wireEntry{signed: r.Signed, age: now.Sub(r.Received)}}); err != nil {
			return err
		}
		s.stats.sent.Add(1)
		s.stats.sentBytes.Add(uint64(len(r.Signed)))
	}
	for i := range x.known {
		if err := write(wireFrame{known: &x.known[i]}); err != nil {
			return err
		}
	}
	if err := write(wireFrame{end: &wireEnd{more: x.more, forgotten: x.forgotten}}); err != nil {
		return err
	}
	return w.Flush()
}

// end sends an answer that consists of the status alone.
func (s *Service) end(stream network.Stream, e wireEnd) error {
	if err := stream.SetWriteDeadline(time.Now().Add(askTimeout)); err != nil {
		return err
	}
	_, err := stream.Write(appendFrame(nil, (&wireFrame{end: &e}).append(nil)))
	return err
}
