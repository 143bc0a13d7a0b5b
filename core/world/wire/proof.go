package wire

import (
	"crypto/hmac"
	"crypto/sha256"

	"github.com/libp2p/go-libp2p/core/peer"
)

const proofSize = sha256.Size

// Proof shows a host that a player knows the password of its room. It is bound to
// both peers, so a host that only claims the name of a room learns nothing that
// would open another's. It may try passwords against it, so a short one is found.
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
