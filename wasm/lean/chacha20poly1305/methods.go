//go:build wasmsimd

package chacha20poly1305

import "golang.org/x/crypto/internal/alias"

func (c *chacha20poly1305) seal(dst, nonce, plaintext, additionalData []byte) []byte {
	if ready() == 0 {
		return c.sealGeneric(dst, nonce, plaintext, additionalData)
	}
	ret, out := sliceForAppend(dst, len(plaintext)+tagSize)
	refuseOverlap(out, plaintext, additionalData)
	tag := sealSIMD(&c.key, nonce, out, plaintext, additionalData)
	copy(out[len(plaintext):], tag[:])
	return ret
}

func (c *chacha20poly1305) open(dst, nonce, ciphertext, additionalData []byte) ([]byte, error) {
	if ready() == 0 {
		return c.openGeneric(dst, nonce, ciphertext, additionalData)
	}
	ciphertext, tag := ciphertext[:len(ciphertext)-tagSize], ciphertext[len(ciphertext)-tagSize:]
	ret, out := sliceForAppend(dst, len(ciphertext))
	refuseOverlap(out, ciphertext, additionalData)
	if !openSIMD(&c.key, nonce, out, ciphertext, tag, additionalData) {
		clear(out)
		return nil, errOpen
	}
	return ret, nil
}

func refuseOverlap(out, in, additionalData []byte) {
	if alias.InexactOverlap(out, in) {
		panic("chacha20poly1305: invalid buffer overlap of output and input")
	}
	if alias.AnyOverlap(out, additionalData) {
		panic("chacha20poly1305: invalid buffer overlap of output and additional data")
	}
}
