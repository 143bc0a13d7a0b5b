package replay

import (
	"bufio"
	"io"
	"time"
)

// OfPublishers makes a history remember at most n publishers.
func (o HistoryOptions) OfPublishers(n int) HistoryOptions {
	o.publishers = n
	return o
}

// The rest is for tests with a peer that lies.

// Statuses of an answer.
const (
	Answered  = uint64(answered)
	BusyPeer  = uint64(busy)
	NoHistory = uint64(noHistory)
	BadAsk    = uint64(badAsk)
)

// MaxAsk is the size of the largest Ask.
const MaxAsk = maxAsk

// EntryFrame returns the frame of an entry, as on the wire.
func EntryFrame(signed []byte) []byte {
	return appendFrame(nil, (&wireFrame{entry: &wireEntry{signed: signed}}).append(nil))
}

// KnownFrame returns the frame that lists a peer's known broadcasts, as on the wire.
func KnownFrame(k Known) []byte { return appendFrame(nil, (&wireFrame{known: &k}).append(nil)) }

// EndFrame returns the last frame of an answer, as on the wire.
func EndFrame(how uint64, more bool, retryAfter time.Duration) []byte {
	e := wireEnd{status: status(how), more: more, retryAfter: retryAfter}
	return appendFrame(nil, (&wireFrame{end: &e}).append(nil))
}

// AnyFrame puts its length before b.
func AnyFrame(b []byte) []byte { return appendFrame(nil, b) }

// AskFrame returns an Ask, as on the wire.
func AskFrame(typ string, have []Cursor) []byte {
	return appendFrame(nil, (&wireAsk{typ: typ, have: have}).append(nil))
}

// ReadAsk reads what AskFrame returns.
func ReadAsk(r io.Reader) (have []Cursor, messages uint64, err error) {
	b, err := readFrame(bufio.NewReader(r), maxAsk)
	if err != nil {
		return nil, 0, err
	}
	a, err := decodeAsk(b)
	if err != nil {
		return nil, 0, err
	}
	return a.have, a.messages, nil
}

// ReadStatus reads an answer to its end, and returns its status and the number of
// entries before that.
func ReadStatus(r io.Reader) (status uint64, retryAfter time.Duration, entries int, err error) {
	for in := bufio.NewReader(r); ; {
		b, err := readFrame(in, maxKnown)
		if err != nil {
			return 0, 0, entries, err
		}
		f, err := decodeFrame(b)
		switch {
		case err != nil:
			return 0, 0, entries, err
		case f.entry != nil:
			entries++
		case f.end != nil:
			return uint64(f.end.status), f.end.retryAfter, entries, nil
		}
	}
}
