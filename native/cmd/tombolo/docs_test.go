package main

import (
	"os"
	"regexp"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/native/command"
	"github.com/tombolo-net/tombolo/native/tunnels"
)

func TestTheDocumentNamesEveryCommandAndNoFlagThatIsNone(t *testing.T) {
	b, err := os.ReadFile("../../../docs/tombolo.md")
	require.NoError(t, err)
	app, err := kong.New(&cli{}, kong.Vars{"network": "x", "openTimeout": "1s", "targetTimeout": "1s", "drainTimeout": "1s"})
	require.NoError(t, err)
	flags := make(map[string]bool)
	var walk func(*kong.Node)
	walk = func(n *kong.Node) {
		for _, f := range n.Flags {
			flags["--"+f.Name] = true
		}
		for _, c := range n.Children {
			walk(c)
		}
	}
	walk(app.Model.Node)
	for _, c := range app.Model.Children {
		if !c.Hidden && c.Name != "version" {
			assert.True(t, regexp.MustCompile("tombolo "+c.Name+`\b|`+"`"+c.Name+"`").Match(b), c.Name)
		}
	}
	for _, flag := range regexp.MustCompile(`--[a-z][a-z-]+`).FindAllString(string(b), -1) {
		assert.True(t, flags[flag], "%s is a flag", flag)
	}
	assert.Contains(t, string(b), tunnels.FileName)
	assert.Contains(t, string(b), command.ConfigName)
}
