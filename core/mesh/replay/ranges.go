package replay

import (
	"cmp"
	"math"
	"slices"
	"sort"
)

// Range is the set of the numbers From to To, both included.
type Range struct{ From, To uint64 }

// Ranges is a set of numbers: ranges in ascending order that neither overlap
// nor touch.
type Ranges []Range

// Contains reports whether n is in the set.
func (r Ranges) Contains(n uint64) bool {
	i := r.search(n)
	return i < len(r) && r[i].From <= n
}

// Last returns the largest number in the set; 0 if it is empty.
func (r Ranges) Last() uint64 {
	if len(r) == 0 {
		return 0
	}
	return r[len(r)-1].To
}

// search returns the index of the first range that ends at n or later.
func (r Ranges) search(n uint64) int {
	return sort.Search(len(r), func(i int) bool { return r[i].To >= n })
}

// add adds one number to the set.
func (r *Ranges) add(n uint64) {
	i := r.search(n)
	if i < len(*r) && (*r)[i].From <= n {
		return
	}
	joinsLeft := i > 0 && (*r)[i-1].To == n-1
	joinsRight := i < len(*r) && n != math.MaxUint64 && (*r)[i].From == n+1
	switch {
	case joinsLeft && joinsRight:
		(*r)[i-1].To = (*r)[i].To
		*r = slices.Delete(*r, i, i+1)
	case joinsLeft:
		(*r)[i-1].To = n
	case joinsRight:
		(*r)[i].From = n
	default:
		*r = slices.Insert(*r, i, Range{n, n})
	}
}

// plus returns the numbers that are in r or in other.
func (r Ranges) plus(other Ranges) Ranges {
	all := slices.Concat(r, other)
	slices.SortFunc(all, func(a, b Range) int { return cmp.Compare(a.From, b.From) })
	var sum Ranges
	for _, a := range all {
		if last := len(sum) - 1; last >= 0 && (sum[last].To >= a.From || sum[last].To == a.From-1) {
			sum[last].To = max(sum[last].To, a.To)
		} else {
			sum = append(sum, a)
		}
	}
	return sum
}

// minus returns the numbers that are in r and not in other.
func (r Ranges) minus(other Ranges) Ranges {
	var left Ranges
	j := 0
	for _, a := range r {
		for j < len(other) && other[j].To < a.From {
			j++
		}
		from, over := a.From, false
		for k := j; k < len(other) && other[k].From <= a.To && !over; k++ {
			if other[k].From > from {
				left = append(left, Range{from, other[k].From - 1})
			}
			over = other[k].To >= a.To
			from = other[k].To + 1
		}
		if !over {
			left = append(left, Range{from, a.To})
		}
	}
	return left
}

// size returns how many numbers are in the set.
func (r Ranges) size() uint64 {
	var n uint64
	for _, a := range r {
		n += a.To - a.From + 1 // no set holds 0, so this cannot overflow
	}
	return n
}

// upTo returns the set of 1 to n.
func upTo(n uint64) Ranges {
	if n == 0 {
		return nil
	}
	return Ranges{{1, n}}
}
