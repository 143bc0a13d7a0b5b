// Package board ranks players by their scores: a million of them, with a few
// microseconds for an update or a rank.
//
// A [Board] is in memory. Players are numbers there; [Players] gives each peer one, which
// several boards share. A [Store] keeps boards and their players beyond the process.
package board

import (
	"fmt"
	"iter"
	"math"
	"slices"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Players numbers peers, from zero. The zero value is ready to use. All methods may be
// called concurrently.
type Players struct {
	named func(number uint32, id peer.ID) // called for new peers, with mu held; may be nil

	mu      sync.RWMutex
	numbers map[peer.ID]uint32
	ids     []peer.ID
}

// Number returns the peer's number. The first call assigns one, which the peer keeps.
func (p *Players) Number(id peer.ID) uint32 {
	if n, known := p.lookup(id); known {
		return n
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if n, known := p.numbers[id]; known {
		return n
	}
	n := p.add(id)
	if p.named != nil {
		p.named(n, id)
	}
	return n
}

func (p *Players) add(id peer.ID) uint32 {
	if p.numbers == nil {
		p.numbers = make(map[peer.ID]uint32)
	}
	n := uint32(len(p.ids))
	p.numbers[id] = n
	p.ids = append(p.ids, id)
	return n
}

// lookup returns the peer's number, if it has one.
func (p *Players) lookup(id peer.ID) (n uint32, known bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	n, known = p.numbers[id]
	return n, known
}

func (p *Players) count() int {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return len(p.ids)
}

// all returns a copy of the peers, indexed by their numbers.
func (p *Players) all() []peer.ID {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return slices.Clone(p.ids)
}

// ID returns the peer with this number. It panics if no peer has it.
func (p *Players) ID(number uint32) peer.ID {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.ids[number]
}

// MaxPlayers bounds the numbers of players, and so the memory of a board, which needs 16
// bytes for each number up to its highest.
const MaxPlayers = 1 << 26

// Board ranks players. Among players with the same score, the one who had it first comes
// first. All methods may be called concurrently.
type Board struct {
	lowest  bool
	changed func(player uint32, p place) // called for changed places, with mu held; may be nil

	mu    sync.RWMutex
	runs  runs
	at    []place // of each player
	seq   uint32  // of the last score that was set
	limit uint32  // the value of seq at which scores are renumbered
}

// place is a player's score and when it was made, relative to others.
type place struct {
	score int64
	seq   uint32 // zero if the player is not on the board
}

// New makes a board on which the highest score is the best or, if lowestFirst is true,
// the lowest, such as for times.
func New(lowestFirst bool) *Board { return &Board{lowest: lowestFirst, limit: math.MaxUint32} }

// key returns the score as stored in entries.
func (b *Board) key(score int64) int64 {
	if b.lowest {
		return score
	}
	return ^score
}

// Row is a line of the board.
type Row struct {
	Rank   int // from 1
	Player uint32
	Score  int64
}

// Set gives the player a score. A player that already has this score keeps its place. It
// panics if the player's number is MaxPlayers or above.
func (b *Board) Set(player uint32, score int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.set(player, score)
}

// Improve gives the player a score if it has none, or a worse one, and reports whether it
// did.
func (b *Board) Improve(player uint32, score int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p, is := b.of(player); is && b.key(p.score) <= b.key(score) {
		return false
	}
	b.set(player, score)
	return true
}

// Add adds to the player's score, which is zero if it has none, and returns the sum. The
// sum stops at the limits of an int64.
func (b *Board) Add(player uint32, by int64) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, _ := b.of(player)
	sum := p.score + by
	if by > 0 && sum < p.score {
		sum = math.MaxInt64
	} else if by < 0 && sum > p.score {
		sum = math.MinInt64
	}
	b.set(player, sum)
	return sum
}

func (b *Board) of(player uint32) (place, bool) {
	if int64(player) >= int64(len(b.at)) {
		return place{}, false
	}
	p := b.at[player]
	return p, p.seq != 0
}

func (b *Board) entry(player uint32, p place) entry { return entry{b.key(p.score), p.seq, player} }

func (b *Board) set(player uint32, score int64) {
	if player >= MaxPlayers {
		panic(fmt.Sprintf("board: a player of number %d; there are at most %d", player, MaxPlayers))
	}
	old, is := b.of(player)
	if is {
		if old.score == score {
			return
		}
		b.runs.remove(b.entry(player, old))
		b.at[player].seq = 0
	}
	if b.seq == b.limit {
		b.renumber()
	}
	b.seq++
	b.put(player, place{score, b.seq})
	b.tell(player)
}

// put gives a place to a player that is not on the board.
func (b *Board) put(player uint32, p place) {
	if missing := int(player) + 1 - len(b.at); missing > 0 {
		b.at = append(b.at, make([]place, missing)...)
	}
	b.at[player] = p
	b.runs.insert(b.entry(player, p))
}

func (b *Board) tell(player uint32) {
	if b.changed != nil {
		b.changed(player, b.at[player])
	}
}

// renumber gives the scores on the board the lowest sequence numbers that keep their
// order.
func (b *Board) renumber() {
	b.seq = 0
	bySeq := make([]uint32, 0, b.runs.n)
	for player, p := range b.at {
		if p.seq != 0 {
			bySeq = append(bySeq, uint32(player))
		}
	}
	slices.SortFunc(bySeq, func(p, q uint32) int { return int(int64(b.at[p].seq) - int64(b.at[q].seq)) })
	for _, player := range bySeq {
		b.seq++
		b.at[player].seq = b.seq
		b.tell(player)
	}
	for _, run := range b.runs.list {
		for i := range run {
			run[i].seq = b.at[run[i].player].seq
		}
	}
}

// Remove takes the player off the board, if it is there.
func (b *Board) Remove(player uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p, is := b.of(player); is {
		b.runs.remove(b.entry(player, p))
		b.at[player] = place{}
		b.tell(player)
	}
}

// Len returns the number of players on the board.
func (b *Board) Len() int {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.runs.n
}

// Of returns the player's line; ok is false if the player is not on the board.
func (b *Board) Of(player uint32) (row Row, ok bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	p, is := b.of(player)
	if !is {
		return Row{}, false
	}
	return Row{b.runs.rank(b.entry(player, p)) + 1, player, p.score}, true
}

// Rows returns up to most lines, starting at a rank. The best has rank 1.
func (b *Board) Rows(rank, most int) []Row {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return slices.AppendSeq(make([]Row, 0, max(0, min(most, b.runs.n))), b.rows(rank, most))
}

// Around returns the player's line with up to each lines before and after it, or nil if
// the player is not on the board.
func (b *Board) Around(player uint32, each int) []Row {
	b.mu.RLock()
	defer b.mu.RUnlock()
	p, is := b.of(player)
	if !is || each < 0 {
		return nil
	}
	rank := b.runs.rank(b.entry(player, p)) + 1
	before := min(each, rank-1)
	return slices.AppendSeq([]Row(nil), b.rows(rank-before, min(each, b.runs.n)+1+before))
}

// rows yields up to most lines, starting at a rank.
func (b *Board) rows(rank, most int) iter.Seq[Row] {
	return func(yield func(Row) bool) {
		if rank = max(rank, 1); most <= 0 || rank > b.runs.n {
			return
		}
		left := most
		b.runs.from(rank-1, func(e entry) bool {
			left--
			ok := yield(Row{rank, e.player, b.key(e.score)})
			rank++
			return ok && left > 0
		})
	}
}
