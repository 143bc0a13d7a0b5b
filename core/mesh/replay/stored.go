package replay

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"time"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
)

// The values in a store are protobuf, as replay.proto's messages are, each after
// a CRC-32C of it:
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

// micros is 0 for the zero time.
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

// load reads what is stored, within the limits. The history is not shared yet.
func (h *History) load(ctx context.Context) error {
	results, err := h.store.ds.Query(ctx, query.Query{Prefix: h.store.prefix.String()})
	if err != nil {
		return err
	}
	defer results.Close()
	var publishers []*publisher
	var records []*record
	for {
		result, ok := results.NextSync()
		if !ok {
			break
		}
		if result.Error != nil {
			return result.Error
		}
		key := datastore.RawKey(result.Key)
		p, r, err := h.read(key, result.Value)
		switch {
		case err != nil:
			h.stats.Damaged++
			h.log.Warn("replay: a damaged record in the store is deleted", "key", key, "err", err)
			h.change(key, nil)
		case p != nil:
			publishers = append(publishers, p)
		case r != nil:
			records = append(records, r)
		}
	}
	h.restore(publishers, records)
	return nil
}

// read opens one value of the store; both are nil for the count of the
// forgotten.
func (h *History) read(key datastore.Key, value []byte) (p *publisher, r *record, err error) {
	b, err := unseal(value)
	if err != nil {
		return nil, nil, err
	}
	want := key
	switch kind, _, _ := strings.Cut(strings.TrimPrefix(key.String(), h.store.prefix.String()+"/"), "/"); kind {
	case "e":
		if r, err = decodeRecord(b); err == nil {
			want = h.store.entryKey(r)
		}
	case "p":
		if p, err = decodeStoredPublisher(b); err == nil {
			want = h.store.publisherKey(p.id)
		}
	case "f":
		err = h.forgotten.decode(b)
	default:
		err = fmt.Errorf("%w: not of a kind that is known", errMalformed)
	}
	if err == nil && want != key {
		err = fmt.Errorf("%w: it belongs under %s", errMalformed, want)
	}
	return p, r, err
}

// restore puts together what was stored.
func (h *History) restore(publishers []*publisher, records []*record) {
	now := time.Now()
	slices.SortFunc(publishers, func(a, b *publisher) int { return a.active.Compare(b.active) })
	for _, p := range publishers {
		h.remember(p)
	}
	slices.SortFunc(records, func(a, b *record) int { return a.Received.Compare(b.Received) })
	for _, r := range records {
		if r.Received.After(now) {
			r.Received = now // the clock went back
		}
		p := h.publishers[r.Publisher]
		if p == nil { // its record was damaged, or not yet written
			p = h.remember(&publisher{id: r.Publisher, active: r.Received})
		}
		if r.ID.Epoch <= p.lowest() && !p.seen(r.ID) {
			h.unstoreEntry(r)
			continue
		}
		if !p.seen(r.ID) {
			h.stats.GivenUp += p.see(r.ID)
			h.dirty(p)
		}
		r.publisher = p
		h.hold(r)
		h.stats.Loaded++
	}
	for len(h.publishers) > h.limits.Publishers {
		h.forget(h.silent.Front().Value.(*publisher))
	}
	for _, p := range h.publishers {
		h.dropBelowFloor(p)
	}
	h.expire(now)
	h.fit()
	h.schedule(now)
}
