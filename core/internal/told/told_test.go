package told_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/tombolo-net/tombolo/core/internal/told"
)

func TestLineIsBoundedAndHarmless(t *testing.T) {
	assert.Equal(t, "kubo/0.42.0 (debian)", told.Line("kubo/0.42.0 (debian)", 64))
	assert.Equal(t, "evil[31m2Jabc", told.Line("ev\u202eil\x1b[31m\u009b2J\a\r\nabc\xff", 64))
	assert.Equal(t, "ab", told.Line("a\u3164b", 64), "a letter that is invisible")
	assert.Equal(t, "aaaa", told.Line(strings.Repeat("a", 1<<20), 4))
	assert.Equal(t, "a", told.Line("a€", 3), "the cut leaves no part of a character")
	assert.Empty(t, told.Line("", 4))
}

func TestTextIsBounded(t *testing.T) {
	assert.Equal(t, "two\nlines", told.Text("two\nlines", 64))
	assert.Equal(t, "a", told.Text("a€", 3))
}
