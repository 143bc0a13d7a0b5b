package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"syscall"
	"time"
)

// figure is one line of the results.
type figure struct {
	name   string // area/name
	unit   string
	more   bool // more is better, otherwise less is
	order  []string
	values map[string][]float64 // contender -> its rounds
}

// newFigure returns a figure of contenders. The first is ours; the ratio is to the second.
func newFigure(name, unit string, contenders ...string) *figure {
	return &figure{name: name, unit: unit, order: contenders, values: make(map[string][]float64)}
}

func (f *figure) add(contender string, value float64) {
	f.values[contender] = append(f.values[contender], value)
}

// String returns the line. Contenders that were not measured are left out.
func (f *figure) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "bench %s unit=%s", f.name, f.unit)
	for _, c := range f.order {
		if len(f.values[c]) > 0 {
			fmt.Fprintf(&b, " %s=%s", c, short(median(f.values[c])))
		}
	}
	if r, ok := f.ratio(); ok {
		fmt.Fprintf(&b, " ratio=%s", strings.TrimPrefix(strings.ToLower(fmt.Sprintf("%.2f", r)), "+")) // inf if ours is 0
	}
	return b.String()
}

// ratio returns the median of the rounds' own ratios of the first two contenders, because
// load on the machine slows both of them in a round. It returns false if one of them was
// not measured.
func (f *figure) ratio() (float64, bool) {
	if len(f.order) < 2 {
		return 0, false
	}
	ours, peers := f.values[f.order[0]], f.values[f.order[1]]
	var ratios []float64
	for i := range min(len(ours), len(peers)) {
		better, worse := ours[i], peers[i]
		if f.more {
			better, worse = worse, better
		}
		if better == worse { // also if both are 0
			ratios = append(ratios, 1)
		} else {
			ratios = append(ratios, worse/better) // +Inf if ours is 0
		}
	}
	if len(ratios) == 0 {
		return 0, false
	}
	return median(ratios), true
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// short formats v with three significant digits and no exponent.
func short(v float64) string {
	digits := 0
	if a := math.Abs(v); a > 0 {
		digits = min(max(2-int(math.Floor(math.Log10(a))), 0), 4)
	}
	return fmt.Sprintf("%.*f", digits, v)
}

// usage is the CPU time that the process has used up to a point in time.
type usage struct {
	wall time.Time
	cpu  time.Duration // user and system, of all threads
}

func usageNow() usage {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err) // it fails only for a wrong argument
	}
	return usage{time.Now(), time.Duration(r.Utime.Nano() + r.Stime.Nano())}
}

// since returns the time that has passed since u and the CPU time used in it.
func (u usage) since() (wall, cpu time.Duration) {
	now := usageNow()
	return now.wall.Sub(u.wall), now.cpu - u.cpu
}
