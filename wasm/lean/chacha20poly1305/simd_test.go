//go:build js

package chacha20poly1305

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"syscall/js"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	real "golang.org/x/crypto/chacha20poly1305"

	"github.com/tombolo-net/tombolo/wasm/internal/chachapoly"
)

// The module has a memory of its own here, since a test does not get at that of its
// program: what it works on is copied.
func TestMain(m *testing.M) {
	const stateAt, fromAt, toAt, pages = 0, 1 << 16, 3 << 16, 5
	global := js.Global()
	wasm := global.Get("WebAssembly")
	module := global.Get("Uint8Array").New(len(chachapoly.Module()))
	js.CopyBytesToJS(module, chachapoly.Module())
	memory := wasm.Get("Memory").New(map[string]any{"initial": pages})
	imports := map[string]any{"program": map[string]any{"mem": memory}}
	exports := wasm.Get("Instance").New(wasm.Get("Module").New(module), imports).Get("exports")
	view := func(at int, b []byte) js.Value {
		return global.Get("Uint8Array").New(memory.Get("buffer"), at, len(b))
	}
	put := func(at int, b []byte) { js.CopyBytesToJS(view(at, b), b) }
	take := func(b []byte, at int) { js.CopyBytesToGo(b, view(at, b)) }
	bytesAt := func(p unsafe.Pointer, n int32) []byte { return unsafe.Slice((*byte)(p), n) }

	kernel.xor = func(s, dst, src unsafe.Pointer, n int32) {
		to := toAt
		if dst == src {
			to = fromAt
		}
		put(stateAt, bytesAt(s, chachapoly.StateSize))
		put(fromAt, bytesAt(src, n))
		exports.Call("xor", stateAt, to, fromAt, n)
		take(bytesAt(dst, n), to)
		take(bytesAt(s, chachapoly.StateSize), stateAt)
	}
	kernel.mac = func(s, data unsafe.Pointer, n int32) {
		put(stateAt, bytesAt(s, chachapoly.StateSize))
		put(fromAt, bytesAt(data, n))
		exports.Call("mac", stateAt, fromAt, n)
		take(bytesAt(s, chachapoly.StateSize), stateAt)
	}
	os.Exit(m.Run())
}

func TestAStateIsWhatTheModuleWorksOn(t *testing.T) {
	require.EqualValues(t, chachapoly.StateSize, unsafe.Sizeof(state{}))
}

// RFC 8439, 2.8.2.
func TestTheExampleOfTheRFC(t *testing.T) {
	key := [32]byte(unhex("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f"))
	nonce, additional := unhex("070000004041424344454647"), unhex("50515253c0c1c2c3c4c5c6c7")
	plain := []byte("Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.")
	want := unhex(`d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6
		3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36
		92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc
		3ff4def08e4b7a9de576d26586cec64b6116`)
	out := make([]byte, len(plain))
	tag := sealSIMD(&key, nonce, out, plain, additional)
	require.Equal(t, want, out)
	require.Equal(t, unhex("1ae10b594f09e26a7e902ecbd0600691"), tag[:])
}

// RFC 8439, A.3, numbers 7 to 13: sums at and around the prime.
func TestTheTagsOfTheRFCThatAreHardToReduce(t *testing.T) {
	zeros := strings.Repeat("00", 15)
	ones := strings.Repeat("ff", 16)
	for _, v := range []struct{ r, pad, data, tag string }{
		{"02" + zeros, "00" + zeros, ones, "03" + zeros},
		{"02" + zeros, ones, "02" + zeros, "03" + zeros},
		{"01" + zeros, "00" + zeros, ones + "f0" + ones[2:] + "11" + zeros, "05" + zeros},
		{"01" + zeros, "00" + zeros, ones + "fb" + strings.Repeat("fe", 15) + strings.Repeat("01", 16), "00" + zeros},
		{"02" + zeros, "00" + zeros, "fd" + ones[2:], "fa" + ones[2:]},
		{"0100000000000000" + "0400000000000000", "00" + zeros, "e33594d7505e43b900000000000000003394d7505e4379cd0100000000000000" +
			"00" + zeros + "01" + zeros, "1400000000000000" + "5500000000000000"},
		{"0100000000000000" + "0400000000000000", "00" + zeros, "e33594d7505e43b900000000000000003394d7505e4379cd0100000000000000" +
			"00" + zeros, "13" + zeros},
	} {
		var s state
		s.setKey(unhex(v.r))
		s.mac(unhex(v.data))
		tag := s.padded((*[16]byte)(unhex(v.pad)))
		require.Equal(t, unhex(v.tag), tag[:], v.data)
	}
}

// What the real one makes is what this makes, and what the one seals the other opens.
func TestLikeTheRealOne(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 1))
	for i := range 700 {
		size := random.IntN(700)
		switch {
		case i < 300:
			size = i
		case i%100 == 0:
			size = 65535 - random.IntN(300)
		}
		what := fmt.Sprintf("seed %d, case %d, %d bytes", seed, i, size)
		key, nonce := [32]byte(randomBytes(random, 32)), randomBytes(random, 12)
		plain, additional := randomBytes(random, size), randomBytes(random, random.IntN(3)*random.IntN(40))
		aead, err := real.New(key[:])
		require.NoError(t, err)
		want := aead.Seal(nil, nonce, plain, additional)

		out := bytes.Clone(plain)
		in := plain
		if i%2 == 0 {
			in = out // in its place
		}
		tag := sealSIMD(&key, nonce, out, in, additional)
		require.True(t, bytes.Equal(want, append(out, tag[:]...)), what)

		opened := make([]byte, size)
		require.True(t, openSIMD(&key, nonce, opened, out, tag[:], additional), what)
		require.True(t, bytes.Equal(plain, opened), what)

		tampered := bytes.Clone(want)
		tampered[random.IntN(len(tampered))] ^= 1 << random.IntN(8)
		clear(opened)
		require.False(t, openSIMD(&key, nonce, opened, tampered[:size], tampered[size:], additional), what)
		require.True(t, bytes.Equal(make([]byte, size), opened), "nothing is handed out: %s", what)
	}
}

func randomBytes(random *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		panic(err)
	}
	return b
}
