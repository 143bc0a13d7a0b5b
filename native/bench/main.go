// Command bench compares Tombolo with similar software, in one run.
//
//	go run . [-rounds 5] [area...]
//
// An area is a name in the table below, or the part of one before a slash or hyphen.
// Without areas, all are measured. Each figure is one line:
//
//	bench <area>/<name> unit=<u> ours=<v> <peer>=<v> … ratio=<r>
//
// The contenders take turns for several rounds, and a value is the median of its rounds.
// The ratio is the median of the rounds' own ratios of the first named peer to ours, or the
// inverse if more is better: above 1, ours is better. A busy machine slows a round for all
// contenders, so the ratio is steadier than the values and may differ a little from their
// quotient.
//
// bench is a separate module, so that Tombolo does not depend on the software that it is
// compared with.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime/pprof"
	"slices"
	"strings"
)

// area is a group of figures that can be measured separately.
type area struct {
	name string
	what string
	run  func(rounds int) ([]*figure, error) // with an error, the figures measured so far
}

var areas = []area{
	{"dispatch/fanout-1", "messages to a subscriber in the process", fanoutTo(1)},
	{"dispatch/fanout-10", "the same to 10", fanoutTo(10)},
	{"dispatch/fanout-100", "to 100", fanoutTo(100)},
	{"dispatch/fanout-1000", "to 1,000", fanoutTo(1000)},
	{"dispatch/memory", "10,000 subscriptions, and one more", memory},
	{"links/paced", "1,000 messages a second to 9 hosts", linksPaced},
	{"links/saturated", "as many as go to 9 hosts", linksSaturate},
	{"streams-tcp", "a TCP service through two peers, and through ssh and stunnel", streamsOver("tcp")},
	{"streams-quic", "the same over QUIC", streamsOver("quic")},
	{"streams-circuit", "the same through a relay", streamsOver("circuit")},
	{"rooms-1in100/1000", "a room at 20 Hz of 1,000 players, each of whom sees one in 100", roomOf(roomPlan{players: 1000, links: 1000, oneIn: 100})},
	{"rooms-1in10/800", "of 800 players, each of whom sees one in 10", roomOf(roomPlan{players: 800, links: 800, oneIn: 10})},
	{"rooms-1in10/300", "of 300, beside Colyseus and Centrifuge, and where everybody sees all", roomOf(roomPlan{players: 300, links: 300, oneIn: 10, rivals: true})},
	{"rooms-1in100/300", "of 300 who see one in 100, beside the same", roomOf(roomPlan{players: 300, links: 300, oneIn: 100, rivals: true})},
	{"rooms-1in100/5000", "of 5,000 players behind 200 connections", roomOf(roomPlan{players: 5000, links: 200, oneIn: 100})},
	{"rooms-kept", "updates of a room that is stored behind, beside storing each of them", roomKept},
	{"rooms-moved", "a room that goes on at its standby: when its host leaves, and when it is killed", roomMoved},
	{"rooms-walked", "a player that walks between the rooms of two hosts", roomWalked},
	{"boards", "leaderboards of a million players", boards},
	{"rooms-lossy/0pc", "of 20 players over a line of 40 ms: datagrams, a stream over QUIC, and one over TCP", roomLosing(0)},
	{"rooms-lossy/1pc", "over one that loses 1 % of the packets", roomLosing(1)},
	{"rooms-lossy/5pc", "over one that loses 5 %", roomLosing(5)},
	{"relay-idle/ws", "what each of 1,000 idle clients costs a relay, over WebSocket", relayIdle("ws")},
	{"relay-idle/quic-v1", "over QUIC", relayIdle("quic-v1")},
	{"relay-idle/webtransport", "over WebTransport", relayIdle("webtransport")},
	{"relay-idle/nodes-ws", "what each of 300 Tombolo nodes on one type costs it, over WebSocket", relayNodes("ws")},
	{"relay-idle/nodes-webtransport", "over WebTransport", relayNodes("webtransport")},
	{"relay-crowd", "what a node costs a relay that comes to a type of message which 200, 600 and 1,000 are on", relayCrowd},
	{"relay-storm/tcp", "1,000 clients that come to a relay at once, each with one try", relayStorm("tcp")},
	{"relay-storm/ws", "the same over WebSocket", relayStorm("ws")},
	{"relay-storm/quic-v1", "over QUIC", relayStorm("quic-v1")},
	{"relay-storm/webtransport", "over WebTransport", relayStorm("webtransport")},
	{"relay-silent", "a client that comes to a relay while 1,000 connections are held that say nothing", relaySilent},
	{"relay-fair", "a relay with 20 pairs that push as much as they can, and one that says little", relayFair},
	{"far-tcp", "a transfer to a peer that is 20, 100 and 300 ms away", farOver("tcp")},
	{"far-quic", "the same over QUIC", farOver("quic")},
	{"far-circuit", "the same through a relay halfway", farOver("circuit")},
	{"far-circuit-quic", "the same, with QUIC to the relay", farOver("circuit-quic")},
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == helperWord {
		os.Exit(helper(os.Args[2:]))
	}
	rounds := flag.Int("rounds", 5, "how often each contender is measured")
	only := flag.String("only", "", "measure these contenders alone, for a profile (ours,eventbus,…)")
	profile := flag.String("cpuprofile", "", "a file for where the time went")
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
	for _, w := range flag.Args() {
		if !slices.ContainsFunc(areas, func(a area) bool { return within(a.name, w) }) {
			fmt.Fprintf(os.Stderr, "bench: there is no area %q; try -h\n", w)
			os.Exit(2)
		}
	}
	if *only != "" {
		fanoutContenders = slices.DeleteFunc(fanoutContenders, func(c fanoutContender) bool { return !strings.Contains(*only, c.name) })
		pacedContenders = slices.DeleteFunc(pacedContenders, func(c linkContender) bool { return !strings.Contains(*only, c.name) })
		streamContenders = slices.DeleteFunc(streamContenders, func(c streamContender) bool { return !strings.Contains(*only, c.name) })
		lossyContenders = slices.DeleteFunc(lossyContenders, func(c lossyContender) bool { return !strings.Contains(*only, c.name) })
		roomContenders = slices.DeleteFunc(roomContenders, func(c roomContender) bool { return !strings.Contains(*only, c.name) })
		rankings = slices.DeleteFunc(rankings, func(r contenderRanking) bool { return !strings.Contains(*only, r.name) })
		saturatingContenders = slices.DeleteFunc(saturatingContenders, func(c saturating) bool { return !strings.Contains(*only, c.name) })
	}
	os.Exit(run(*rounds, *profile))
}

// run returns the exit status.
func run(rounds int, profile string) int {
	if profile != "" {
		f, err := os.Create(profile)
		if err == nil {
			err = pprof.StartCPUProfile(f)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "bench: -cpuprofile: %v\n", err)
			return 1
		}
		defer func() { pprof.StopCPUProfile(); _ = f.Close() }()
	}
	if !measure(flag.Args(), rounds) {
		return 1
	}
	return 0
}

// measure measures the wanted areas, or all if none are given, and reports whether all of
// them succeeded.
func measure(wanted []string, rounds int) bool {
	ok := true
	for _, a := range areas {
		if len(wanted) > 0 && !slices.ContainsFunc(wanted, func(w string) bool { return within(a.name, w) }) {
			continue
		}
		figures, err := a.run(rounds)
		for _, f := range figures {
			fmt.Println(f)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "bench: %s: %v\n", a.name, err)
			ok = false
		}
	}
	return ok
}

// within reports whether area is the wanted area or a part of it.
func within(area, wanted string) bool {
	rest, ok := strings.CutPrefix(area, wanted)
	return ok && (rest == "" || rest[0] == '/' || rest[0] == '-')
}
