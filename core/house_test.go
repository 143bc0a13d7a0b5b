//go:build !js

package core_test

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/tombolo-net/tombolo/"

// rule lists the packages that a part of the module must not depend on, each with the
// reason. For the standard library, whose packages import each other everywhere, only
// direct imports count; for all others, indirect ones count, too.
type rule struct {
	part   string   // a package pattern
	goos   []string // the platforms that the rule applies to
	banned map[string]string
}

// The parts of the module, from the inside out: core imports no other part; native, wasm
// and relay import core; web imports only itself.
var rules = []rule{
	{
		part: "./core/...",
		goos: []string{"linux", "darwin", "windows", "js"},
		banned: map[string]string{
			"syscall/js":                          "core runs natively too; the platform comes in through a host",
			"os":                                  "core runs in a web page; files and the environment are the platform's",
			"os/exec":                             "core runs in a web page; there are no processes to start",
			"os/signal":                           "core runs in a web page; there are no signals",
			"syscall":                             "core runs in a web page; there is no system to call",
			"net/http":                            "core speaks libp2p; HTTP belongs to the edges",
			module + "native":                     "core knows no platform: edges point inward",
			module + "wasm":                       "core knows no platform: edges point inward",
			module + "relay":                      "core knows no program that uses it: edges point inward",
			module + "web":                        "core knows no page: edges point inward",
			libp2p + "p2p/transport/tcp":          "transports belong to the platform's host",
			libp2p + "p2p/transport/quic":         "transports belong to the platform's host",
			libp2p + "p2p/transport/websocket":    "transports belong to the platform's host",
			libp2p + "p2p/transport/webtransport": "transports belong to the platform's host",
			libp2p + "p2p/transport/webrtc":       "transports belong to the platform's host, and pion does not build for js",
		},
	},
	{
		part: "./wasm/...",
		goos: []string{"js"},
		banned: map[string]string{
			module + "native":                    "a tab has no operating system",
			module + "relay":                     "a tab is no relay",
			libp2p[:len(libp2p)-1]:               "go-libp2p's root does not build for js",
			libp2p + "config":                    "go-libp2p's config does not build for js",
			"github.com/quic-go/quic-go":         "the browser speaks QUIC; ours would be dead weight in every tab",
			"github.com/quic-go/webtransport-go": "the browser speaks WebTransport; ours would be dead weight in every tab",
			"github.com/gorilla/websocket":       "the browser speaks WebSocket; ours would be dead weight in every tab",
			"github.com/pion/webrtc/v4":          "the browser speaks WebRTC; pion's js build lacks what libp2p needs",
		},
	},
	{
		part: "./native/...",
		goos: []string{"linux", "darwin", "windows"},
		banned: map[string]string{
			"syscall/js":     "native is for processes",
			module + "wasm":  "the two platforms meet in core, not in each other",
			module + "relay": "a peer does not carry the relay with it",
		},
	},
	{
		part: "./relay/...",
		goos: []string{"linux", "darwin", "windows"},
		banned: map[string]string{
			"syscall/js":    "the relay is a process",
			module + "wasm": "the relay carries the wasm as a file, not as code",
		},
	},
	{
		part: "./web/...",
		goos: []string{"linux"},
		banned: map[string]string{
			module + "core":   "web is what was built of TypeScript; it knows no Go of ours",
			module + "native": "web is what was built of TypeScript; it knows no Go of ours",
			module + "wasm":   "web is what was built of TypeScript; it knows no Go of ours",
			module + "relay":  "web is what was built of TypeScript; it knows no Go of ours",
		},
	},
}

const libp2p = "github.com/libp2p/go-libp2p/"

func TestEdgesPointInward(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("needs the go command")
	}
	for _, r := range rules {
		for _, goos := range r.goos {
			t.Run(strings.Trim(r.part, "./")+" on "+goos, func(t *testing.T) {
				t.Parallel()
				for pkg, deps := range dependencies(t, r.part, goos) {
					for _, dep := range deps {
						for banned, why := range r.banned {
							if dep == banned || strings.HasPrefix(dep, banned+"/") && strings.HasPrefix(banned, module) {
								t.Errorf("%s depends on %s: %s", pkg, dep, why)
							}
						}
					}
				}
			})
		}
	}
}

// dependencies returns, for each package that the pattern matches on goos, its direct
// imports and all its dependencies outside the standard library. Tests, and packages that
// only tests use, are left out.
func dependencies(t *testing.T, pattern, goos string) map[string][]string {
	t.Helper()
	arch := "amd64"
	if goos == "js" {
		arch = "wasm"
	}
	cmd := exec.Command("go", "list", "-f", "{{.ImportPath}} {{join .Imports \" \"}} | {{join .Deps \" \"}}", pattern)
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+arch, "CGO_ENABLED=0")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	deps := make(map[string][]string)
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		pkg, imported := fields[0], fields[1:]
		if strings.HasSuffix(pkg, "test") || strings.HasSuffix(pkg, "internal/conformance") {
			continue
		}
		direct := slices.Index(imported, "|")
		for i, dep := range imported {
			if i < direct || strings.Contains(dep, ".") {
				deps[pkg] = append(deps[pkg], dep)
			}
		}
	}
	require.NotEmpty(t, deps, "%s matches nothing on %s", pattern, goos)
	return deps
}
