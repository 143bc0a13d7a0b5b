package world

// grid finds the entities near a point. It is built anew each tick by a counting sort:
// all entities are in the order of their cells, row by row, so that adjacent cells of a
// row are one range.
type grid struct {
	cell       float32 // the side of a cell
	minX, minY float32
	cols, rows int
	start      []uint32 // of each cell, an index into order; one more at the end
	order      []Entity
	of         []uint32 // the cell of each entity
}

// maxSide bounds the rows and columns. In a wider world the cells are larger.
const maxSide = 512

// build sorts the entities of w into cells whose side is cell or more.
func (g *grid) build(w *World, cell float32) {
	minX, minY, maxX, maxY := w.extent()
	g.cell = max(cell, (maxX-minX)/(maxSide-1), (maxY-minY)/(maxSide-1))
	g.minX, g.minY = minX, minY
	g.cols = int((maxX-minX)/g.cell) + 1
	g.rows = int((maxY-minY)/g.cell) + 1
	g.start = resize(g.start, g.cols*g.rows+1)
	clear(g.start)
	g.of = resize(g.of, len(w.x))
	for e := range w.of {
		if w.of[e].alive {
			c := uint32(int((w.y[e]-minY)/g.cell)*g.cols + int((w.x[e]-minX)/g.cell))
			g.of[e] = c
			g.start[c+1]++
		}
	}
	for c := 1; c < len(g.start); c++ {
		g.start[c] += g.start[c-1]
	}
	g.order = resize(g.order, w.count)
	for e := range w.of { // start[c] runs through its cell, and is put back below
		if w.of[e].alive {
			c := g.of[e]
			g.order[g.start[c]] = Entity(e)
			g.start[c]++
		}
	}
	copy(g.start[1:], g.start)
	g.start[0] = 0
}

// near calls f with ranges of entities that together include all within r of the point,
// and some more. It begins with the nearest rows, and stops when f returns false.
func (g *grid) near(x, y, r float32, f func([]Entity) bool) {
	left, right := g.column(x-r-g.minX, g.cols), g.column(x+r-g.minX, g.cols)
	low, high := g.column(y-r-g.minY, g.rows), g.column(y+r-g.minY, g.rows)
	middle := g.column(y-g.minY, g.rows)
	for d := 0; d <= max(middle-low, high-middle); d++ {
		for _, row := range [...]int{middle - d, middle + d} {
			if row < low || row > high || d == 0 && row != middle {
				continue
			}
			at := row * g.cols
			if !f(g.order[g.start[at+left]:g.start[at+right+1]]) {
				return
			}
			if d == 0 {
				break
			}
		}
	}
}

// column returns the column, or the row, at a distance from the edge of the first one.
// Points outside the grid belong to the cells at its edge.
func (g *grid) column(far float32, n int) int {
	return int(min(max(far/g.cell, 0), float32(n-1)))
}

func (w *World) extent() (minX, minY, maxX, maxY float32) {
	first := true
	for e := range w.of {
		if !w.of[e].alive {
			continue
		}
		x, y := w.x[e], w.y[e]
		if first {
			minX, minY, maxX, maxY, first = x, y, x, y, false
			continue
		}
		minX, minY, maxX, maxY = min(minX, x), min(minY, y), max(maxX, x), max(maxY, y)
	}
	return minX, minY, maxX, maxY
}

// resize returns s with length n. The elements are not cleared.
func resize[E any](s []E, n int) []E {
	if cap(s) < n {
		s = make([]E, n, n+n/4)
	}
	return s[:n]
}
