package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"
)

// spdx is a document of SPDX 2.3, https://spdx.github.io/spdx-spec/v2.3/.
type spdx struct {
	Version      string         `json:"spdxVersion"`
	License      string         `json:"dataLicense"`
	ID           string         `json:"SPDXID"`
	Name         string         `json:"name"`
	Namespace    string         `json:"documentNamespace"`
	Creation     creation       `json:"creationInfo"`
	Packages     []spdxPackage  `json:"packages"`
	Relationship []relationship `json:"relationships"`
}

type creation struct {
	Created  string   `json:"created"`
	Creators []string `json:"creators"`
}

type spdxPackage struct {
	ID       string     `json:"SPDXID"`
	Name     string     `json:"name"`
	Version  string     `json:"versionInfo"`
	Download string     `json:"downloadLocation"`
	Analyzed bool       `json:"filesAnalyzed"`
	External []external `json:"externalRefs"`
}

type external struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

type relationship struct {
	From string `json:"spdxElementId"`
	Kind string `json:"relationshipType"`
	To   string `json:"relatedSpdxElement"`
}

// sbom writes the list of modules that the programs of an archive consist of, as the
// linker has recorded it in them. That of the page is in web/package-lock.json.
func (r release) sbom(archive string, files []file) error {
	var programs []*debug.BuildInfo
	for _, f := range files {
		if f.mode != 0o755 {
			continue
		}
		info, err := buildinfo.Read(bytes.NewReader(f.data))
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		programs = append(programs, info)
	}
	b, err := json.MarshalIndent(r.document(archive, programs), "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, archive+".spdx.json"), append(b, '\n'), 0o644)
}

// document lists each module of the programs once.
func (r release) document(archive string, programs []*debug.BuildInfo) spdx {
	doc := spdx{
		Version: "SPDX-2.3", License: "CC0-1.0", ID: "SPDXRef-DOCUMENT", Name: archive,
		Namespace: "https://" + module + "/sbom/" + archive,
		Creation:  creation{r.when.Format(time.RFC3339), []string{"Tool: " + module + "/native/internal/release"}},
	}
	seen := make(map[string]string)
	add := func(name, version string) string {
		key := name + "@" + version
		if seen[key] == "" {
			seen[key] = fmt.Sprintf("SPDXRef-%d", len(seen))
			doc.Packages = append(doc.Packages, spdxPackage{
				ID: seen[key], Name: name, Version: version, Download: "NOASSERTION",
				External: []external{{"PACKAGE-MANAGER", "purl", "pkg:golang/" + key}},
			})
		}
		return seen[key]
	}
	root := add(module, "v"+r.version)
	doc.Relationship = append(doc.Relationship, relationship{doc.ID, "DESCRIBES", root})
	for _, info := range programs {
		before := len(seen)
		add("std", strings.TrimPrefix(info.GoVersion, "go"))
		for _, dep := range info.Deps {
			if dep.Replace != nil {
				dep = dep.Replace
			}
			add(dep.Path, dep.Version)
		}
		for i := before; i < len(seen); i++ {
			doc.Relationship = append(doc.Relationship, relationship{root, "DEPENDS_ON", fmt.Sprintf("SPDXRef-%d", i)})
		}
	}
	return doc
}

// formula writes the formula for Homebrew, for the archives that exist.
func (r release) formula() error {
	var b strings.Builder
	fmt.Fprintf(&b, `class Tombolo < Formula
  desc "Connect tabs, laptops and servers by ID, through your own relay"
  homepage "https://%s"
  version "%s"
  license any_of: ["Apache-2.0", "MIT"]
`, module, r.version)
	for _, brew := range []struct{ os, on string }{{"darwin", "macos"}, {"linux", "linux"}} {
		var archives strings.Builder
		for _, arch := range []struct{ arch, on string }{{"amd64", "intel"}, {"arm64", "arm"}} {
			name := fmt.Sprintf("tombolo_%s_%s_%s.tar.gz", r.version, brew.os, arch.arch)
			archive, err := os.ReadFile(filepath.Join(r.out, name))
			if os.IsNotExist(err) {
				continue // not of this release
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(&archives, "    on_%s do\n      url \"https://%s/releases/download/v%s/%s\"\n      sha256 \"%x\"\n    end\n",
				arch.on, module, r.version, name, sha256.Sum256(archive))
		}
		if archives.Len() > 0 {
			fmt.Fprintf(&b, "\n  on_%s do\n%s  end\n", brew.on, &archives)
		}
	}
	b.WriteString(`
  def install
    bin.install "tombolo", "tombolo-relay"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/tombolo --version")
  end
end
`)
	return os.WriteFile(filepath.Join(r.out, "tombolo.rb"), []byte(b.String()), 0o644)
}
