// Package plainfile opens and reads files whose name or content somebody else chose. It
// never waits for a device, or for the writer of a named pipe.
package plainfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// pipeTime is how long Read waits for the writer of a pipe.
const pipeTime = 10 * time.Second

// Read reads a whole file of at most limit bytes. A file that is larger is an
// error. A pipe, such as that of --config <(command), is waited for, ten seconds
// at most; one that nobody writes to is an error.
func Read(path string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|NoWait, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	pipe := info.Mode()&fs.ModeNamedPipe != 0
	_ = f.SetReadDeadline(time.Now().Add(pipeTime)) // only of files that can be waited for
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, fmt.Errorf("read %s: its writer did not end within %s", path, pipeTime)
	case err != nil:
		return nil, err
	case int64(len(b)) > limit:
		return nil, fmt.Errorf("read %s: it has more than %d bytes", path, limit)
	case pipe && len(b) == 0:
		return nil, fmt.Errorf("read %s: it is a named pipe, and nobody writes to it", path)
	}
	return b, nil
}

// Served says whether a file is one to serve: a regular file or a folder. A named
// pipe, a device or a socket is not.
func Served(mode fs.FileMode) bool { return mode.IsRegular() || mode.IsDir() }
