package demo

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The page cleans names alike: web/test/unit/harbour.test.ts has the same list.
func TestANameIsCleaned(t *testing.T) {
	for given, want := range map[string]string{
		"Ann":                          "Ann",
		"  Ann \t\n of   Kiel ":        "Ann of Kiel",
		"<b>Ann</b>":                   "<b>Ann</b>",
		"a\u202eb\u200bc\x00d\x7f":     "abcd",
		"Zoë 海 ⛵":                      "Zoë 海 ⛵",
		"\xff\xfeAnn":                  "Ann",
		strings.Repeat("é", 20):        strings.Repeat("é", 12),
		strings.Repeat("a", 23) + " b": strings.Repeat("a", 23),
		"\u00a0":                       "",
	} {
		assert.Equal(t, want, CleanName(given), "%q", given)
	}
}

func TestPapersAreReadAsTheyWereWritten(t *testing.T) {
	for _, p := range []Papers{{}, {Hue: 7, Name: "Ann"}, {Hue: 255, Name: "Bob", Blind: true}, {StandsBy: true}} {
		got, err := DecodePapers(AppendPapers(nil, p))
		require.NoError(t, err)
		assert.Equal(t, p, got)
	}
	for _, data := range [][]byte{{}, {1}, make([]byte, 257)} {
		_, err := DecodePapers(data)
		assert.ErrorIs(t, err, ErrMalformed)
	}
}

func TestWhatIsNotOfTheGameIsRefused(t *testing.T) {
	record := func(data []byte) error { _, err := Decode(data); return err }
	note := func(data []byte) error { _, err := DecodeScores(data); return err }
	for _, n := range []int{0, 1, 4, 6, 7 + MaxName + 1} {
		assert.ErrorIs(t, record(make([]byte, n)), ErrMalformed, "%d bytes", n)
	}
	for _, data := range [][]byte{nil, {2, 0, 1, 0, 1}, {1, 0, 1, 0}, {1, 0, 1, 0, 1, 0}, {1, 0, 1, 0, 1, 0, 9, 4, 2, 'A'}} {
		assert.ErrorIs(t, note(data), ErrMalformed, "%v", data)
	}
	assert.ErrorIs(t, note(append([]byte{1, 0, 1, 0, 1}, make([]byte, 4*9)...)), ErrMalformed, "nine lines")
	_, err := DecodeAnswer(make([]byte, 8))
	assert.ErrorIs(t, err, ErrMalformed)
}
