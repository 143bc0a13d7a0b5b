package link

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestQueueIsARingThatKeepsItsOrderAndItsBytes(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	to := newFanout(1)
	var q queue
	var want []int32
	for i := range int32(2000) {
		switch r.IntN(5) {
		case 0, 1, 2:
			q.push(item{frame: make([]byte, i%100), to: to, i: i})
			want = append(want, i)
		case 3:
			if q.n > 0 {
				require.Equal(t, want[0], q.pop().i, "seed %d", seed)
				want = want[1:]
			}
		case 4:
			if q.n > 0 {
				at := r.IntN(len(want))
				require.True(t, q.remove(to, want[at]), "seed %d", seed)
				want = slices.Delete(want, at, at+1)
			}
		}
		require.False(t, q.remove(to, -1))
		require.Equal(t, len(want), q.n, "seed %d", seed)
		bytes := 0
		for at, i := range want {
			if q.at(at).i != i {
				t.Fatalf("at %d is %d and not %d, seed %d", at, q.at(at).i, i, seed)
			}
			bytes += int(i % 100)
		}
		require.Equal(t, bytes, q.bytes, "seed %d", seed)
	}
	for q.n > 0 {
		q.pop()
	}
	for _, it := range q.ring {
		require.Equal(t, item{}, it, "what was taken is not kept")
	}
	q.trim()
	assert.LessOrEqual(t, len(q.ring), smallQueue)
}

// filled returns queues with n items each.
func filled(n int) *queues {
	qs := new(queues)
	for p := range qs {
		for i := range n {
			qs[p].push(item{frame: make([]byte, 100), i: int32(i)})
		}
	}
	return qs
}

func TestHigherPriorityGoesFirstAndTheOthersAreNotStarved(t *testing.T) {
	qs := filled(10_000)
	var taken [priorities]int
	for range 10_000 {
		p, ok := qs.next()
		require.True(t, ok)
		qs.take(p)
		taken[p]++
	}
	assert.Greater(t, taken[High], 10_000*8/10)
	assert.Greater(t, taken[Normal], 10_000/20)
	assert.Greater(t, taken[Low], 10_000/20, "Low waits for two others, but no longer than Normal does")
}

func TestPriorityIsStrictUntilSomeoneHasWaitedForLong(t *testing.T) {
	qs := filled(5)
	var order []Priority
	for {
		p, ok := qs.next()
		if !ok {
			break
		}
		qs.take(p)
		order = append(order, p)
	}
	assert.True(t, slices.IsSorted(order), "%v", order)
	assert.Len(t, order, 15)
}

func TestTurnThatWasNotTakenIsNotLost(t *testing.T) {
	qs := filled(100)
	for range fairness {
		qs.take(High)
	}
	for range 100 {
		p, _ := qs.next()
		require.Equal(t, Low, p)
	}
	// A large message waits for the next write if the current one is almost full at its
	// turn. Here, every write is full by then.
	o := &outgoing{}
	for range 1000 {
		o.queues[High].push(item{frame: make([]byte, writeBuffer/fairness)})
	}
	o.queues[Low].push(item{frame: make([]byte, writeBuffer/2)})
	batches := 0
	for ; o.queues[Low].n > 0; batches++ {
		require.True(t, o.takeBatch())
		o.writes.batch = o.writes.batch[:0]
		require.Less(t, batches, 3)
	}
}

func TestBatchFillsOneWriteAndTakesWhatIsLargerAlone(t *testing.T) {
	o := &outgoing{}
	sizes := []int{10, writeBuffer - 10, 1, 3 * writeBuffer, 5}
	for _, size := range sizes {
		o.queues[Normal].push(item{frame: make([]byte, size)})
	}
	var got [][]int
	for o.takeBatch() {
		var batch []int
		for _, it := range o.writes.batch {
			batch = append(batch, len(it.frame))
		}
		got = append(got, batch)
		o.writes.batch = o.writes.batch[:0]
	}
	assert.Equal(t, [][]int{{10, writeBuffer - 10}, {1}, {3 * writeBuffer}, {5}}, got)
}

func TestPrioritiesHaveNames(t *testing.T) {
	assert.Equal(t, "high normal low priority 7", fmt.Sprint(High, " ", Normal, " ", Low, " ", Priority(7)))
}
