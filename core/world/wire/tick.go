package wire

import "encoding/binary"

// Tick is what a peer receives in one tick: a Section for each of its seats with changes.
// DecodeTick reuses Sections and their slices.
type Tick struct {
	Number   uint32
	Sections []Section
}

// Section is the part of a tick for one seat.
//
// The host and the player's peer keep the same list of the entities that the player
// knows, in the order of their numbers. Left and Updates name entities by their place in
// it, so that an update costs one byte in addition to its record. Left refers to the list
// as it was, and Updates to the list without those in Left. Then Entered are added.
type Section struct {
	Seat    uint32
	Reset   bool   // the player discards what it knew
	Applied bool   // an input was taken since the last section
	Seq     uint32 // the number of that input
	Waited  uint32 // how long it waited for its tick, in ms
	Left    []uint32
	Updates []Update
	Entered []Entered
	Notes   [][]byte // what the game sends to this player alone
}

// Update is a record of an entity that the player knows.
type Update struct {
	Place uint32
	Whole bool // Data is the whole record; otherwise only the changes since the last one
	Data  []byte
}

// Entered is a whole record of an entity that the player did not know.
type Entered struct {
	ID   uint32
	Data []byte
}

// maxSections bounds the seats in one tick.
const maxSections = 4096

const (
	hasReset = 1 << iota
	hasApplied
	hasLeft
	hasUpdates
	hasEntered
	hasNotes
	hasEnd
)

const (
	wideSkip = 7  // the largest values in the head of an update, after which a uvarint follows, to be added
	wideLen  = 15 // the same
)

// AppendTick appends a tick with sections that were made by AppendSection.
func AppendTick(dst []byte, number uint32, sections []byte) []byte {
	dst = begin(dst, KindTick, size(number)+len(sections))
	return append(binary.AppendUvarint(dst, uint64(number)), sections...)
}

// AppendSection appends a section. Left, Updates and Entered must be in order.
func AppendSection(dst []byte, s *Section) []byte {
	dst = binary.AppendUvarint(dst, uint64(s.Seat))
	flags := len(dst)
	dst = append(dst, s.flags())
	if s.Applied {
		dst = binary.AppendUvarint(dst, uint64(s.Seq))
		dst = binary.AppendUvarint(dst, uint64(s.Waited))
	}
	if dst[flags]&hasLeft != 0 {
		dst = binary.AppendUvarint(dst, uint64(len(s.Left)))
		next := uint32(0)
		for _, place := range s.Left {
			dst = binary.AppendUvarint(dst, uint64(place-next))
			next = place + 1
		}
	}
	if dst[flags]&hasUpdates != 0 {
		dst = binary.AppendUvarint(dst, uint64(len(s.Updates)))
		next := uint32(0)
		for i := range s.Updates {
			u := &s.Updates[i]
			dst = append(appendHead(dst, u.Place-next, u.Whole, len(u.Data)), u.Data...)
			next = u.Place + 1
		}
	}
	if dst[flags]&hasEntered != 0 {
		dst = binary.AppendUvarint(dst, uint64(len(s.Entered)))
		next := uint32(0)
		for i := range s.Entered {
			e := &s.Entered[i]
			dst = appendBytes(binary.AppendUvarint(dst, uint64(e.ID-next)), e.Data)
			next = e.ID + 1
		}
	}
	if dst[flags]&hasNotes != 0 {
		dst = binary.AppendUvarint(dst, uint64(len(s.Notes)))
		for _, note := range s.Notes {
			dst = appendBytes(dst, note)
		}
	}
	return dst
}

func (s *Section) flags() (f byte) {
	set := func(flag byte, has bool) {
		if has {
			f |= flag
		}
	}
	set(hasReset, s.Reset)
	set(hasApplied, s.Applied)
	set(hasLeft, len(s.Left) > 0)
	set(hasUpdates, len(s.Updates) > 0)
	set(hasEntered, len(s.Entered) > 0)
	set(hasNotes, len(s.Notes) > 0)
	return f
}

// Empty reports whether the section is empty.
func (s *Section) Empty() bool { return s.flags() == 0 }

func appendHead(dst []byte, skip uint32, whole bool, n int) []byte {
	head := byte(min(skip, wideSkip))<<5 | byte(min(n, wideLen))
	if whole {
		head |= 1 << 4
	}
	dst = append(dst, head)
	if skip >= wideSkip {
		dst = binary.AppendUvarint(dst, uint64(skip-wideSkip))
	}
	if n >= wideLen {
		dst = binary.AppendUvarint(dst, uint64(n-wideLen))
	}
	return dst
}

// DecodeTick decodes what follows the kind into t. It reuses the slices of t, which
// afterwards hold parts of body.
func DecodeTick(body []byte, t *Tick) error {
	d := decoder{rest: body}
	t.Number = d.number()
	t.Sections = t.Sections[:0]
	for len(d.rest) > 0 {
		if len(t.Sections) == maxSections {
			d.fail("over %d seats", maxSections)
			break
		}
		if len(t.Sections) < cap(t.Sections) {
			t.Sections = t.Sections[:len(t.Sections)+1]
		} else {
			t.Sections = append(t.Sections, Section{})
		}
		d.section(&t.Sections[len(t.Sections)-1])
	}
	return d.end("tick")
}

func (d *decoder) section(s *Section) {
	*s = Section{Seat: d.number(), Left: s.Left[:0], Updates: s.Updates[:0], Entered: s.Entered[:0], Notes: s.Notes[:0]}
	flags := d.byte()
	if flags >= hasEnd {
		d.fail("flags %x", flags)
	}
	s.Reset = flags&hasReset != 0
	if s.Applied = flags&hasApplied != 0; s.Applied {
		s.Seq, s.Waited = d.number(), d.number()
	}
	if flags&hasLeft != 0 {
		p := places{d: d}
		for range d.count() {
			if d.err != nil {
				break
			}
			s.Left = append(s.Left, p.next(d.number()))
		}
	}
	if flags&hasUpdates != 0 {
		p := places{d: d}
		for range d.count() {
			if d.err != nil {
				break
			}
			skip, whole, n := d.head()
			s.Updates = append(s.Updates, Update{p.next(skip), whole, d.take(n)})
		}
	}
	if flags&hasEntered != 0 {
		p := places{d: d}
		for range d.count() {
			if d.err != nil {
				break
			}
			s.Entered = append(s.Entered, Entered{p.next(d.number()), d.bytes(len(d.rest))})
		}
	}
	if flags&hasNotes != 0 {
		for range d.count() {
			if d.err != nil {
				break
			}
			s.Notes = append(s.Notes, d.bytes(len(d.rest)))
		}
	}
}

// count decodes the number of things that follow, each of at least a byte.
func (d *decoder) count() int {
	n := d.number()
	if int64(n) > int64(len(d.rest)) {
		d.fail("%d things in %d bytes", n, len(d.rest))
		return 0
	}
	return int(n)
}

func (d *decoder) head() (skip uint32, whole bool, n int) {
	head := d.byte()
	skip, whole, n = uint32(head>>5), head&(1<<4) != 0, int(head&wideLen)
	if skip == wideSkip {
		more := d.number()
		if more > 1<<32-1-wideSkip {
			d.fail("a place of over 32 bits")
			more = 0
		}
		skip += more
	}
	if n == wideLen {
		n = int(min(int64(d.number())+wideLen, int64(len(d.rest))+1)) // more than there are bytes makes take fail
	}
	return skip, whole, n
}

// places adds up the differences between ascending numbers.
type places struct {
	d  *decoder
	at int64
}

func (p *places) next(skip uint32) uint32 {
	place := p.at + int64(skip)
	if place > 1<<32-1 {
		p.d.fail("a place or id of over 32 bits")
		return 0
	}
	p.at = place + 1
	return uint32(place)
}
