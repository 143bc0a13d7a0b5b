// Command keys signs and checks with the kind of keys that a tab of ours does not have,
// but may meet, and looks a network up.
package main

import (
	"bytes"
	"fmt"
	"net"

	asnutil "github.com/libp2p/go-libp2p-asn-util"
	"github.com/libp2p/go-libp2p/core/crypto"
)

func main() {
	for i := byte(1); i < 20; i++ {
		key, err := crypto.UnmarshalSecp256k1PrivateKey(bytes.Repeat([]byte{i}, 32))
		if err != nil {
			panic(err)
		}
		data := bytes.Repeat([]byte{i}, int(i)*100)
		signature, err := key.Sign(data)
		if err != nil {
			panic(err)
		}
		good, err := key.GetPublic().Verify(data, signature)
		if err != nil {
			panic(err)
		}
		bad, _ := key.GetPublic().Verify(data[1:], signature)
		fmt.Printf("%x %t %t\n", signature, good, bad)
	}
	_ = asnutil.AsnForIPv6(net.IPv6loopback)
}
