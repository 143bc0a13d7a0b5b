package scale

import (
	"flag"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func simulated(t *testing.T, o Options) (f Found) {
	synctest.Test(t, func(t *testing.T) {
		var err error
		f, err = simulate(o, os.Stderr)
		require.NoError(t, err)
	})
	return f
}

var (
	relays       = flag.Int("relays", 4, "how many relays")
	tabs         = flag.Int("tabs", 24, "how many tabs")
	types        = flag.Int("types", 1, "the types that the tabs are on, one each")
	names        = flag.Int("names", 0, "how many other relays each relay is connected to; 0: all")
	reservations = flag.Int("reservations", 2, "how many relays each tab is on")
	watch        = flag.Float64("watching", 0.1, "share of the tabs that watch who is there")
	answers      = flag.Int("answers", 0, "about how many answer one question of who is there; 0: all")
	loss         = flag.Float64("loss", 0.01, "share of segments that are lost")
	within       = flag.Duration("within", 10*time.Second, "the time in which the tabs come")
	cpu          = flag.Duration("join-cpu", 9*time.Millisecond, "processor time of a relay to take in a tab")
)

// TestScale runs one simulation and prints what it found: see docs/scale.md.
func TestScale(t *testing.T) {
	o := Options{
		Relays: *relays, Tabs: *tabs, Types: *types, Names: *names, Reservations: *reservations, Watching: *watch,
		Answers: Everybody, Loss: *loss, Within: *within, JoinCPU: *cpu,
	}
	if *answers > 0 {
		o.Answers = About(*answers)
	}
	f := simulated(t, o)
	f.print(os.Stdout)
	f.paper(os.Stdout)
	for when, r := range map[string]Reach{"at first": f.Reach, "after a partition": f.Again, "after a third of the relays was lost": f.After} {
		assert.Equal(t, r.Members, r.Reached, "a broadcast %s reaches all", when)
	}
	assert.Less(t, f.Apart.Reached, f.Apart.Members, "a partition parts")
	assert.NotZero(t, f.Healed, "it heals")
	assert.NotZero(t, f.Lost.All, "all tabs are back")
}
