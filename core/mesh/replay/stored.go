package replay

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
)

// The values in a store are protobuf, like the messages of replay.proto, each preceded by
// its CRC-32C:
//
//	message StoredEntry     { bytes publisher = 1; uint64 epoch = 2; uint64 seq = 3; uint64 received_us = 4; bytes signed = 5; }
//	message StoredPublisher { bytes publisher = 1; uint64 floor = 2; uint64 active_us = 3; repeated StoredEpoch epochs = 4; }
//	message StoredEpoch     { uint64 epoch = 1; repeated uint64 had = 2; uint64 given_up = 3; uint64 out = 4; uint64 out_us = 5; uint64 given_to = 6; }
//	message StoredForgotten { uint64 publishers = 1; uint64 active_us = 2; }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func seal(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(b)), crc32.Checksum(b, castagnoli)), b...)
}

func unseal(b []byte) ([]byte, error) {
	if len(b) < 4 || binary.BigEndian.Uint32(b) != crc32.Checksum(b[4:], castagnoli) {
		return nil, fmt.Errorf("%w: the checksum is wrong", errMalformed)
	}
	return b[4:], nil
}

// micros returns 0 for the zero time.
func micros(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(t.UnixMicro())
}

func fromMicros(us uint64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(us))
}

func (r *record) append(b []byte) []byte {
	b = appendString(b, 1, string(r.Publisher))
	b = appendNumber(b, 2, r.ID.Epoch)
	b = appendNumber(b, 3, r.ID.Seq)
	b = appendNumber(b, 4, micros(r.Received))
	return appendBytes(b, 5, r.Signed)
}

func decodeRecord(b []byte) (*record, error) {
	r := new(record)
	var us uint64
	err := decode(b, numbers{2: &r.ID.Epoch, 3: &r.ID.Seq, 4: &us}, messages{
		1: decodePublisher(&r.Publisher),
		5: func(v []byte) error {
			r.Signed = slices.Clone(v)
			return nil
		},
	})
	r.Received = fromMicros(us)
	if err == nil && (r.Publisher == "" || r.ID.Epoch == 0 || r.ID.Seq == 0) {
		err = fmt.Errorf("%w: an entry of nobody, or without an ID", errMalformed)
	}
	return r, err
}

func (p *publisher) append(b []byte) []byte {
	b = appendString(b, 1, string(p.id))
	b = appendNumber(b, 2, p.floor)
	b = appendNumber(b, 3, micros(p.active))
	for _, e := range p.epochs {
		x := appendRanges(appendNumber(nil, 1, e.number), 2, e.had)
		x = appendNumber(x, 3, e.givenUp)
		x = appendNumber(x, 4, e.out)
		x = appendNumber(x, 5, micros(e.outAt))
		b = appendBytes(b, 4, appendNumber(x, 6, e.givenTo))
	}
	return b
}

func decodeStoredPublisher(b []byte) (*publisher, error) {
	p := new(publisher)
	var active uint64
	err := decode(b, numbers{2: &p.floor, 3: &active}, messages{
		1: decodePublisher(&p.id),
		4: func(v []byte) error {
			e := new(epoch)
			var outAt uint64
			ns := numbers{1: &e.number, 3: &e.givenUp, 4: &e.out, 5: &outAt, 6: &e.givenTo}
			if err := decode(v, ns, messages{2: decodeRanges(&e.had, MaxRanges)}); err != nil {
				return err
			}
			e.outAt = fromMicros(outAt)
			p.epochs = append(p.epochs, e)
			return nil
		},
	})
	p.active = fromMicros(active)
	last := p.floor
	for _, e := range p.epochs {
		if e.number <= last && err == nil {
			err = fmt.Errorf("%w: the epochs are not in order", errMalformed)
		}
		last = e.number
	}
	if err == nil && (p.id == "" || len(p.epochs) > MaxEpochs) {
		err = fmt.Errorf("%w: a publisher of no name, or with %d epochs", errMalformed, len(p.epochs))
	}
	return p, err
}

func (f *forgotten) append(b []byte) []byte {
	return appendNumber(appendNumber(b, 1, f.publishers), 2, micros(f.active))
}

func (f *forgotten) decode(b []byte) error {
	var active uint64
	err := decode(b, numbers{1: &f.publishers, 2: &active}, nil)
	f.active = fromMicros(active)
	return err
}

// stored is what a store has of a history.
type stored struct {
	publishers []*publisher
	records    []*record
	forgotten  forgotten
	damaged    map[datastore.Key]error
}

// load reads everything that a store has of the history.
func (s *store) load(ctx context.Context) (found stored, err error) {
	results, err := s.ds.Query(ctx, query.Query{Prefix: s.prefix.String()})
	if err != nil {
		return found, err
	}
	defer results.Close()
	found.damaged = make(map[datastore.Key]error)
	for {
		result, ok := results.NextSync()
		if !ok {
			return found, nil
		}
		if result.Error != nil {
			return found, result.Error
		}
		key := datastore.RawKey(result.Key)
		if err := found.read(s, key, result.Value); err != nil {
			found.damaged[key] = err
		}
	}
}

// read decodes one value of a store.
func (f *stored) read(s *store, key datastore.Key, value []byte) error {
	b, err := unseal(value)
	if err != nil {
		return err
	}
	belongs := func(want datastore.Key) error {
		if want != key {
			return fmt.Errorf("%w: it belongs under %s", errMalformed, want)
		}
		return nil
	}
	switch kind, _, _ := strings.Cut(strings.TrimPrefix(key.String(), s.prefix.String()+"/"), "/"); kind {
	case "e":
		r, err := decodeRecord(b)
		if err == nil {
			err = belongs(s.entryKey(r))
		}
		if err == nil {
			f.records = append(f.records, r)
		}
		return err
	case "p":
		p, err := decodeStoredPublisher(b)
		if err == nil {
			err = belongs(s.publisherKey(p.id))
		}
		if err == nil {
			f.publishers = append(f.publishers, p)
		}
		return err
	case "f":
		return f.forgotten.decode(b)
	}
	return fmt.Errorf("%w: not of a kind that is known", errMalformed)
}

// restore merges what was stored with what is remembered. The limits are not enforced
// yet.
func (h *History) restore(found stored) {
	for key, err := range found.damaged {
		h.stats.Damaged++
		h.log.Warn("replay: a damaged record in the store is deleted", "key", key, "error", err)
		h.store.writer.Change(key, nil)
	}
	h.forgotten.join(found.forgotten)
	for _, p := range found.publishers {
		if known := h.publishers[p.id]; known != nil {
			h.stats.GivenUp += known.join(p)
		} else {
			h.remember(p)
		}
	}
	now := time.Now()
	slices.SortFunc(found.records, func(a, b *record) int { return a.Received.Compare(b.Received) })
	for _, r := range found.records {
		if r.Received.After(now) {
			r.Received = now // the clock went back
		}
		h.restoreRecord(r)
	}
	for _, p := range h.publishers {
		h.dropBelowFloor(p)
	}
	h.sortSilent()
}

func (h *History) restoreRecord(r *record) {
	p := h.publishers[r.Publisher]
	if p == nil { // its record was damaged, or not written yet
		p = h.remember(&publisher{id: r.Publisher, active: r.Received})
	}
	switch {
	case p.holding(r.ID) != nil:
		return // it has come meanwhile
	case p.seen(r.ID):
	case r.ID.Epoch <= p.lowest():
		h.unstoreEntry(r)
		return
	default:
		p.epoch(r.ID.Epoch).had.add(r.ID.Seq)
		h.stats.GivenUp += p.trim()
		h.dirty(p)
	}
	r.publisher = p
	h.hold(r)
	h.stats.Loaded++
}

// sortSilent orders the publishers by when they were last heard.
func (h *History) sortSilent() {
	all := slices.SortedFunc(maps.Values(h.publishers), func(a, b *publisher) int { return a.active.Compare(b.active) })
	for _, p := range all {
		h.silent.MoveToBack(p.place)
	}
}
