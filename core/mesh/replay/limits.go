package replay

import (
	"fmt"
	"time"
)

// Defaults of Limits.
const (
	DefaultCount = 4096
	DefaultBytes = 8 << 20
	DefaultAge   = time.Hour
)

// Limits bound a history, over all its publishers. All of them apply at once.
type Limits struct {
	Count int           // entries, at most 131072; if zero, DefaultCount
	Bytes int           // of all Entry.Signed together; if zero, DefaultBytes
	Age   time.Duration // of an entry; if zero, DefaultAge
}

func (l Limits) withDefaults() (Limits, error) {
	if l.Count > maxCount {
		return l, fmt.Errorf("a history holds at most %d broadcasts, not %d", maxCount, l.Count)
	}
	if l.Count < 0 || l.Bytes < 0 || l.Age < 0 {
		return l, fmt.Errorf("the limits of a history cannot be negative: %+v", l)
	}
	if l.Count == 0 {
		l.Count = DefaultCount
	}
	if l.Bytes == 0 {
		l.Bytes = DefaultBytes
	}
	if l.Age == 0 {
		l.Age = DefaultAge
	}
	return l, nil
}
