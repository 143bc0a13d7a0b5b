package tunnels

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/tombolo-net/tombolo/native/datadir"
)

// FileName is the file's in a data directory: JSON, for a person to read. It is
// replaced as a whole with every change, and is on the disk when that returns.
const FileName = "tunnels.json"

// fileVersion is that of the file's form. A file of a later one is not read.
const fileVersion = 1

type file struct {
	Version   int           `json:"version"`
	Listeners []ListenSpec  `json:"listeners"`
	Forwards  []ForwardSpec `json:"forwards"`
}

// DamagedError says that the file cannot be used. It is left as it is.
type DamagedError struct {
	Path string
	Err  error
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("the tunnels in %s cannot be read (%v): mend the file or restore it from a backup, or move it away to begin without tunnels", e.Path, e.Err)
}

// Unwrap returns what was found.
func (e *DamagedError) Unwrap() error { return e.Err }

func read(dir string) (f file, err error) {
	path := filepath.Join(dir, FileName)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return file{}, nil
	}
	if err == nil {
		f, err = parseFile(b)
	}
	if err != nil {
		return file{}, &DamagedError{path, err}
	}
	return f, nil
}

func parseFile(b []byte) (f file, err error) {
	var version struct{ Version int }
	if err := json.Unmarshal(b, &version); err != nil {
		return f, err
	}
	if version.Version != fileVersion {
		return f, fmt.Errorf("it is of version %d, and this program reads version %d", version.Version, fileVersion)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields() // a misspelt "deny" must not let everyone in
	if err := d.Decode(&f); err != nil {
		return f, err
	}
	if _, err := d.Token(); err != io.EOF {
		return f, errors.New("something follows the tunnels")
	}
	return f, nil
}

// save writes what is to survive, unless all that changed is ephemeral. Called
// with t.mu held.
func (t *Tunnels) save(ephemeral bool) error {
	if ephemeral {
		return nil
	}
	f := file{Version: fileVersion, Listeners: []ListenSpec{}, Forwards: []ForwardSpec{}}
	for _, l := range t.listeners {
		if !l.spec.Ephemeral {
			f.Listeners = append(f.Listeners, l.spec)
		}
	}
	for _, w := range t.forwards {
		if !w.spec.Ephemeral {
			f.Forwards = append(f.Forwards, w.spec)
		}
	}
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	if err := datadir.Replace(t.dir, FileName, append(b, '\n')); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Join(t.dir, FileName), err)
	}
	return nil
}
