package replay

// fit shortens an Ask to at most limit bytes, and reports whether it had to ask for less.
// The ranges that a history remembers depend on the numbers that publishers choose. So
// fit asks for less of the publishers that take more than their share of an Ask: first it
// omits the early gaps, then the early epochs.
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

// cursorOverhead is what a Cursor takes in an Ask in addition to its own bytes, including
// its share of the other fields.
const cursorOverhead = 8

// shorten makes the cursor claim everything but what lies between the last ranges of the
// last epochs, and before the first of these ranges.
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
