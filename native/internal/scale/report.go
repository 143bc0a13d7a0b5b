package scale

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tombolo-net/tombolo/core/message"
)

// Found is the result of a simulation.
type Found struct {
	Options Options
	Links   int // between relays

	Come    Came    // all tabs at once
	Joining Traffic // meanwhile
	Idle    Traffic // of half a minute in which nobody says anything
	Asked   Traffic // of one question in each type, with its answers
	Said    Traffic // of one broadcast
	Reach   Reach   // of that broadcast
	Parting Traffic // while relays and tabs notice the partition
	Losing  Traffic // while the tabs move
	Lost    Came    // after a third of the relays was lost
	After   Reach   // of a broadcast then
	Apart   Reach   // of a broadcast during the partition: tabs of both sides
	Crossed int     // pairs of relays of two sides between which broadcasts flowed before
	Left    int     // and after the partition
	Healed  time.Duration
	Again   Reach // of a broadcast after that
}

// Came is how long it took until every tab had one relay, and until every tab had all
// that it wants.
type Came struct{ One, All time.Duration }

// Reach is how a broadcast travelled.
type Reach struct {
	Members, Reached int
	Copies           int // that reached them, the first of each included
	Half, Most, Last time.Duration
}

// reach returns the Reach of a message.
func (f *flight) reach() (r Reach) {
	f.mu.Lock()
	defer f.mu.Unlock()
	slices.Sort(f.times)
	n := len(f.times)
	return Reach{Members: len(f.room.tabs), Reached: f.reached, Copies: f.copies - 1, Half: f.times[n/2], Most: f.times[n*99/100], Last: f.times[n-1]}
}

const (
	said   = 200              // bytes of a broadcast
	settle = 10 * time.Second // until GossipSub's meshes have settled
)

// simulate runs all parts of the simulation, one after the other.
func simulate(o Options, progress io.Writer) (f Found, err error) {
	began := time.Now()
	f.Options = o
	w, err := begin(o)
	defer func() {
		if closed := w.close(); err == nil {
			err = closed
		}
	}()
	if err != nil {
		return f, err
	}
	note := func(what string, args ...any) {
		fmt.Fprintf(progress, "%6.1f s  %s\n", time.Since(began).Seconds(), fmt.Sprintf(what, args...))
	}
	f.joining(w, note)
	f.talking(w, note)
	f.parting(w, note)
	f.losing(w, note)
	return f, nil
}

type noter func(what string, args ...any)

// joining has the relays connect, and then all tabs come at once.
func (f *Found) joining(w *world, note noter) {
	w.sleep(settle)
	f.Links = w.connected()
	note("%d relays have %d connections", f.Options.Relays, f.Links)

	m := measure(w.relays)
	f.Come = w.await(func() { w.come(f.Options.Within) })
	w.sleep(settle)
	f.Joining = m.end()
	note("%d tabs have come", f.Options.Tabs)
}

// talking measures silence, questions, and a broadcast.
func (f *Found) talking(w *world, note noter) {
	m := measure(w.relays)
	w.sleep(30 * time.Second)
	f.Idle = m.end()

	m = measure(w.relays)
	for _, r := range w.rooms {
		r.tabs[rand.N(len(r.tabs))].tell(message.Who)
	}
	w.sleep(settle)
	f.Asked = m.end()
	note("one question in each type is answered")

	m = measure(w.relays)
	f.Reach = w.says(w.rooms[0].tabs)
	f.Said = m.end()
	note("a broadcast reached %d of %d", f.Reach.Reached, f.Reach.Members)
}

// parting parts the network in two, and mends it.
func (f *Found) parting(w *world, note noter) {
	f.Crossed = w.crossing()
	m := measure(w.relays)
	w.part()
	w.sleep(noticed + 3*settle)
	f.Parting = m.end()
	f.Apart = w.says(w.rooms[0].tabs)
	note("in two parts, it reached %d", f.Apart.Reached)

	mended := time.Now()
	w.mend()
	for f.Healed == 0 && time.Since(mended) < 10*time.Minute {
		if f.Again = w.says(w.rooms[0].tabs); f.Again.Reached == f.Again.Members {
			f.Healed = time.Since(mended)
		}
	}
	w.sleep(settle)
	f.Left = w.crossing()
	f.Again = w.says(w.rooms[0].tabs)
	note("in one again, it reached %d", f.Again.Reached)
}

// losing kills a third of the relays.
func (f *Found) losing(w *world, note noter) {
	lost := len(w.relays) / 3
	m := measure(w.relays)
	f.Lost = w.await(func() {
		for _, i := range rand.Perm(len(w.relays))[:lost] {
			w.kill(w.relays[i])
		}
	})
	w.sleep(settle)
	f.Losing = m.end()
	f.After = w.says(w.rooms[0].tabs)
	note("%d relays are lost, all tabs are back, and it reached %d", lost, f.After.Reached)
}

// says makes one of the tabs broadcast, and waits until the broadcast has arrived.
func (w *world) says(tabs []*tab) Reach {
	from := tabs[rand.N(len(tabs))]
	for range tabs { // one that has a relay
		if from.held() > 0 {
			break
		}
		from = tabs[rand.N(len(tabs))]
	}
	f := from.broadcast(make([]byte, said))
	w.sleep(5 * time.Second)
	return f.reach()
}

// look is how often await checks.
const look = 50 * time.Millisecond

// await calls do, and returns how long it took until all tabs had one relay, and all.
func (w *world) await(do func()) (c Came) {
	began := time.Now()
	do()
	wanted := min(w.opts.Reservations, len(w.relays))
	for c.All == 0 && !w.ended() && time.Since(began) < 10*time.Minute {
		one, all := true, true
		for _, t := range w.tabs {
			n := t.held()
			one, all = one && n > 0, all && n >= wanted
			if !one {
				break
			}
		}
		if one && c.One == 0 {
			c.One = time.Since(began)
		}
		if one && all {
			c.All = time.Since(began)
		}
		w.sleep(look)
	}
	return c
}

// print prints it for people.
func (f Found) print(to io.Writer) {
	o := f.Options
	say := func(format string, args ...any) { fmt.Fprintf(to, format+"\n", args...) }
	say("\n%d relays with %d connections among them, %d tabs on %d types (%d each), %d reservations each, %.1f %% of segments lost",
		o.Relays, f.Links, o.Tabs, o.Types, o.Tabs/o.Types, o.Reservations, 100*o.Loss)
	say("\n%-34s %10s %12s %10s %12s %12s", "all relays together", "messages", "bytes", "received", "bytes", "worst relay")
	for _, row := range []struct {
		what string
		t    Traffic
	}{{"all tabs come", f.Joining}, {"half a minute of silence", f.Idle}, {"one question in each type", f.Asked}, {"one broadcast in one type", f.Said}, {"the partition is noticed", f.Parting}, {"a third is lost", f.Losing}} {
		for k, flow := range row.t.Total {
			if flow.bytes() > 0 {
				say("%-34s %10d %12d %10d %12d", row.what+", "+kind(k).String(), flow.SentMessages, flow.SentBytes, flow.ReceivedMessages, flow.ReceivedBytes)
			}
		}
		say("%-34s %10s %12s %10s %12s %12d", row.what, "", "", "", "", row.t.Worst.bytes())
	}
	say("")
	say("%-34s %s with one relay, %s with all", "all tabs have come", f.Come.One, f.Come.All)
	for _, row := range []struct {
		what string
		r    Reach
	}{{"a broadcast", f.Reach}, {"in two parts", f.Apart}, {"in one again", f.Again}, {"without a third of the relays", f.After}} {
		say("%-34s reached %d of %d, in %d copies; half after %s, 99 of 100 after %s, the last after %s",
			row.what, row.r.Reached, row.r.Members, row.r.Copies, row.r.Half.Round(ms), row.r.Most.Round(ms), row.r.Last.Round(ms))
	}
	say("%-34s %d pairs of relays across it were in one mesh before, %d are after; whole again within %s", "the partition", f.Crossed, f.Left, f.Healed)
	say("%-34s %s until all tabs have one again, %s until they have all", "a third of the relays is lost", f.Lost.One, f.Lost.All)
}

const ms = time.Millisecond
