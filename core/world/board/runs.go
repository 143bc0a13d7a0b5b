package board

import (
	"cmp"
	"slices"
)

// entry is a player's place in the order: by score, then by who had it first. The
// player's number counts only if a store has two with the same sequence number. An entry
// has no pointers, so that the garbage collector does not scan entries.
type entry struct {
	score  int64 // lower is better: see Board.key
	seq    uint32
	player uint32
}

func compare(a, b entry) int {
	return cmp.Or(cmp.Compare(a.score, b.score), cmp.Compare(a.seq, b.seq), cmp.Compare(a.player, b.player))
}

// runLength bounds the entries of a run. Moving half of them takes less time than the
// search.
const runLength = 512

// runs keeps entries in order. They are cut into runs, with a Fenwick tree over the runs'
// lengths (P. Fenwick, "A new data structure for cumulative frequency tables", 1994). A
// look-up or change takes O(log n), or O(n/runLength) if a run is split or joined, which
// happens once in some hundred changes.
type runs struct {
	list [][]entry
	sums []int32 // the Fenwick tree
	n    int
}

// find returns the run in which the entry is or belongs, and its place there.
func (r *runs) find(e entry) (run, at int, is bool) {
	run, is = slices.BinarySearchFunc(r.list, e, func(run []entry, e entry) int { return compare(run[0], e) })
	if is {
		return run, 0, true
	}
	if run == 0 {
		return 0, 0, false
	}
	run--
	at, is = slices.BinarySearchFunc(r.list[run], e, compare)
	return run, at, is
}

// insert adds an entry that is not there yet.
func (r *runs) insert(e entry) {
	r.n++
	if len(r.list) == 0 {
		r.list = append(r.list, append(make([]entry, 0, runLength), e))
		r.sum()
		return
	}
	run, at, _ := r.find(e)
	if len(r.list[run]) == runLength {
		r.split(run, at)
		run, at, _ = r.find(e)
	}
	r.list[run] = slices.Insert(r.list[run], at, e)
	r.add(run, 1)
}

// split splits a full run, into which an entry will be inserted at the given place. At
// the very end, where entries in ascending order are added, it leaves the run full.
func (r *runs) split(run, at int) {
	full := r.list[run]
	cut := runLength / 2
	if run == len(r.list)-1 && at == runLength {
		cut = runLength - 1
	}
	rest := append(make([]entry, 0, runLength), full[cut:]...)
	r.list[run] = full[:cut]
	r.list = slices.Insert(r.list, run+1, rest)
	r.sum()
}

// remove removes an entry, which must be there.
func (r *runs) remove(e entry) {
	run, at, is := r.find(e)
	if !is {
		panic("board: an entry is not where it belongs")
	}
	r.n--
	r.list[run] = slices.Delete(r.list[run], at, at+1)
	if !r.join(run) {
		r.add(run, -1)
	}
}

// join merges a run that has become short with the next or the previous one, if both fit
// into three quarters of one.
func (r *runs) join(run int) bool {
	if len(r.list[run]) > runLength/4 {
		return false
	}
	for _, first := range [...]int{run, run - 1} {
		if first < 0 || first+1 >= len(r.list) || len(r.list[first])+len(r.list[first+1]) > runLength*3/4 {
			continue
		}
		r.list[first] = append(r.list[first], r.list[first+1]...)
		r.list = slices.Delete(r.list, first+1, first+2)
		r.sum()
		return true
	}
	if len(r.list[run]) == 0 {
		r.list = slices.Delete(r.list, run, run+1)
		r.sum()
		return true
	}
	return false
}

// rank returns the number of entries before e, which need not be there.
func (r *runs) rank(e entry) int {
	if len(r.list) == 0 {
		return 0
	}
	run, at, _ := r.find(e)
	for i := run; i > 0; i -= i & -i {
		at += int(r.sums[i-1])
	}
	return at
}

// from yields entries in order, starting after the first rank entries.
func (r *runs) from(rank int, yield func(entry) bool) {
	run, left := 0, rank
	step := 1
	for step*2 <= len(r.sums) {
		step *= 2
	}
	for ; step > 0; step /= 2 {
		if next := run + step; next <= len(r.sums) && int(r.sums[next-1]) <= left {
			run, left = next, left-int(r.sums[next-1])
		}
	}
	for ; run < len(r.list); run, left = run+1, 0 {
		for _, e := range r.list[run][left:] {
			if !yield(e) {
				return
			}
		}
	}
}

// add changes the length of a run in the tree.
func (r *runs) add(run int, by int32) {
	for i := run + 1; i <= len(r.sums); i += i & -i {
		r.sums[i-1] += by
	}
}

// sum rebuilds the tree.
func (r *runs) sum() {
	r.sums = slices.Grow(r.sums[:0], len(r.list))[:len(r.list)]
	for i, run := range r.list {
		r.sums[i] = int32(len(run))
	}
	for i := 1; i <= len(r.sums); i++ {
		if up := i + i&-i; up <= len(r.sums) {
			r.sums[up-1] += r.sums[i-1]
		}
	}
}
