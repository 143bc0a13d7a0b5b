package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Line writes one line for a person to read. Everything that the programs print
// or complain of goes through it, as JSON or as Data, since any of it may hold
// text that a peer chose: see Printable. Tabs stay.
func Line(w io.Writer, format string, args ...any) error {
	_, err := io.WriteString(w, escape(fmt.Sprintf(format, args...), "\t", goEscape)+"\n")
	return err
}

// Printable makes text safe to show on one line of a terminal. What would move
// the cursor, begin another line, change the direction of writing, or not be
// seen is written as Go escapes it: \x1b, \n, \u202e. So are bytes that are not
// UTF-8.
func Printable(s string) string { return escape(s, "", goEscape) }

// JSON writes v as one JSON value and a newline; indent, if not empty, is put
// before the lines within it. What Printable escapes is escaped here too, in
// JSON's way, so the value stays the same.
func JSON(w io.Writer, indent string, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", indent)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := io.WriteString(w, escape(b.String(), "\n", jsonEscape))
	return err
}

// Data writes bytes that a peer sent: as they are to a file or a pipe, and
// printable, with their line breaks and tabs, to a terminal.
func Data(f *os.File, b []byte) error {
	if IsTerminal(f) {
		b = []byte(escape(string(b), "\n\t", goEscape))
	}
	_, err := f.Write(b)
	return err
}

// IsTerminal says whether a person may see what is written to f.
func IsTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// escape replaces what is neither graphic nor in keep.
func escape(s, keep string, how func(r rune, size int, b byte) string) string {
	var out strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		bad := r == utf8.RuneError && size == 1
		if !bad && (unicode.IsGraphic(r) || strings.ContainsRune(keep, r)) {
			out.WriteString(s[i : i+size])
		} else {
			out.WriteString(how(r, size, s[i]))
		}
		i += size
	}
	return out.String()
}

func goEscape(r rune, size int, b byte) string {
	switch {
	case r == utf8.RuneError && size == 1:
		return fmt.Sprintf(`\x%02x`, b)
	case r == '\n':
		return `\n`
	case r == '\r':
		return `\r`
	case r == '\t':
		return `\t`
	case r < utf8.RuneSelf:
		return fmt.Sprintf(`\x%02x`, r)
	case r < 0x10000:
		return fmt.Sprintf(`\u%04x`, r)
	}
	return fmt.Sprintf(`\U%08x`, r)
}

// jsonEscape is for what encoding/json leaves: it writes no invalid UTF-8.
func jsonEscape(r rune, _ int, _ byte) string {
	if r < 0x10000 {
		return fmt.Sprintf(`\u%04x`, r)
	}
	high, low := utf16.EncodeRune(r)
	return fmt.Sprintf(`\u%04x\u%04x`, high, low)
}

// OutliveReaders lets a program go on when nobody reads its standard output or
// error any more. By default SIGPIPE would end it there and then, with nothing
// closed; systemd would even call that a clean end, and not restart it.
func OutliveReaders() { signal.Ignore(syscall.SIGPIPE) }

// ReaderGone turns the error of a write that nobody reads into none: the program
// that ran for its reader has done its work.
func ReaderGone(err error) error {
	if errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return err
}
