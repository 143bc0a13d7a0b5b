package chachapoly

const (
	// blocks is how many blocks of the keystream are made at once: a vector holds one number
	// of the state for each of them.
	blocks    = 4
	blockSize = 64 // bytes
)

// xor is ChaCha20. A remainder that is not a whole number of blocks goes through the room
// of the state.
func xor() code {
	const (
		state, dst, src, n local = 0, 1, 2, 3
		in, out, round     local = 4, 5, 6
		x, t               local = 7, 7 + 16 // 16 and 8 vectors
		all                      = blocks * blockSize
	)
	part := i32ltu(n.get(), i32const(all))
	room := i32add(state.get(), i32const(roomAt))
	counter := func(more code) code {
		return i32store(state.get(), counterAt, i32add(i32load(state.get(), counterAt), more))
	}
	some := cat(
		in.set(src.get()),
		out.set(dst.get()),
		when(part, cat(memoryCopy(room, src.get(), n.get()), in.set(room), out.set(room))),
		begin(x, state, false),
		round.set(i32const(10)),
		loop(cat(doubleRound(x), round.set(i32sub(round.get(), i32const(1)))), round.get()),
		begin(x, state, true),
		writeBlocks(x, t, in, out),
		when(part, cat(
			memoryCopy(dst.get(), room, n.get()),
			// The last round: as if all blocks had been whole.
			counter(i32sub(i32shru(i32add(n.get(), i32const(blockSize-1)), i32const(6)), i32const(blocks))),
			n.set(i32const(all)),
		)),
		counter(i32const(blocks)),
		src.set(i32add(src.get(), i32const(all))),
		dst.set(i32add(dst.get(), i32const(all))),
		n.set(i32sub(n.get(), i32const(all))),
	)
	return function([]code{locals(3, i32), locals(16+8, v128)}, when(n.get(), loop(some, n.get())))
}

// begin sets the vectors to the state or, at the end, adds it to them.
func begin(x, state local, add bool) (c code) {
	for i := range local(16) {
		v := splat32(state.get(), 4*uint64(i))
		if 4*i == counterAt {
			v = i32x4add(v, v128const(0, 1, 2, 3))
		}
		if add {
			v = i32x4add((x + i).get(), v)
		}
		c = append(c, (x + i).set(v)...)
	}
	return c
}

// doubleRound is a column round and a diagonal round: RFC 8439, 2.3.
func doubleRound(x local) (c code) {
	for _, q := range [...][4]local{
		{0, 4, 8, 12}, {1, 5, 9, 13}, {2, 6, 10, 14}, {3, 7, 11, 15},
		{0, 5, 10, 15}, {1, 6, 11, 12}, {2, 7, 8, 13}, {3, 4, 9, 14},
	} {
		c = append(c, quarterRound(x+q[0], x+q[1], x+q[2], x+q[3])...)
	}
	return c
}

func quarterRound(a, b, c, d local) code {
	// to += more; mixed = (mixed ^ to) <<< n
	step := func(to, more, mixed local, n int64) code {
		return cat(
			to.set(i32x4add(to.get(), more.get())),
			mixed.set(v128xor(mixed.get(), to.get())),
			rotate(mixed, n),
		)
	}
	return cat(step(a, b, d, 16), step(c, d, b, 12), step(a, b, d, 8), step(c, d, b, 7))
}

// rotate rotates the numbers of a vector to the left. Whole bytes are moved at once.
func rotate(v local, n int64) code {
	if n%8 != 0 {
		return v.set(v128or(i32x4shl(v.get(), n), i32x4shru(v.get(), 32-n)))
	}
	var lanes [16]byte
	for i := range lanes {
		lanes[i] = byte(i&^3 | (i-int(n/8))&3)
	}
	return v.set(shuffle(v.get(), v.get(), lanes))
}

// writeBlocks XORs the input with the keystream. The vectors, which hold one number of
// each block, become vectors of four numbers of one block by transposing squares of four.
func writeBlocks(x, t, in, out local) (c code) {
	for i := range local(4) {
		a, b, e, d := x+4*i, x+4*i+1, x+4*i+2, x+4*i+3
		c = cat(c,
			t.set(shuffle(a.get(), b.get(), lowHalves(4))),
			(t + 1).set(shuffle(e.get(), d.get(), lowHalves(4))),
			(t + 2).set(shuffle(a.get(), b.get(), highHalves(4))),
			(t + 3).set(shuffle(e.get(), d.get(), highHalves(4))),
		)
		for block := range local(blocks) {
			lanes := lowHalves(8)
			if block%2 == 1 {
				lanes = highHalves(8)
			}
			pair := t + block/2*2
			offset := blockSize*uint64(block) + 16*uint64(i)
			row := shuffle(pair.get(), (pair + 1).get(), lanes)
			c = cat(c, v128store(out.get(), offset, v128xor(row, v128load(in.get(), offset))))
		}
	}
	return c
}

// lowHalves interleaves pieces of size bytes of the first halves of two vectors.
func lowHalves(size int) (lanes [16]byte) {
	for i := range lanes {
		piece := i / size
		lanes[i] = byte(piece/2*size + piece%2*16 + i%size)
	}
	return lanes
}

// highHalves does the same with the second halves.
func highHalves(size int) (lanes [16]byte) {
	for i, lane := range lowHalves(size) {
		lanes[i] = lane + 8
	}
	return lanes
}
