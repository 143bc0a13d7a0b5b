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

// Line writes one line for a person to read. Everything that the programs print
// or complain of goes through it, as JSON or as Data, since any of it may hold
// text that a peer chose: see printable.Line.
func Line(w io.Writer, format string, args ...any) error {
	_, err := io.WriteString(w, printable.Line(fmt.Sprintf(format, args...))+"\n")
	return err
}

// JSON writes v as one JSON value and a newline; indent, if not empty, is put
// before the lines within it. It is printable, and the value stays the
// same: see printable.JSON.
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

// Data writes bytes that a peer sent: as they are to a file or a pipe, and
// printable, with their line breaks and tabs, to a terminal.
func Data(f *os.File, b []byte) error {
	if IsTerminal(f) {
		b = []byte(printable.Lines(string(b)))
	}
	_, err := f.Write(b)
	return err
}

// IsTerminal says whether a person may see what is written to f.
func IsTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// OutliveReaders lets a program keep running when nobody reads its standard output or
// error any more. By default SIGPIPE would end it there and then, with nothing closed;
// systemd would even call that a clean end, and not restart it.
func OutliveReaders() { signal.Ignore(syscall.SIGPIPE) }

// ReaderGone turns the error of a write that nobody reads into none: the program
// that ran for its reader has done its work.
func ReaderGone(err error) error {
	if errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return err
}
