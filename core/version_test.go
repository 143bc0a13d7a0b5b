package core

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestTheVersionIsTakenFromTheBuild(t *testing.T) {
	commit := []debug.BuildSetting{{Key: "vcs.revision", Value: "0123456789abcdef0123"}}
	for want, info := range map[string]*debug.BuildInfo{
		"1.2.3":            {Main: debug.Module{Path: modulePath, Version: "v1.2.3"}},
		"dev":              {Main: debug.Module{Path: modulePath, Version: "(devel)"}},
		"dev-0123456789ab": {Main: debug.Module{Path: modulePath}, Settings: commit},
		"0.4.0": {
			Main:     debug.Module{Path: "example.org/game", Version: "v9.9.9"},
			Deps:     []*debug.Module{{Path: "example.org/other", Version: "v8.0.0"}, {Path: modulePath, Version: "v0.4.0"}},
			Settings: commit, // the game's commit, not ours
		},
	} {
		assert.Equal(t, want, versionOf(info))
	}
	assert.Equal(t, "dev", versionOf(&debug.BuildInfo{Main: debug.Module{Path: "example.org/game"}}))
	assert.NotEmpty(t, Version())
}

func TestAReleaseIsOfTheVersionThatItWasBuiltAs(t *testing.T) {
	released = "1.2.3"
	defer func() { released = "" }()
	assert.Equal(t, "1.2.3", Version())
}
