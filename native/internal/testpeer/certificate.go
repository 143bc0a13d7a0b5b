package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"time"

	"github.com/multiformats/go-multibase"
	"github.com/multiformats/go-multihash"
)

// selfSigned makes a certificate that a browser accepts by its hash (ECDSA, less than 14 days), and that hash as a multihash.
func selfSigned() (*tls.Config, multihash.Multihash, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	cert := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "testpeer"},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(10 * 24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	hash, err := certHash(der)
	if err != nil {
		return nil, nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, hash, nil
}

func certHash(der []byte) (multihash.Multihash, error) {
	sum := sha256.Sum256(der)
	return multihash.Encode(sum[:], multihash.SHA2_256)
}

// certHashAddr returns the end of a WebTransport multiaddr that lists hashes.
func certHashAddr(hashes ...multihash.Multihash) (string, error) {
	var addr string
	for _, h := range hashes {
		s, err := multibase.Encode(multibase.Base64url, h)
		if err != nil {
			return "", fmt.Errorf("encode a certificate hash: %w", err)
		}
		addr += "/certhash/" + s
	}
	return addr, nil
}
