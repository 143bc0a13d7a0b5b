//go:build js

package jsapi

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestARelayThatHasAnsweredIsNotAskedAgainAndAnyOtherIs(t *testing.T) {
	const page = "data:,asked%20now"
	for code, want := range map[string]string{
		`(async (url) => new TextEncoder().encode('before: ' + url))`: "before: " + page,
		`(async () => undefined)`:                                     "asked now",
		`(async () => 'text')`:                                        "asked now",
		`(async () => new Uint8Array(1000))`:                          "asked now",
		`(async () => { throw new Error('the page is gone') })`:       "asked now",
		`(() => { throw 1 })`:                                         "asked now",
		`(() => 1)`:                                                   "asked now",
		`(() => null)`:                                                "asked now",
	} {
		b, err := askedBefore(eval(code))(t.Context(), page, 100)
		require.NoError(t, err, code)
		assert.Equal(t, want, string(b), code)
	}
	assert.Nil(t, askedBefore(eval("undefined")), "the platform's fetch asks")
}
