// Package told makes text that a peer sent safe to keep and to show.
package told

import (
	"strings"
	"unicode"
)

// Line returns the first most bytes of a peer's text as one line of valid UTF-8, without
// control characters and others that cannot be seen.
func Line(text string, most int) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar || unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) {
			return -1
		}
		return r
	}, Text(text, most))
}

// Text returns the first most bytes of a peer's text as valid UTF-8.
func Text(text string, most int) string {
	return strings.ToValidUTF8(text[:min(len(text), most)], "")
}
