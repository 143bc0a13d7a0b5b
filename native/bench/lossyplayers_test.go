package main

import (
	"math"
	"testing"
	"time"
)

func TestAStallShowsInWhatPlayersHad(t *testing.T) {
	began := time.Now()
	at := func(number uint32, late time.Duration) frame {
		return frame{number, began.Add(time.Duration(number)*tickTime + lossyTrip/2 + late)}
	}
	for _, c := range []struct {
		what   string
		lost   bool          // frame 10 is lost; otherwise frames 10 to 12 come late, together
		stalls float64       // in 3 s
		frozen time.Duration // in 3 s
		age    time.Duration // the most that it may be at the 99th percentile
	}{
		{"a lost frame is hidden", true, 0, 0, lossyTrip/2 + 2*tickTime},
		{"three that were held back are not", false, 1, 2 * tickTime, lossyTrip/2 + 4*tickTime},
	} {
		var of []frame
		for n := range uint32(60) {
			switch late := time.Duration(13-n) * tickTime; {
			case c.lost && n == 10:
			case !c.lost && 10 <= n && n <= 12:
				of = append(of, at(n, late))
			default:
				of = append(of, at(n, 0))
			}
		}
		var m lossyMeasure
		m.look([][]frame{of}, at(60, 0).at)
		if stalls := m.Stalls * (3 * time.Second).Minutes(); math.Abs(stalls-c.stalls) > 0.01 {
			t.Errorf("%s: %.2f stalls", c.what, stalls)
		}
		if frozen := m.Frozen * (3 * time.Second).Minutes(); math.Abs(frozen-float64(c.frozen/time.Millisecond)) > 1 {
			t.Errorf("%s: %.1f ms frozen", c.what, frozen)
		}
		if age := float64(c.age) / 1e6; m.AgeP99 > age || m.AgeP99 < age-40 {
			t.Errorf("%s: the age is %.1f ms", c.what, m.AgeP99)
		}
	}
}
