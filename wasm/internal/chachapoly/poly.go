package chachapoly

// mac is Poly1305: the accumulator h becomes (h + block) * r, modulo 2^130 - 5, for each
// block of 16 bytes. All are in five limbs of 26 bits, so that 64 bits hold the sum of
// five products with room to spare; bits beyond the fifth limb count five times in the
// first. After "poly1305-donna" by Andrew Moon.
func mac() code {
	const (
		state, data, n local = 0, 1, 2
		h, r, s, d, c  local = 3, 8, 13, 18, 23 // five each, but for c
		limbs                = 5
		mask                 = 1<<26 - 1
	)
	s5 := func(i local) code { return (s + i).get() } // 5*r[i]
	var load, add, multiply, carry, store code
	for i := range local(limbs) {
		load = cat(load,
			(h + i).set(i64load32(state.get(), hAt+4*uint64(i))),
			(r + i).set(i64load32(state.get(), rAt+4*uint64(i))),
			(s + i).set(i64mul((r+i).get(), i64const(5))),
		)
		add = cat(add, (h + i).set(i64add((h+i).get(), blockLimb(data, i))))
		store = cat(store, i64store32(state.get(), hAt+4*uint64(i), (h+i).get()))

		var sum code
		for j := range local(limbs) {
			factor := s5(limbs + i - j) // h[j] * r[k], with j + k = i + 5
			if j <= i {
				factor = (r + i - j).get()
			}
			product := i64mul((h + j).get(), factor)
			if sum == nil {
				sum = product
			} else {
				sum = i64add(sum, product)
			}
		}
		multiply = cat(multiply, (d + i).set(sum))
	}
	shift := func(from local) code { return i64shru(from.get(), i64const(26)) }
	for i := range local(limbs) {
		carry = cat(carry, c.set(shift(d+i)), (h + i).set(i64and((d+i).get(), i64const(mask))))
		if i < limbs-1 {
			carry = cat(carry, (d + i + 1).set(i64add((d+i+1).get(), c.get())))
		}
	}
	carry = cat(carry,
		h.set(i64add(h.get(), i64mul(c.get(), i64const(5)))),
		c.set(shift(h)),
		h.set(i64and(h.get(), i64const(mask))),
		(h + 1).set(i64add((h+1).get(), c.get())),
	)
	block := cat(add, multiply, carry,
		data.set(i32add(data.get(), i32const(16))),
		n.set(i32sub(n.get(), i32const(16))),
	)
	return function([]code{locals(4*limbs+1, i64)}, when(n.get(), cat(load, loop(block, n.get()), store)))
}

// blockLimb loads 26 bits of a block. The last limb also has the bit that RFC 8439 sets
// beyond the block.
func blockLimb(data, i local) code {
	offset := []uint64{0, 3, 6, 9, 12}[i]
	v := i64load32(data.get(), offset)
	if i > 0 {
		v = i64shru(v, i64const(2*int64(i)))
	}
	if i < 4 {
		return i64and(v, i64const(1<<26-1))
	}
	return i64or(v, i64const(1<<24))
}
