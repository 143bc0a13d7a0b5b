package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/tombolo-net/tombolo/native/printable"
)

// Line writes one line for a person to read. The programs print all results and errors
// with Line, JSON or Data, because any of them may contain text that a peer chose: see
// printable.Line.
func Line(w io.Writer, format string, args ...any) error {
	_, err := io.WriteString(w, printable.Line(fmt.Sprintf(format, args...))+"\n")
	return err
}

// JSON writes v as one JSON value and a newline. If indent is not empty, it indents the
// lines within. The output is printable, and the value stays the same: see
// printable.JSON.
func JSON(w io.Writer, indent string, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", indent)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := io.WriteString(w, printable.JSON(b.String()))
	return err
}

// Data writes bytes that a peer sent: unchanged to a file or a pipe; to a terminal,
// printable, with their line breaks and tabs.
func Data(f *os.File, b []byte) error {
	if IsTerminal(f) {
		b = []byte(printable.Lines(string(b)))
	}
	_, err := f.Write(b)
	return err
}

// IsTerminal reports whether f is a terminal, so that a person may see what is written to
// it.
func IsTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// OutliveReaders lets a program keep running when the reader of its standard output or
// error has ended. By default SIGPIPE would end it at once, with nothing closed; systemd
// would even take that for a clean exit, and not restart it.
func OutliveReaders() { signal.Ignore(syscall.SIGPIPE) }

// ReaderGone returns nil for the error of a write whose reader has ended: a program that
// ran only for its reader has done its work. It returns any other error unchanged.
func ReaderGone(err error) error {
	if errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return err
}
