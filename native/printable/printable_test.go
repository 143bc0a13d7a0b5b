package printable_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/tombolo-net/tombolo/native/printable"
)

func TestWhatATerminalWouldObeyIsEscaped(t *testing.T) {
	const hostile = "a\x1b[2Jb\r\nc\u009bd\u202ee\x00\x7f\xfff\u2028g\U000e0001h\ti"
	assert.Equal(t, `a\x1b[2Jb\r\nc\u009bd\u202ee\x00\x7f\xfff\u2028g\U000e0001h\ti`, printable.Cell(hostile))
	assert.Equal(t, `a\x1b[2Jb\r\nc\u009bd\u202ee\x00\x7f\xfff\u2028g\U000e0001h`+"\ti", printable.Line(hostile))
	assert.Equal(t, `a\x1b[2Jb\r`+"\n"+`c\u009bd\u202ee\x00\x7f\xfff\u2028g\U000e0001h`+"\ti", printable.Lines(hostile))
	for _, same := range []string{"", "plain", "é 日本　語 ✓", `C:\dir`, "12D3Koo…"} {
		assert.Equal(t, same, printable.Cell(same))
	}
}

func TestWhatCannotBeSeenIsEscaped(t *testing.T) {
	assert.Equal(t, `a\u3164b\uffa0c\u2800d`, printable.Cell("a\u3164b\uffa0c\u2800d"))
	assert.Equal(t, "\u2764\ufe0f e\u0301", printable.Cell("\u2764\ufe0f e\u0301"))
	piled := "e" + strings.Repeat("\u0301", 6)
	assert.Equal(t, "e"+strings.Repeat("\u0301", 4)+`\u0301\u0301`, printable.Cell(piled))
	assert.Equal(t, `"\u3164"`, printable.JSON("\"\u3164\""))
}
