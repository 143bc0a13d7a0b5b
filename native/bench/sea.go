package main

import (
	"encoding/binary"
	"math/rand/v2"
	"strconv"

	"github.com/centrifugal/centrifuge"

	"github.com/tombolo-net/tombolo/core/world/demo"
)

// unitsPerMetre is how many demo.Units are 1 of the world's unit.
const unitsPerMetre = 1 / demo.Unit

// sea is the world of demo.Harbour for a server without a world.World. It has a grid of
// cells that are as wide as a player sees. All lengths are in demo.Units.
type sea struct {
	radius int32
	across int // cells in a row
	boats  []boat
	places [][]byte // positions in each cell, in the form of a publication
}

type boat struct {
	x, y   int32
	vx, vy int8
	player seaPlayer
}

// seaPlayer is the player that steers a boat.
type seaPlayer struct {
	client *centrifuge.Client // nil before the player connects and after it has left
	cells  map[int]bool       // the cells that the player is subscribed to
}

// move is a player's change of subscription: it enters or leaves a cell's channel.
type move struct {
	client  *centrifuge.Client
	channel string
	enter   bool
}

func newSea(radius float64) sea {
	r := int32(radius * unitsPerMetre)
	across := roomSize*unitsPerMetre/int(r) + 1
	return sea{radius: r, across: across, places: make([][]byte, across*across)}
}

// launch adds a boat at a random position and returns its number.
func (s *sea) launch() int {
	const side = roomSize * unitsPerMetre
	s.boats = append(s.boats, boat{x: rand.Int32N(side), y: rand.Int32N(side), player: seaPlayer{cells: make(map[int]bool)}})
	return len(s.boats) - 1
}

// sail moves all boats and returns the positions of those that moved, by cell. The outer
// slice is valid until the next call of sail; the inner slices belong to the caller.
func (s *sea) sail() [][]byte {
	const side = roomSize*unitsPerMetre - 1
	for i := range s.places {
		s.places[i] = nil
	}
	for i := range s.boats {
		b := &s.boats[i]
		if b.vx == 0 && b.vy == 0 {
			continue
		}
		b.x, b.vx = demo.Bounce(b.x+int32(b.vx), b.vx, side)
		b.y, b.vy = demo.Bounce(b.y+int32(b.vy), b.vy, side)
		cell := int(b.y/s.radius)*s.across + int(b.x/s.radius)
		s.places[cell] = appendPlace(s.places[cell], uint16(i), b.x, b.y)
	}
	return s.places
}

// look returns the cells that the boat's player must enter and leave to be subscribed to
// the cells partly in its sight. The caller must carry out these moves.
func (s *sea) look(b *boat) (moves []move) {
	p := &b.player
	if p.client == nil {
		return nil
	}
	add := func(cell int, enter bool) {
		moves = append(moves, move{p.client, strconv.Itoa(cell), enter})
	}
	for cell := range p.cells {
		if !s.sees(b, cell) {
			delete(p.cells, cell)
			add(cell, false)
		}
	}
	row, column := int(b.y/s.radius), int(b.x/s.radius)
	for r := max(row-1, 0); r <= min(row+1, s.across-1); r++ {
		for c := max(column-1, 0); c <= min(column+1, s.across-1); c++ {
			if cell := r*s.across + c; !p.cells[cell] && s.sees(b, cell) {
				p.cells[cell] = true
				add(cell, true)
			}
		}
	}
	return moves
}

// sees reports whether the player of the boat sees a part of the cell.
func (s *sea) sees(b *boat, cell int) bool {
	left, top := int32(cell%s.across)*s.radius, int32(cell/s.across)*s.radius
	dx := int64(b.x - min(max(b.x, left), left+s.radius))
	dy := int64(b.y - min(max(b.y, top), top+s.radius))
	return dx*dx+dy*dy <= int64(s.radius)*int64(s.radius)
}

// placeBytes is the length of a boat's entry in a publication: its number and its x and y
// in demo.Units, each a uint16.
const placeBytes = 6

func appendPlace(dst []byte, number uint16, x, y int32) []byte {
	dst = binary.BigEndian.AppendUint16(dst, number)
	dst = binary.BigEndian.AppendUint16(dst, uint16(x))
	return binary.BigEndian.AppendUint16(dst, uint16(y))
}

func readPlace(b []byte) (number uint16, x, y int32) {
	return binary.BigEndian.Uint16(b), int32(binary.BigEndian.Uint16(b[2:])), int32(binary.BigEndian.Uint16(b[4:]))
}
