package datadir

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/libp2p/go-libp2p/core/crypto"

	"github.com/tombolo-net/tombolo/native/plainfile"
)

const maxKeyFile = 4 << 10 // bytes; an Ed25519 key takes 68

// readKey loads the key. An error that is os.ErrNotExist means that nothing exists at its
// path; any other needs a person to look at it. If ours, the key must belong to the user
// of this process; otherwise root may read it, too.
func readKey(dir string, ours bool) (crypto.PrivKey, error) {
	path := filepath.Join(dir, keyFile)
	b, err := readPrivate(path, ours)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(b)
	if err != nil {
		return nil, fmt.Errorf("identity %s is damaged (%w): restore it from a backup, or move it away to get a new identity", path, err)
	}
	return key, nil
}

// readPrivate reads a file that only its owner may read. The owner must be the user of
// this process, unless ours is false and that user is root.
func readPrivate(path string, ours bool) ([]byte, error) {
	named, err := os.Lstat(path)
	if err != nil {
		return nil, fmt.Errorf("read identity: %w", err)
	}
	if err := checkPrivate(path, named, ours); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|plainfile.NoWait, 0) // it may be replaced by a pipe just now
	if err != nil {
		return nil, fmt.Errorf("read identity: %w", err)
	}
	defer f.Close()
	opened, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read identity: %w", err)
	}
	if !os.SameFile(named, opened) {
		return nil, fmt.Errorf("identity %s was replaced while it was read: try again", path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, fmt.Errorf("read identity %s: %w", path, err)
	}
	return b, nil
}

func checkPrivate(path string, info fs.FileInfo, ours bool) error {
	mode := info.Mode()
	switch {
	case mode&fs.ModeSymlink != 0:
		return fmt.Errorf("identity %s is a symbolic link: put the file itself there", path)
	case mode.IsDir():
		return fmt.Errorf("identity %s is a directory: move it away", path)
	case !mode.IsRegular():
		return fmt.Errorf("identity %s is not a regular file: move it away", path)
	}
	if ours || os.Geteuid() != 0 {
		if err := checkOwner(path, info); err != nil {
			return err
		}
	}
	if tooOpen(mode) {
		return fmt.Errorf("identity %s may be read or changed by others (mode %#o): chmod 600 %s", path, mode.Perm(), path)
	}
	return nil
}

func parseKey(b []byte) (crypto.PrivKey, error) {
	switch {
	case len(b) == 0:
		return nil, errors.New("it is empty")
	case len(b) > maxKeyFile:
		return nil, errors.New("it is too long for a key")
	}
	key, err := crypto.UnmarshalPrivateKey(b)
	if err != nil {
		return nil, err
	}
	if key.Type() != crypto.Ed25519 {
		return nil, fmt.Errorf("it holds a key of type %s, not Ed25519", key.Type())
	}
	raw, err := key.Raw()
	if err != nil {
		return nil, err
	}
	// The file holds seed and public key; libp2p takes them as they come.
	if want := ed25519.NewKeyFromSeed(raw[:ed25519.SeedSize]); !bytes.Equal(raw, want) {
		return nil, errors.New("its two halves do not belong together")
	}
	if again, err := crypto.MarshalPrivateKey(key); err != nil || !bytes.Equal(again, b) {
		return nil, errors.New("something follows the key")
	}
	return key, nil
}

// makeKey makes the identity. The file appears under its name complete or not at all, and
// never replaces another.
func makeKey(dir string) (crypto.PrivKey, error) {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make identity: %w", err)
	}
	b, err := crypto.MarshalPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("make identity: %w", err)
	}
	if err := createWhole(dir, keyFile, b); err != nil {
		return nil, fmt.Errorf("make identity: %w", err)
	}
	return key, nil
}
