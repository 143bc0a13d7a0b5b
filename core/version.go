package core

import (
	"runtime/debug"
	"strings"
)

const modulePath = "github.com/tombolo-net/tombolo"

// released is the version of a release; its build sets it with -ldflags -X.
var released string

// Version returns the version of this build: that of the release; else the version of the
// module, if it was built as a module or from a tagged checkout; else "dev", with the
// commit if it is known. It is never empty and has no spaces.
func Version() string {
	if released != "" {
		return released
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "dev"
	}
	return versionOf(info)
}

func versionOf(info *debug.BuildInfo) string {
	version := info.Main.Version
	if info.Main.Path != modulePath { // a program that uses this module
		version = ""
		for _, dep := range info.Deps {
			if dep.Path == modulePath {
				version = dep.Version
			}
		}
		return orDev(version)
	}
	if v := orDev(version); v != "dev" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "dev-" + s.Value[:12]
		}
	}
	return "dev"
}

func orDev(version string) string {
	if version == "" || version == "(devel)" {
		return "dev"
	}
	return strings.TrimPrefix(version, "v")
}
