// Package datadir manages the data directory of a node that runs as a process: which
// process may use it, and the identity in it.
//
// A directory belongs to one process at a time. The identity is an Ed25519 key in the
// file identity.key, in libp2p's protobuf form (Kubo calls it libp2p-protobuf-cleartext),
// which only its owner may read. It is made once and never overwritten. Anything wrong
// with the file is an error that says what to do, because a silently made new identity
// would be a peer that nobody knows.
package datadir

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gofrs/flock"
	"github.com/libp2p/go-libp2p/core/crypto"

	"github.com/tombolo-net/tombolo/native/plainfile"
)

const (
	keyFile  = "identity.key"
	lockFile = "lock"

	dirMode  = 0o700
	fileMode = 0o600
)

// ErrInUse is returned by Open if another process, or another Dir of this one, has locked
// the directory.
var ErrInUse = errors.New("the data directory is in use")

// Dir is a data directory that this process has locked. Its methods may be called
// concurrently; Close ends them.
type Dir struct {
	path string
	lock *flock.Flock
}

// Open creates the directory if it is missing (mode 0700, parents too) and locks it for
// this process until Close. If another process has locked it, the error is ErrInUse and
// names the directory and, if known, the process.
func Open(path string) (*Dir, error) {
	if path == "" {
		return nil, errors.New("open data directory: the path is empty")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open data directory: %w", err)
	}
	if err := os.MkdirAll(path, dirMode); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	lockPath := filepath.Join(path, lockFile)
	if info, err := os.Lstat(lockPath); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("lock data directory %s: %s is not a regular file: move it away", path, lockPath)
	}
	lock := flock.New(lockPath, flock.SetPermissions(fileMode))
	got, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock data directory %s: %w", path, err)
	}
	if !got {
		holder := "another process"
		if pid := readPID(lockPath); pid != 0 {
			holder = fmt.Sprintf("process %d", pid)
		}
		return nil, fmt.Errorf("%w: %s belongs to %s; end that, or choose another directory", ErrInUse, path, holder)
	}
	// Only for the error message of the next process; the lock itself is the kernel's.
	_ = os.WriteFile(lockPath, []byte(strconv.Itoa(os.Getpid())+"\n"), fileMode)
	return &Dir{path: path, lock: lock}, nil
}

// Path returns the directory's absolute path.
func (d *Dir) Path() string { return d.path }

// Close unlocks the directory. It may be called more than once.
func (d *Dir) Close() error {
	if d.lock.Locked() {
		_ = os.Truncate(d.lock.Path(), 0) // so that no error message names this process
	}
	if err := d.lock.Close(); err != nil {
		return fmt.Errorf("unlock data directory %s: %w", d.path, err)
	}
	return nil
}

// Key loads the identity, or makes one if there is none yet.
func (d *Dir) Key() (crypto.PrivKey, error) {
	if err := removeLeftovers(d.path); err != nil {
		return nil, err
	}
	key, err := readKey(d.path, true)
	if errors.Is(err, os.ErrNotExist) {
		return makeKey(d.path)
	}
	return key, err
}

// ErrNoIdentity is returned by ReadKey if no identity was made yet.
var ErrNoIdentity = errors.New("no identity there yet")

// ReadKey reads the identity from a directory that another process may have open. Root
// may read the identity of any user. ReadKey makes no identity: if there is none, the
// error is ErrNoIdentity.
func ReadKey(path string) (crypto.PrivKey, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("read identity: %w", err)
	}
	key, err := readKey(path, false)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read %s: %w", filepath.Join(path, keyFile), ErrNoIdentity)
	}
	return key, err
}

// maxPID bounds the lock file, in bytes.
const maxPID = 64

func readPID(lockPath string) int {
	b, err := plainfile.Read(lockPath, maxPID)
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return max(pid, 0)
}

// Identity returns a node's key, and the data directory to close when the node ends. The
// key is the given one or, if nil, the one in dir; without dir nothing is stored, and a
// nil key means a new one.
func Identity(dir string, given crypto.PrivKey) (crypto.PrivKey, io.Closer, error) {
	if dir == "" {
		if given == nil {
			fresh, _, err := crypto.GenerateEd25519Key(rand.Reader)
			if err != nil {
				return nil, nil, fmt.Errorf("make identity: %w", err)
			}
			given = fresh
		}
		return given, nothing{}, nil
	}
	d, err := Open(dir)
	if err != nil {
		return nil, nil, err
	}
	if given == nil {
		if given, err = d.Key(); err != nil {
			return nil, nil, errors.Join(err, d.Close())
		}
	}
	return given, d, nil
}

type nothing struct{}

func (nothing) Close() error { return nil }
