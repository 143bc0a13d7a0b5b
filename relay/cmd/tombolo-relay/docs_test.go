package main

import (
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/relay"
)

func TestTheDocumentNamesEveryFlagAndNoneThatIsNone(t *testing.T) {
	b, err := os.ReadFile("../../../docs/relay.md")
	require.NoError(t, err)
	unit, err := os.ReadFile("../../../docs/tombolo-relay.service")
	require.NoError(t, err)
	doc := regexp.MustCompile("(?m)^.*(tombolo up|doctor|systemctl|grep|curl).*$").ReplaceAllString(string(b), "") // other programs
	flags, variables := make(map[string]bool), make(map[string]bool)
	var all []*kong.Flag
	for _, program := range []any{&cli{}, &tokenCLI{}, &adminCLI{}} {
		app, err := kong.New(program, kong.DefaultEnvars("TOMBOLO_RELAY"), kong.Vars{"network": "x", "peers": "1", "circuits": "1", "rate": "1", "broadcast": "1", "topics": "1", "history": "1", "autotls": "x"})
		require.NoError(t, err)
		for _, flags := range app.Model.AllFlags(true) {
			all = append(all, flags...)
		}
		for _, command := range app.Model.Leaves(true) {
			all = append(all, command.Flags...)
		}
	}
	for _, f := range all {
		flags["--"+f.Name] = true
		if f.Tag.Negatable != "" {
			flags["--no-"+f.Name] = true
		}
		for _, v := range f.Envs {
			variables[v] = true
		}
		if f.Name != "help" {
			assert.Regexp(t, "--(no-)?"+f.Name+`\b`, doc)
		}
	}
	for _, flag := range regexp.MustCompile(`--[a-z][a-z-]+`).FindAllString(doc+string(unit), -1) {
		assert.True(t, flags[flag] || flag == "--now", "%s is a flag", flag)
	}
	for _, v := range regexp.MustCompile(`TOMBOLO_RELAY_\w+`).FindAllString(string(b)+string(unit), -1) {
		assert.True(t, variables[v], "%s is a variable", v)
	}
}

func TestTheDocumentHasTheDefaults(t *testing.T) {
	b, err := os.ReadFile("../../../docs/relay.md")
	require.NoError(t, err)
	for flag, value := range map[string]int{"peers": relay.DefaultPeers, "circuits-per-peer": relay.DefaultCircuitsPerPeer, "topics": relay.DefaultTopics} {
		assert.Regexp(t, regexp.MustCompile(`(?m)^\| .--`+flag+`. \| `+strconv.Itoa(value)+` \|`), string(b))
	}
	assert.Regexp(t, "(?m)^\\| `--peer-rate` \\| "+strconv.Itoa(relay.DefaultPeerRate>>20)+` MiB/s \|`, string(b))
	assert.Regexp(t, "(?m)^\\| `--broadcast-rate` \\| "+strconv.Itoa(relay.DefaultBroadcastRate>>10)+` KiB/s \|`, string(b))
	assert.Regexp(t, "(?m)^\\| `--history-bytes` \\| "+strconv.Itoa(relay.DefaultHistoryBytes>>20)+` MiB \|`, string(b))
}
