package replay

// fit has an Ask take at most limit bytes, and says whether it had to ask for
// less to do so. Publishers choose the numbers of which a history remembers
// ranges: those who take more than their part of an Ask are those of whom less
// is asked for, first the early gaps, then the early epochs.
func (a *wireAsk) fit(limit int) (cut bool) {
	for _, keep := range []struct{ ranges, epochs int }{{16, MaxEpochs}, {4, MaxEpochs}, {1, MaxEpochs}, {1, 1}} {
		if len(a.append(nil)) <= limit {
			return cut
		}
		cut = true
		for i := range a.have {
			if len(a.have[i].append(nil)) > limit/len(a.have)-cursorOverhead {
				a.have[i].shorten(keep.ranges, keep.epochs)
			}
		}
	}
	return cut
}

// cursorOverhead is what a Cursor takes in an Ask beside its own bytes, its
// part of the other fields included.
const cursorOverhead = 8

// shorten says that all was had but what lies between the last ranges of the
// last epochs, and before the first.
func (c *Cursor) shorten(ranges, epochs int) {
	if n := len(c.Epochs) - epochs; n > 0 {
		c.Floor = c.Epochs[n-1].Epoch
		c.Epochs = c.Epochs[n:]
	}
	for i := range c.Epochs {
		if had := c.Epochs[i].Had; len(had) > ranges {
			had[len(had)-ranges].From = had[0].From
			c.Epochs[i].Had = had[len(had)-ranges:]
		}
	}
}
