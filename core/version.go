package core

import (
	"runtime/debug"
	"strings"
)

const modulePath = "github.com/tombolo-net/tombolo"

// Version is the version of this build: the module's version where it was built
// as a module or from a tagged checkout, else "dev", with the commit where it
// is known. It is never empty and holds no spaces.
func Version() string {
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
