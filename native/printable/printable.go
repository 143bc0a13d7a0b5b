// Package printable makes text that a peer chose safe to show in a terminal. Characters
// that would move the cursor, begin another line, change the direction of writing, or be
// invisible are written as escapes: \x1b, \n, \u202e. So are bytes that are not UTF-8, and
// accents beyond a few on one letter, which would cover other lines.
package printable

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Cell returns text for one cell of a line, without any character that moves the cursor.
func Cell(s string) string { return escape(s, "", goEscape) }

// Line returns text for one line. Tabs are kept.
func Line(s string) string { return escape(s, "\t", goEscape) }

// Lines returns text of several lines. Line breaks and tabs are kept.
func Lines(s string) string { return escape(s, "\n\t", goEscape) }

// JSON returns the output of encoding/json with JSON's own escapes, so its value stays
// the same.
func JSON(s string) string { return escape(s, "\n", jsonEscape) }

// maxMarks is how many accents a letter may have. No language needs more.
const maxMarks = 4

// escape replaces characters that cannot be seen and are not in keep.
func escape(s, keep string, how func(r rune, size int, b byte) string) string {
	var out strings.Builder
	marks := 0
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		bad := r == utf8.RuneError && size == 1
		if marks++; !unicode.In(r, unicode.Mn, unicode.Me) {
			marks = 0
		}
		if !bad && marks <= maxMarks && (isVisible(r) || strings.ContainsRune(keep, r)) {
			out.WriteString(s[i : i+size])
		} else {
			out.WriteString(how(r, size, s[i]))
		}
		i += size
	}
	return out.String()
}

// isVisible reports whether a character is graphic and not blank, or a space.
func isVisible(r rune) bool {
	const blankBraille = '\u2800'
	return unicode.IsGraphic(r) && r != blankBraille && !unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r)
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

// jsonEscape escapes a rune in the output of encoding/json, which contains no invalid
// UTF-8.
func jsonEscape(r rune, _ int, _ byte) string {
	if r < 0x10000 {
		return fmt.Sprintf(`\u%04x`, r)
	}
	high, low := utf16.EncodeRune(r)
	return fmt.Sprintf(`\u%04x\u%04x`, high, low)
}
