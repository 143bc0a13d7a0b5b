package address_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/native/address"
)

func TestARangeIsTheAddressesThatConnectionsHave(t *testing.T) {
	for given, want := range map[string]string{
		"192.0.2.1":            "192.0.2.1/32",
		"192.0.2.7/24":         "192.0.2.0/24",
		"::ffff:192.0.2.1":     "192.0.2.1/32",
		"::ffff:192.0.2.0/120": "192.0.2.0/24",
		"::ffff:10.0.0.0/104":  "10.0.0.0/8",
		"2001:db8::1":          "2001:db8::1/128",
		"2001:db8::1/32":       "2001:db8::/32",
		"fe80::1%eth0":         "fe80::1/128",
		"::/0":                 "::/0",
		"::ffff:192.0.2.1/96":  "0.0.0.0/0",
	} {
		got, err := address.Range(given)
		require.NoError(t, err, given)
		assert.Equal(t, want, got.String(), given)
	}
	for _, bad := range []string{"", " ", "192.0.2.0/33", "192.0.2", "example.org", "::ffff:0.0.0.0/64", "fe80::1%eth0/64"} {
		_, err := address.Range(bad)
		assert.Error(t, err, bad)
	}
}
