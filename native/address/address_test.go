package address_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/tombolo-net/tombolo/native/address"
)

func TestHostPortIsReadAsItIsPlainlyMeant(t *testing.T) {
	for s, want := range map[string]struct {
		host string
		port uint16
	}{
		"127.0.0.1:80":      {"127.0.0.1", 80},
		"localhost:80":      {"localhost", 80},
		":80":               {"", 80},
		"[::1]:22":          {"::1", 22},
		"[fe80::1%eth0]:22": {"fe80::1%eth0", 22},
		"host:0":            {"host", 0},
		"host:65535":        {"host", 65535},
		"my_host.lan.:80":   {"my_host.lan.", 80},
		"bücher.example:80": {"xn--bcher-kva.example", 80},
	} {
		host, port, err := address.HostPort(s)
		if assert.NoError(t, err, s) {
			assert.Equal(t, want.host, host, s)
			assert.Equal(t, want.port, port, s)
		}
	}
}

func TestWhatIsNoHostPortIsRefusedWithWhatToWrite(t *testing.T) {
	for s, want := range map[string]string{
		"":                       "empty",
		"80":                     "write 127.0.0.1:80",
		"::1":                    "write [::1]:PORT",
		"1.2.3.4":                "write 1.2.3.4:PORT",
		"host":                   "like 127.0.0.1:8080",
		"http://host":            "write host:80",
		"HTTPS://host/a?b#c":     "write host:443",
		"tcp://127.0.0.1:22":     "write 127.0.0.1:22",
		"ws://[::1]:80/":         "write [::1]:80",
		" host:80":               "white space",
		"host:80\n":              "white space",
		"host:":                  `port ""`,
		"host:ssh":               `port "ssh"`,
		"host:99999":             `port "99999"`,
		"host:-1":                `port "-1"`,
		"user@host:80":           `host "user@host"`,
		"host/path:80":           `host "host/path"`,
		"300.1.1.1:80":           `host "300.1.1.1"`,
		"*:80":                   `host "*"`,
		"a b:80":                 `host "a b"`,
		"user:pass@host:80":      "like 127.0.0.1:8080",
		"\x1b[2J:80":             "host",
		"a..b:80":                `host "a..b"`,
		"[not-an-ip%25eth0]:443": "host",
	} {
		_, _, err := address.HostPort(s)
		assert.ErrorContains(t, err, want, "%q", s)
	}
}
