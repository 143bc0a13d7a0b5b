package message_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/tombolo-net/tombolo/core/message"
)

func TestTypeIsOneTo128BytesOfUTF8AndNotTombolos(t *testing.T) {
	for typ, why := range map[string]string{ // why it is refused; empty if it is not
		"":                       "empty",
		"a":                      "",
		"chat":                   "",
		"room/1":                 "",
		"комната/1":              "",
		"🏝":                      "",
		" ":                      "",
		"/":                      "",
		"*":                      "",
		"a*":                     "",
		"a/*b":                   "",
		"tombolo":                "",
		"tombolos/x":             "",
		"Tombolo/x":              "",
		"x/tombolo/":             "",
		"tombolo/":               "Tombolo's own",
		"tombolo/presence":       "Tombolo's own",
		"room/*":                 "pattern",
		"/*":                     "pattern",
		"a\xff":                  "not UTF-8",
		"\xed\xa0\x80":           "not UTF-8",
		"a\x00b":                 "",
		strings.Repeat("x", 128): "",
		strings.Repeat("x", 129): "129 bytes",
		strings.Repeat("ж", 64):  "",
		strings.Repeat("ж", 65):  "130 bytes",
	} {
		t.Run(typ, func(t *testing.T) {
			err := message.CheckType(typ)
			if why == "" {
				assert.NoError(t, err)
				return
			}
			assert.ErrorIs(t, err, message.ErrType)
			assert.ErrorContains(t, err, why)
		})
	}
}

func TestPatternIsATypeOrAPrefixBeforeSlashAndStar(t *testing.T) {
	for _, c := range []struct {
		pattern, prefix string
		isPrefix, ok    bool
	}{
		{"chat", "", false, true},
		{"room/*", "room/", true, true},
		{"room/1/*", "room/1/", true, true},
		{"комната/*", "комната/", true, true},
		{"*", "", false, true}, // a type, not a pattern
		{"ro*", "", false, true},
		{"", "", false, false},
		{"/*", "", false, false},
		{"tombolo/*", "", false, false},
		{"tombolo/x/*", "", false, false},
		{"tombolos/*", "tombolos/", true, true},
		{"a/*/*", "", false, false},
		{"a\xff/*", "", false, false},
		{strings.Repeat("x", 128), "", false, true},
		{strings.Repeat("x", 129) + "/*", "", false, false},
	} {
		t.Run(c.pattern, func(t *testing.T) {
			prefix, isPrefix, err := message.CheckPattern(c.pattern)
			if !c.ok {
				assert.ErrorIs(t, err, message.ErrType)
				return
			}
			assert.NoError(t, err)
			assert.Equal(t, c.prefix, prefix)
			assert.Equal(t, c.isPrefix, isPrefix)
		})
	}
}

func TestIDsAreInTheOrderInWhichTheyWereGiven(t *testing.T) {
	ordered := []message.ID{{}, {Seq: 1}, {Seq: math.MaxUint64}, {Epoch: 1}, {Epoch: 1, Seq: 2}, {Epoch: 2}, {Epoch: math.MaxUint64, Seq: 1}}
	for i, a := range ordered {
		for j, b := range ordered {
			sign := 0
			if i < j {
				sign = -1
			} else if i > j {
				sign = 1
			}
			assert.Equal(t, sign, a.Compare(b), "%s and %s", a, b)
		}
	}
}

func TestKindsHaveNames(t *testing.T) {
	seen := make(map[string]bool)
	for k := message.Event; k <= message.Gone; k++ {
		assert.NotContains(t, k.String(), "kind")
		seen[k.String()] = true
	}
	assert.Len(t, seen, int(message.Gone)+1)
	assert.Equal(t, "kind 99", fmt.Sprint(message.Kind(99)))
}
