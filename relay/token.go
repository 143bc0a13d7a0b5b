package relay

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	tokenPrefix = "tr1."
	tokenDomain = "tombolo-relay token\n" // before what is signed
	maxToken    = 1024                    // bytes
	maxHolder   = 64                      // bytes of Holder
)

// claim is what a token says.
type claim struct {
	By      string `json:"by"` // the relay that has signed it
	Expires int64  `json:"exp"`
	Holder  string `json:"for,omitempty"`
}

// Token makes a token that admits whoever presents it to a closed relay with that
// identity, and to those that have it among their Peers, until it expires. holder, of
// at most 64 bytes, is for the operator to know it by.
func Token(identity crypto.PrivKey, holder string, expires time.Time) (string, error) {
	if len(holder) > maxHolder {
		return "", fmt.Errorf("make token: %q has more than %d bytes", holder, maxHolder)
	}
	id, err := peer.IDFromPrivateKey(identity)
	if err != nil {
		return "", fmt.Errorf("make token: %w", err)
	}
	said, err := json.Marshal(claim{By: id.String(), Expires: expires.Unix(), Holder: holder})
	if err != nil {
		return "", fmt.Errorf("make token: %w", err)
	}
	signature, err := identity.Sign(append([]byte(tokenDomain), said...))
	if err != nil {
		return "", fmt.Errorf("make token: %w", err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	return tokenPrefix + encode(said) + "." + encode(signature), nil
}

var errNoToken = errors.New("the token is none of this relay's")

// checkToken says when a token expires that one of trusted has signed, or what is
// wrong with it.
func checkToken(token string, trusted []peer.ID, now time.Time) (expires time.Time, err error) {
	body, ok := strings.CutPrefix(token, tokenPrefix)
	first, second, two := strings.Cut(body, ".")
	if !ok || !two || len(token) > maxToken {
		return expires, errNoToken
	}
	said, err := base64.RawURLEncoding.DecodeString(first)
	if err != nil {
		return expires, errNoToken
	}
	signature, err := base64.RawURLEncoding.DecodeString(second)
	if err != nil {
		return expires, errNoToken
	}
	var c claim
	if json.Unmarshal(said, &c) != nil {
		return expires, errNoToken
	}
	by, err := peer.Decode(c.By)
	if err != nil || !slices.Contains(trusted, by) {
		return expires, errNoToken
	}
	key, err := by.ExtractPublicKey()
	if err != nil {
		return expires, errNoToken
	}
	if valid, err := key.Verify(append([]byte(tokenDomain), said...), signature); err != nil || !valid {
		return expires, errNoToken
	}
	expires = time.Unix(c.Expires, 0)
	if !now.Before(expires) {
		return expires, fmt.Errorf("the token has expired at %s", expires.UTC().Format(time.RFC3339))
	}
	return expires, nil
}
