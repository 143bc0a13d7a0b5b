package command_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/native/command"
)

// hostile is text that a peer may send.
const hostile = "a\x1b[2Jb\r\nc\u009bd\u202ee\x00\x7f\xfff\u2028g\U000e0001h\ti"

func TestWhatIsPrintedStaysOnItsLineAndMovesNoCursor(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, command.Line(&out, "said %s", hostile))
	assert.Equal(t, `said a\x1b[2Jb\r\nc\u009bd\u202ee\x00\x7f\xfff\u2028g\U000e0001h`+"\ti\n", out.String())
}

func TestJSONIsSafeToShowAndKeepsItsValue(t *testing.T) {
	for _, indent := range []string{"", "  "} {
		var out bytes.Buffer
		require.NoError(t, command.JSON(&out, indent, map[string]string{"said": hostile, "and": "<é>"}))
		for _, r := range out.String() {
			assert.True(t, unicode.IsGraphic(r) || r == '\n', "%q in %s", r, out.String())
		}
		var back map[string]string
		require.NoError(t, json.Unmarshal(out.Bytes(), &back))
		var want map[string]string // encoding/json replaces what is not UTF-8
		b, err := json.Marshal(map[string]string{"said": hostile, "and": "<é>"})
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(b, &want))
		assert.Equal(t, want, back)
		assert.Contains(t, out.String(), "<é>")
	}
}

func TestDataIsWrittenToAFileByteForByte(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, command.Data(f, []byte(hostile)))
	got, err := os.ReadFile(f.Name())
	require.NoError(t, err)
	assert.Equal(t, hostile, string(got))
}
