// Package plainfile opens and reads files whose name or content somebody else chose. It
// never blocks on a device, or on a named pipe without a writer.
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

// Read reads a whole file of at most limit bytes. A larger file is an error. Read waits
// up to ten seconds for a pipe, such as that of --config <(command); a pipe without a
// writer is an error.
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
	_ = f.SetReadDeadline(time.Now().Add(pipeTime)) // only pipes and the like support it
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

// Served reports whether a file may be served: whether it is a regular file or a folder,
// and not a named pipe, a device or a socket.
func Served(mode fs.FileMode) bool { return mode.IsRegular() || mode.IsDir() }
