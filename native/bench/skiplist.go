package main

import (
	"math/bits"
	"math/rand/v2"
)

// skiplist is a map and a skip list whose links count the entries they skip (W. Pugh, "A
// skip list cookbook", 1990). Redis and Nakama rank in the same way.
type skiplist struct {
	head *skipNode
	of   map[uint32]standing
	seq  uint64
}

const skipLevels = 32

type skipNode struct {
	standing
	next []skipLink
}

type skipLink struct {
	to   *skipNode
	span int // entries from the node to the node to
}

func newSkiplist() ranking {
	return &skiplist{head: &skipNode{next: make([]skipLink, skipLevels)}, of: make(map[uint32]standing)}
}

// before returns, for each level, the last node before an entry and the number of entries
// up to that node.
func (l *skiplist) before(s standing) (nodes [skipLevels]*skipNode, ranks [skipLevels]int) {
	at, rank := l.head, 0
	for level := skipLevels - 1; level >= 0; level-- {
		for link := at.next[level]; link.to != nil && link.to.compare(s) < 0; link = at.next[level] {
			rank += link.span
			at = link.to
		}
		nodes[level], ranks[level] = at, rank
	}
	return nodes, ranks
}

func (l *skiplist) set(player uint32, score int64) {
	if old, is := l.of[player]; is {
		l.remove(old)
	}
	l.seq++
	s := standing{score, l.seq, player}
	l.of[player] = s
	nodes, ranks := l.before(s)
	// A quarter of the nodes are also on the next level, as in Redis and Nakama.
	levels := min(1+bits.TrailingZeros64(rand.Uint64()|1<<62)/2, skipLevels)
	node := &skipNode{s, make([]skipLink, levels)}
	for level := range skipLevels {
		link := &nodes[level].next[level]
		if level >= levels {
			link.span++
			continue
		}
		passed := ranks[0] - ranks[level]
		node.next[level] = skipLink{link.to, link.span - passed}
		*link = skipLink{node, passed + 1}
	}
}

func (l *skiplist) remove(s standing) {
	nodes, _ := l.before(s)
	gone := nodes[0].next[0].to
	for level := range skipLevels {
		link := &nodes[level].next[level]
		if level < len(gone.next) {
			*link = skipLink{gone.next[level].to, link.span + gone.next[level].span}
		}
		link.span--
	}
}

func (l *skiplist) rank(player uint32) int {
	_, ranks := l.before(l.of[player])
	return ranks[0] + 1
}
