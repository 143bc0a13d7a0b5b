package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"syscall"
	"time"
)

// figure is a line of what was measured.
type figure struct {
	name   string // area/name
	unit   string
	more   bool // is better; else less is
	order  []string
	values map[string][]float64 // contender -> its rounds
}

// newFigure is a figure of contenders, of which the first is ours and the
// second the one that the ratio is to.
func newFigure(name, unit string, contenders ...string) *figure {
	return &figure{name: name, unit: unit, order: contenders, values: make(map[string][]float64)}
}

func (f *figure) add(contender string, value float64) {
	f.values[contender] = append(f.values[contender], value)
}

// String is the line. A contender that was not measured is left out of it.
func (f *figure) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "bench %s unit=%s", f.name, f.unit)
	for _, c := range f.order {
		if len(f.values[c]) > 0 {
			fmt.Fprintf(&b, " %s=%s", c, short(median(f.values[c])))
		}
	}
	if len(f.order) > 1 && len(f.values[f.order[0]]) > 0 && len(f.values[f.order[1]]) > 0 {
		ours, peer := median(f.values[f.order[0]]), median(f.values[f.order[1]])
		if f.more {
			ours, peer = peer, ours
		}
		switch {
		case ours == peer: // 0 to 0 too
			b.WriteString(" ratio=1.00")
		case ours == 0:
			b.WriteString(" ratio=inf")
		default:
			fmt.Fprintf(&b, " ratio=%.2f", peer/ours)
		}
	}
	return b.String()
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// short is three significant digits, and no exponent.
func short(v float64) string {
	digits := 0
	if a := math.Abs(v); a > 0 {
		digits = min(max(2-int(math.Floor(math.Log10(a))), 0), 4)
	}
	return fmt.Sprintf("%.*f", digits, v)
}

// usage is what the process has used up to a moment.
type usage struct {
	wall time.Time
	cpu  time.Duration // user and system, of all threads
}

func usageNow() usage {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err) // it has no way to fail but a wrong argument
	}
	return usage{time.Now(), time.Duration(r.Utime.Nano() + r.Stime.Nano())}
}

// since is what was used from u to now.
func (u usage) since() (wall, cpu time.Duration) {
	now := usageNow()
	return now.wall.Sub(u.wall), now.cpu - u.cpu
}
