package datadir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// tempPattern is the name pattern of files while they are written.
const tempPattern = ".tombolo-*.tmp"

// Replace writes a file in the directory, replacing the one with that name if it exists.
// After a crash either the old or the new file is there, complete.
func Replace(dir, name string, b []byte) error {
	temp, err := writeTemp(dir, b)
	if err != nil {
		return err
	}
	defer os.Remove(temp)
	if err := os.Rename(temp, filepath.Join(dir, name)); err != nil {
		return err
	}
	return syncDir(dir)
}

// createWhole writes a new file under a temporary name, then gives it its own with a hard
// link, which fails if that name is taken.
func createWhole(dir, name string, b []byte) error {
	temp, err := writeTemp(dir, b)
	if err != nil {
		return err
	}
	defer os.Remove(temp)
	path := filepath.Join(dir, name)
	if err = os.Link(temp, path); err != nil && !errors.Is(err, os.ErrExist) {
		// A file system without hard links: we have locked the directory and saw that the name
		// was free.
		if _, statErr := os.Lstat(path); !errors.Is(statErr, os.ErrNotExist) {
			return err
		}
		err = os.Rename(temp, path)
	}
	if err != nil {
		return err
	}
	return syncDir(dir)
}

// writeTemp writes a file that only its owner may read, and syncs it to disk.
func writeTemp(dir string, b []byte) (path string, err error) {
	f, err := os.CreateTemp(dir, tempPattern) // mode 0600
	if err != nil {
		return "", err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// removeLeftovers removes temporary files that a crash left.
func removeLeftovers(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read data directory: %w", err)
	}
	for _, e := range entries {
		if left, _ := filepath.Match(tempPattern, e.Name()); !left {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove what a crash left: %w", err)
		}
	}
	return nil
}
