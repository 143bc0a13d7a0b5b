// Command bench measures Tombolo beside its peers, in one process and one run.
//
//	go run . [-rounds 5] [area...]
//
// An area is a name of the table below or the part before its slash; without
// any, all are measured. Each figure is one line:
//
//	bench <area>/<name> unit=<u> ours=<v> <peer>=<v> … ratio=<r>
//
// The contenders take turns, for several rounds, and a value is the median of
// its rounds: the machine may be busy, but then it is for all of them. The ratio
// is that of the first peer named to ours, or the inverse where more is better,
// so that above 1 ours is better.
//
// This is a module of its own, so that what is only measured against does not
// become what Tombolo depends on.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
)

// area is measured on its own.
type area struct {
	name string
	what string
	run  func(rounds int) ([]*figure, error) // with an error, what there is of them
}

var areas = []area{
	{"dispatch/fanout", "messages to subscribers of one process", fanout},
	{"dispatch/memory", "10,000 subscriptions, and one more", memory},
}

func main() {
	rounds := flag.Int("rounds", 5, "how often each contender is measured")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: bench [-rounds N] [area...]")
		flag.PrintDefaults()
		for _, a := range areas {
			fmt.Fprintf(os.Stderr, "  %-18s %s\n", a.name, a.what)
		}
	}
	flag.Parse()
	if *rounds < 1 {
		fmt.Fprintln(os.Stderr, "bench: -rounds is at least 1")
		os.Exit(2)
	}
	wanted := flag.Args()
	for _, w := range wanted {
		if !slices.ContainsFunc(areas, func(a area) bool { return within(a.name, w) }) {
			fmt.Fprintf(os.Stderr, "bench: there is no area %q; try -h\n", w)
			os.Exit(2)
		}
	}
	failed := false
	for _, a := range areas {
		if len(wanted) > 0 && !slices.ContainsFunc(wanted, func(w string) bool { return within(a.name, w) }) {
			continue
		}
		figures, err := a.run(*rounds)
		for _, f := range figures {
			fmt.Println(f)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "bench: %s: %v\n", a.name, err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}

// within says whether an area is the one wanted or a part of it.
func within(area, wanted string) bool { return area == wanted || strings.HasPrefix(area, wanted+"/") }
