package relay

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tombolo-net/tombolo/native/plainfile"
)

const (
	// revokedName is the file of revoked tokens in the data directory.
	revokedName = "revoked"
	// maxRevoked is how many tokens may be revoked at once.
	maxRevoked     = 1 << 16
	maxRevokedFile = 4 << 20 // bytes
)

// RevokedToken is a token that the relay refuses although it has not expired.
type RevokedToken struct {
	ID      string    `json:"id"`
	Expires time.Time `json:"expires"` // when the relay forgets it
}

// revoked is the list of tokens that are refused although they have not expired. An ID
// contains the time when its token expires, so no entry is kept longer. Its methods may
// not be called concurrently.
type revoked struct {
	path string // of the file, with one ID a line; empty: nothing is stored
	ids  map[string]time.Time
}

func openRevoked(dataDir string, now time.Time) (*revoked, error) {
	r := &revoked{ids: make(map[string]time.Time)}
	if dataDir == "" {
		return r, nil
	}
	r.path = filepath.Join(dataDir, revokedName)
	b, err := plainfile.Read(r.path, maxRevokedFile)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read which tokens are revoked: %w", err)
	}
	for _, id := range strings.Fields(string(b)) {
		expires, err := parseTokenID(id)
		if err != nil {
			return nil, fmt.Errorf("read which tokens are revoked: %s: %w", r.path, err)
		}
		r.ids[id] = expires
	}
	return r, r.sweep(now)
}

func (r *revoked) has(id string) bool {
	_, has := r.ids[id]
	return has
}

// add revokes a token. If the file cannot be written, the token is not revoked.
func (r *revoked) add(id string, now time.Time) error {
	expires, err := parseTokenID(id)
	if err != nil {
		return err
	}
	if !now.Before(expires) {
		return fmt.Errorf("the token %s has expired at %s: there is nothing to revoke", id, expires.UTC().Format(time.RFC3339))
	}
	if r.has(id) {
		return nil
	}
	if len(r.ids) >= maxRevoked {
		return fmt.Errorf("revoke %s: %d tokens are revoked, which is all that a relay keeps; the first is forgotten when it has expired", id, len(r.ids))
	}
	r.ids[id] = expires
	if err := r.write(); err != nil {
		delete(r.ids, id)
		return fmt.Errorf("revoke %s: %w", id, err)
	}
	return nil
}

// sweep forgets tokens that have expired.
func (r *revoked) sweep(now time.Time) error {
	before := len(r.ids)
	maps.DeleteFunc(r.ids, func(_ string, expires time.Time) bool { return !now.Before(expires) })
	if len(r.ids) == before {
		return nil
	}
	return r.write()
}

func (r *revoked) write() error {
	if r.path == "" {
		return nil
	}
	var text strings.Builder
	for _, t := range r.list() {
		text.WriteString(t.ID + "\n")
	}
	return replace(r.path, text.String())
}

func (r *revoked) list() []RevokedToken {
	all := make([]RevokedToken, 0, len(r.ids))
	for _, id := range slices.Sorted(maps.Keys(r.ids)) {
		all = append(all, RevokedToken{ID: id, Expires: r.ids[id]})
	}
	return all
}
