package relay

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	tokenPrefix = "tr1."
	tokenDomain = "tombolo-relay token\n" // prefixed to the signed bytes
	maxToken    = 1024                    // bytes
	maxHolder   = 64                      // bytes of Holder
)

// claim is the content of a token.
type claim struct {
	By      string `json:"by"` // the relay that signed it
	Expires int64  `json:"exp"`
	Number  string `json:"id"` // random
	Holder  string `json:"for,omitempty"`
}

// id returns the ID: when the token expires, in hexadecimal, and its number. A relay that
// is to refuse the token thus knows how long it must remember that.
func (c claim) id() string { return fmt.Sprintf("%x-%s", c.Expires, c.Number) }

var tokenID = regexp.MustCompile(`^([0-9a-f]{1,10})-[0-9a-f]{16}$`)

// parseTokenID returns when the token with an ID expires.
func parseTokenID(id string) (expires time.Time, err error) {
	parts := tokenID.FindStringSubmatch(id)
	if parts == nil {
		return expires, fmt.Errorf("%q is not the ID of a token, such as 6928d3a5-9f3c1b2a4d5e6f70", id)
	}
	seconds, err := strconv.ParseInt(parts[1], 16, 64)
	return time.Unix(seconds, 0), err
}

// Token returns a token that admits its bearer to a closed relay with that identity, and
// to relays that have it among their Peers, until the token expires or is revoked (see
// TokenID). holder, of at most 64 bytes, tells the operator who has the token.
func Token(identity crypto.PrivKey, holder string, expires time.Time) (string, error) {
	if len(holder) > maxHolder {
		return "", fmt.Errorf("make token: %q has more than %d bytes", holder, maxHolder)
	}
	id, err := peer.IDFromPrivateKey(identity)
	if err != nil {
		return "", fmt.Errorf("make token: %w", err)
	}
	number := make([]byte, 8)
	_, _ = rand.Read(number) // never fails
	said, err := json.Marshal(claim{By: id.String(), Expires: expires.Unix(), Number: hex.EncodeToString(number), Holder: holder})
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

// TokenID returns the ID with which a relay is told to revoke a token. It does not check
// whether the token is valid.
func TokenID(token string) (string, error) {
	c, _, _, err := readToken(token)
	if err != nil {
		return "", errors.New("that is not a token of a relay")
	}
	if _, err := parseTokenID(c.id()); err != nil {
		return "", err
	}
	return c.id(), nil
}

var errNoToken = errors.New("the token is none of this relay's")

// readToken parses a token, without checking anything.
func readToken(token string) (c claim, said, signature []byte, err error) {
	body, ok := strings.CutPrefix(token, tokenPrefix)
	first, second, two := strings.Cut(body, ".")
	if !ok || !two || len(token) > maxToken {
		return c, nil, nil, errNoToken
	}
	if said, err = base64.RawURLEncoding.DecodeString(first); err != nil {
		return c, nil, nil, errNoToken
	}
	if signature, err = base64.RawURLEncoding.DecodeString(second); err != nil {
		return c, nil, nil, errNoToken
	}
	if json.Unmarshal(said, &c) != nil {
		return c, nil, nil, errNoToken
	}
	return c, said, signature, nil
}

// checkToken returns what a token signed by one of trusted grants, or what is wrong with
// it. The token may have expired.
func checkToken(token string, trusted []peer.ID) (g grant, err error) {
	c, said, signature, err := readToken(token)
	if err != nil {
		return g, err
	}
	by, err := peer.Decode(c.By)
	if err != nil || !slices.Contains(trusted, by) {
		return g, errNoToken
	}
	key, err := by.ExtractPublicKey()
	if err != nil {
		return g, errNoToken
	}
	if valid, err := key.Verify(append([]byte(tokenDomain), said...), signature); err != nil || !valid {
		return g, errNoToken
	}
	expires, err := parseTokenID(c.id())
	if err != nil {
		return g, errors.New("the token has no ID, so it cannot be revoked: ask the relay's operator for a new one")
	}
	return grant{token: c.id(), expires: expires}, nil
}
