package main

import (
	"cmp"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/tidwall/btree"

	"github.com/tombolo-net/tombolo/core/world/board"
)

const (
	boardPlayers = 1 << 20
	boardCalls   = 300_000 // for one value
)

// ranking is a leaderboard to measure.
type ranking interface {
	set(player uint32, score int64)
	rank(player uint32) int // from 1
}

type contenderRanking struct {
	name string
	make func() ranking
}

var rankings = []contenderRanking{
	{"ours", func() ranking { return ourBoard{board.New(false)} }},
	{"btree", newBtreeBoard},
	{"skiplist", newSkiplist},
}

// boards measures leaderboards of a million players: the time of an update and of a query
// for a player's rank, and the memory of an entry.
func boards(rounds int) ([]*figure, error) {
	var names []string
	for _, r := range rankings {
		names = append(names, r.name)
	}
	update, rank := newFigure("boards/update", "us", names...), newFigure("boards/rank", "us", names...)
	entry, gc := newFigure("boards/entry", "B", names...), newFigure("boards/gc", "ms", names...)
	for round := range rounds {
		for i := range rankings {
			r := rankings[(i+round)%len(rankings)]
			before := heap()
			b, random := r.make(), rand.New(rand.NewPCG(uint64(round), 1))
			player := func() uint32 { return random.Uint32N(boardPlayers) }
			score := func() int64 { return random.Int64N(1 << 40) }
			for p := range uint32(boardPlayers) {
				b.set(p, score())
			}
			entry.add(r.name, float64(heap()-before)/boardPlayers)
			began := time.Now()
			runtime.GC()
			gc.add(r.name, float64(time.Since(began))/1e6)
			each := func(f func()) float64 {
				began := usageNow()
				for range boardCalls {
					f()
				}
				_, cpu := began.since()
				return float64(cpu) / 1e3 / boardCalls
			}
			update.add(r.name, each(func() { b.set(player(), score()) }))
			rank.add(r.name, each(func() { b.rank(player()) }))
			runtime.KeepAlive(b)
		}
	}
	return []*figure{update, rank, entry, gc}, nil
}

type ourBoard struct{ *board.Board }

func (b ourBoard) set(player uint32, score int64) { b.Set(player, score) }

func (b ourBoard) rank(player uint32) int {
	row, _ := b.Of(player)
	return row.Rank
}

// standing is an entry of the contenders' boards.
type standing struct {
	score  int64
	seq    uint64
	player uint32
}

func (s standing) compare(t standing) int {
	return cmp.Or(cmp.Compare(t.score, s.score), cmp.Compare(s.seq, t.seq))
}

// btreeBoard is tidwall's counted B-tree and a map. The tree does not return the rank of a
// key, so rank is a binary search by index.
type btreeBoard struct {
	tree *btree.BTreeG[standing]
	of   map[uint32]standing
	seq  uint64
}

func newBtreeBoard() ranking {
	less := func(a, b standing) bool { return a.compare(b) < 0 }
	return &btreeBoard{tree: btree.NewBTreeGOptions(less, btree.Options{NoLocks: true}), of: make(map[uint32]standing)}
}

func (b *btreeBoard) set(player uint32, score int64) {
	if old, is := b.of[player]; is {
		b.tree.Delete(old)
	}
	b.seq++
	s := standing{score, b.seq, player}
	b.of[player] = s
	b.tree.Set(s)
}

func (b *btreeBoard) rank(player uint32) int {
	own := b.of[player]
	low, high := 0, b.tree.Len()
	for low < high {
		mid := (low + high) / 2
		if at, _ := b.tree.GetAt(mid); at.compare(own) < 0 {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low + 1
}
