package main

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestDoctorSaysWhatKindOfNATThisIs(t *testing.T) {
	at := netip.MustParseAddrPort
	for name, c := range map[string]struct {
		seen          []netip.AddrPort
		result, found string
	}{
		"UDP is blocked":      {nil, warning, "no relay answers over UDP"},
		"no NAT":              {[]netip.AddrPort{at("127.0.0.1:4000")}, fine, "there is none"},
		"same for all":        {[]netip.AddrPort{at("198.51.100.1:9"), at("198.51.100.1:9")}, fine, "punching holes can work"},
		"symmetric":           {[]netip.AddrPort{at("198.51.100.1:9"), at("198.51.100.1:10")}, warning, "symmetric"},
		"another address":     {[]netip.AddrPort{at("198.51.100.1:9"), at("198.51.100.2:9")}, warning, "symmetric"},
		"one, keeps the port": {[]netip.AddrPort{at("198.51.100.1:4000")}, fine, "it keeps the port"},
		"one, does not":       {[]netip.AddrPort{at("198.51.100.1:9")}, warning, "is not known"},
		"one of each family":  {[]netip.AddrPort{at("198.51.100.1:9"), at("[2001:db8::1]:4000")}, warning, "is not known"},
	} {
		t.Run(name, func(t *testing.T) {
			f := natFinding(4000, c.seen, "relay.example:8080")
			assert.Equal(t, c.result, f.Result)
			assert.Contains(t, f.Found, c.found)
			assert.Contains(t, f.Found, "relay.example:8080")
			assert.Equal(t, f.Result != fine, f.Advice != "")
		})
	}
}
