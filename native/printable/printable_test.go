package printable_test

import (
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
