package wire

import (
	"crypto/hmac"
	"crypto/sha256"

	"github.com/libp2p/go-libp2p/core/peer"
)

const proofSize = sha256.Size

// Proof returns a proof to a host that a player knows the password of its room; nil if
// there is none. It is bound to both peers, so a host that falsely claims the name of a
// room gets nothing that works at another host. It can try passwords against the proof,
// so a short password can be found.
func Proof(password, room string, host, player peer.ID) []byte {
	if password == "" {
		return nil
	}
	mac := hmac.New(sha256.New, []byte(password))
	for _, part := range []string{Protocol, room, string(host), string(player)} {
		mac.Write(appendBytes(nil, part))
	}
	return mac.Sum(nil)
}
