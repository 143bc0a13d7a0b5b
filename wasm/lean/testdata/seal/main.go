// Command seal encrypts and decrypts with ChaCha20-Poly1305, and prints what comes of it.
package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"
)

func main() {
	aead, err := chacha20poly1305.New(bytes.Repeat([]byte{3}, chacha20poly1305.KeySize))
	if err != nil {
		panic(err)
	}
	for i := range 400 {
		nonce := bytes.Repeat([]byte{byte(i)}, chacha20poly1305.NonceSize)
		plain := bytes.Repeat([]byte{byte(i)}, 7*i)
		room := append(make([]byte, 0, len(plain)+aead.Overhead()), plain...)
		sealed := aead.Seal(room[:0], nonce, room, nonce[:i%12]) // in its place
		fmt.Printf("%x\n", sha256.Sum256(sealed))
		opened, err := aead.Open(nil, nonce, sealed, nonce[:i%12])
		fmt.Println(bytes.Equal(opened, plain), err)
		sealed[i]++
		opened, err = aead.Open(sealed[:0], nonce, sealed, nonce[:i%12])
		fmt.Println(opened == nil, err, sealed[0])
	}
}
