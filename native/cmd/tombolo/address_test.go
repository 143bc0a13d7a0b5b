package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/native/command"
)

func TestARelayIsAURLOrAMultiaddr(t *testing.T) {
	for _, s := range []string{"https://relay.example/", "/dns4/relay.example/tcp/443/tls/ws/p2p/" + nobody + "/"} {
		var f relayFlag
		assert.NoError(t, f.UnmarshalText([]byte(s)), s)
	}
}

func TestARelayThatCannotBeHonouredIsRefusedWithWhatToWrite(t *testing.T) {
	for s, want := range map[string]string{
		"https://relay.example/tombolo":          "write https://relay.example/",
		"https://relay.example/tombolo/":         "write https://relay.example/",
		"http://localhost:8080/index.html":       "write http://localhost:8080/",
		"https://relay.example/?log=debug":       "write https://relay.example/",
		"https://relay.example/?":                "write https://relay.example/",
		"https://relay.example/#":                "write https://relay.example/",
		"https://relay.example/#/x":              "write https://relay.example/",
		"https://user:pass@relay.example/":       "no password: write https://relay.example/",
		"https://relay.example:99999":            "99999",
		"https://relay.example:0":                "port 0",
		"https://":                               "a URL with a host",
		"https://relay.example ":                 "white space",
		" https://relay.example":                 "white space",
		"wss://relay.example":                    "write http://host:port/",
		"tcp://127.0.0.1:80":                     "write http://host:port/",
		"localhost:8080":                         "neither a URL nor a multiaddr",
		"relay.example":                          "neither a URL nor a multiaddr",
		":8080":                                  "neither a URL nor a multiaddr",
		"8080":                                   "neither a URL nor a multiaddr",
		"":                                       "neither a URL nor a multiaddr",
		nobody:                                   "neither a URL nor a multiaddr",
		"/ip4/127.0.0.1/tcp/80":                  "does not end in /p2p/<id>",
		"/p2p/" + nobody:                         "has no address",
		"/ip4/127.0.0.1/tcp/99999/p2p/" + nobody: "not a multiaddr",
	} {
		var f relayFlag
		err := f.UnmarshalText([]byte(s))
		if assert.ErrorContains(t, err, want, "%q", s) {
			assert.ErrorContains(t, err, strconv.Quote(s))
		}
	}
}

func TestAddressesOfThisMachineAreTakenOrRefusedAtOnce(t *testing.T) {
	for s, want := range map[string]string{
		"127.0.0.1:80": "", "localhost:0": "", ":80": "", "[::1]:80": "", "0.0.0.0:1": "",
		"80": "write 127.0.0.1:80", "::1": "write [::1]:PORT", "http://localhost:80/": "write localhost:80", "host:99999": "99999", "host:": `port ""`, "": "empty",
	} {
		var gateway command.HostPort
		err := gateway.UnmarshalText([]byte(s))
		if want == "" {
			assert.NoError(t, err, s)
		} else {
			assert.ErrorContains(t, err, want, "%q", s)
		}
	}
	for s, want := range map[string]string{
		"/dns4/relay.example/tcp/443/tls/ws": "", "/ip4/1.2.3.4/tcp/80/": "",
		"/ip4/1.2.3.4/tcp/80/p2p/" + nobody: "leave out the", "1.2.3.4:80": "write one like", "https://relay.example": "write one like",
	} {
		var announce command.Multiaddr
		err := announce.UnmarshalText([]byte(s))
		if want == "" {
			assert.NoError(t, err, s)
		} else {
			assert.ErrorContains(t, err, want, "%q", s)
		}
	}
	for s, want := range map[string]string{
		"*:80": "", ":80": "", "localhost:80": "", "/ip4/1.2.3.4/tcp/80/": "",
		"/ip4/1.2.3.4/tcp/80/p2p/" + nobody: "leave that out", "[fe80::1%eth0]:80": "write [::]:80", "80": "write 127.0.0.1:80", "tcp://0.0.0.0:80": "write 0.0.0.0:80",
	} {
		var listen command.Listen
		err := listen.UnmarshalText([]byte(s))
		if want == "" {
			assert.NoError(t, err, s)
		} else {
			assert.ErrorContains(t, err, want, "%q", s)
		}
	}
}

func TestPathsOfTargetsAreThoseOfTheCaller(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	here, err := os.Getwd()
	require.NoError(t, err)
	for s, want := range map[string]string{
		"file:site":     "file:" + filepath.Join(here, "site"),
		"file:.":        "file:" + here,
		"file:~/site":   "file:" + filepath.Join(home, "site"),
		"file:~":        "file:" + home,
		"file:///a/b":   "file:/a/b",
		"unix:a.sock":   "unix:" + filepath.Join(here, "a.sock"),
		"unix:~/a.sock": "unix:" + filepath.Join(home, "a.sock"),
		"127.0.0.1:22":  "127.0.0.1:22",
	} {
		got, err := absolute(s)
		if assert.NoError(t, err, s) {
			assert.Equal(t, want, got, s)
		}
	}
	for _, s := range []string{"file:", "unix:"} {
		_, err := absolute(s)
		assert.ErrorContains(t, err, strconv.Quote(s)+" has no path", "not the current folder")
	}
}

func TestADataDirectoryWithTooLongAPathIsRefusedBeforeAnythingIsMade(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("x", 100))
	failsWith(t, 1, []string{dir, "too long for a socket"}, "up", "--data-dir", dir, "--listen", "127.0.0.1:0")
	assert.NoDirExists(t, dir)
}
