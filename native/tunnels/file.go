package tunnels

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/tombolo-net/tombolo/native/datadir"
	"github.com/tombolo-net/tombolo/native/plainfile"
)

// FileName is the name of the file in a data directory. It is JSON, readable for people.
// Every change replaces it as a whole, and is on disk when the call returns.
const FileName = "tunnels.json"

// fileVersion is the version of the file's format. A file of another version is not read.
const fileVersion = 1

// maxFile is the maximum size of the file, in bytes: a hundred thousand tunnels.
const maxFile = 64 << 20

// file has entries that are parsed one by one, so that a mistake in one, which a person
// may have made, does not affect the others.
type file struct {
	Version   int               `json:"version"`
	Listeners []json.RawMessage `json:"listeners"` // of ListenSpec
	Forwards  []json.RawMessage `json:"forwards"`  // of ForwardSpec
}

// DamagedError is returned if the file cannot be used. The file is not changed.
type DamagedError struct {
	Path string
	Err  error
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("the tunnels in %s cannot be read (%v): mend the file or restore it from a backup, or move it away to begin without tunnels", e.Path, e.Err)
}

// Unwrap returns the underlying error.
func (e *DamagedError) Unwrap() error { return e.Err }

func read(dir string) (listeners []*listener, forwards []*forward, err error) {
	path := filepath.Join(dir, FileName)
	b, err := plainfile.Read(path, maxFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, nil
	}
	var f file
	if err == nil {
		f, err = parseFile(b)
	}
	if err != nil {
		return nil, nil, &DamagedError{path, err}
	}
	for _, raw := range f.Listeners {
		l := &listener{gone: make(chan struct{})}
		if l.err = entry(raw, &l.spec); l.err != nil {
			l.raw = raw
			l.spec = ListenSpec{Protocol: protocol.ID(text(raw, "protocol")), Target: text(raw, "target")}
		}
		listeners = append(listeners, l)
	}
	for _, raw := range f.Forwards {
		w := &forward{gone: make(chan struct{})}
		if w.err = entry(raw, &w.spec); w.err != nil {
			w.raw = raw
			w.spec = ForwardSpec{Protocol: protocol.ID(text(raw, "protocol")), Listen: text(raw, "listen"), Peer: text(raw, "peer")}
		}
		forwards = append(forwards, w)
	}
	return listeners, forwards, nil
}

func parseFile(b []byte) (f file, err error) {
	var version struct{ Version int }
	if err := json.Unmarshal(b, &version); err != nil {
		return f, err
	}
	if version.Version != fileVersion {
		return f, fmt.Errorf("it is of version %d, and this tombolo reads version %d", version.Version, fileVersion)
	}
	return f, strictly(b, &f)
}

// entry parses one entry.
func entry(raw json.RawMessage, spec any) error {
	if err := strictly(raw, spec); err != nil {
		return fmt.Errorf("its entry in %s cannot be read: %w", FileName, err)
	}
	return nil
}

// text returns a field of an entry that cannot be parsed as a whole, to name the entry
// by.
func text(raw json.RawMessage, field string) (s string) {
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(raw, &fields)
	_ = json.Unmarshal(fields[field], &s)
	return s
}

// strictly decodes JSON and rejects unknown fields: a misspelt "deny" must not let
// everyone in.
func strictly(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

// save writes the tunnels that are not ephemeral, unless all that changed is ephemeral.
// The mutex is held.
func (t *Tunnels) save(ephemeral bool) error {
	if ephemeral {
		return nil
	}
	f := file{Version: fileVersion, Listeners: []json.RawMessage{}, Forwards: []json.RawMessage{}}
	var errs []error
	for _, l := range t.listeners {
		if !l.spec.Ephemeral {
			errs = append(errs, add(&f.Listeners, l.raw, l.spec))
		}
	}
	for _, w := range t.forwards {
		if !w.spec.Ephemeral {
			errs = append(errs, add(&f.Forwards, w.raw, w.spec))
		}
	}
	b, err := json.MarshalIndent(f, "", "  ")
	if err = errors.Join(append(errs, err)...); err != nil {
		return err
	}
	if err := datadir.Replace(t.dir, FileName, append(b, '\n')); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Join(t.dir, FileName), err)
	}
	return nil
}

// add adds an entry: as it was in the file, or else its spec.
func add(to *[]json.RawMessage, raw json.RawMessage, spec any) (err error) {
	if raw == nil {
		raw, err = json.Marshal(spec)
	}
	*to = append(*to, raw)
	return err
}
