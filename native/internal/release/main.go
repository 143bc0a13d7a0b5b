// Command release makes the files of a release from a checkout whose page is built: an
// archive of both programs for each platform, packages for Debian, a Homebrew formula, an
// SBOM, the notes, and the checksums of all of them. make release calls it.
//
// The same commit and the same Go make the same bytes: all times are the commit's, files
// are sorted, and owners are root.
package main

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const module = "github.com/tombolo-net/tombolo"

// platforms are the platforms of a release.
const platforms = "linux/amd64,linux/arm64,darwin/amd64,darwin/arm64,windows/amd64,windows/arm64"

// programs are the packages of the two programs.
var programs = []string{"./native/cmd/tombolo", "./relay/cmd/tombolo-relay"}

// release is what the files of a release have in common.
type release struct {
	version string
	out     string
	when    time.Time
}

func main() {
	version := flag.String("version", "", "of the release, without the v of its tag")
	out := flag.String("out", "bin/release", "folder of the files; it is emptied first")
	add := flag.String("add", "", "a `file` to add as it is")
	list := flag.String("platforms", platforms, "GOOS/GOARCH, separated by commas")
	flag.Parse()
	if err := run(*version, *out, *add, strings.Split(*list, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(version, out, add string, platforms []string) error {
	if version == "" {
		return fmt.Errorf("-version is missing")
	}
	if _, err := os.Stat("web/dist/site/index.html"); err != nil {
		return fmt.Errorf("the page is not built (%w): run make site first", err)
	}
	when, err := commitTime()
	if err != nil {
		return err
	}
	r := release{version: version, out: out, when: when}
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	if add != "" {
		b, err := os.ReadFile(add)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(out, filepath.Base(add)), b, 0o644); err != nil {
			return err
		}
	}
	for i, platform := range platforms {
		fmt.Printf("release %d/%d: %s\n", i+1, len(platforms), platform)
		if err := r.platform(platform); err != nil {
			return fmt.Errorf("%s: %w", platform, err)
		}
	}
	if err := r.notes("CHANGELOG.md"); err != nil {
		return err
	}
	if err := r.formula(); err != nil {
		return err
	}
	return r.checksums()
}

// commitTime returns the time for all files: the commit's, or SOURCE_DATE_EPOCH.
func commitTime() (time.Time, error) {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		b, err := exec.Command("git", "log", "-1", "--format=%ct").Output()
		if err != nil {
			return time.Time{}, fmt.Errorf("git log: %w: set SOURCE_DATE_EPOCH outside of a checkout", err)
		}
		text = strings.TrimSpace(string(b))
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	return time.Unix(seconds, 0).UTC(), err
}

// platform builds both programs, and packs them.
func (r release) platform(platform string) error {
	goos, goarch, ok := strings.Cut(platform, "/")
	if !ok {
		return fmt.Errorf("a platform is GOOS/GOARCH")
	}
	stage, err := os.MkdirTemp("", "tombolo-release-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(stage)
	flags := "-s -w -buildid= -X " + module + "/core.released=" + r.version
	build := exec.Command("go", append([]string{"build", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", stage + "/"}, programs...)...)
	build.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=0")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("go build: %w", err)
	}
	files, err := r.contents(stage)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("tombolo_%s_%s_%s", r.version, goos, goarch)
	if goos == "windows" {
		err = r.zip(name+".zip", files)
	} else {
		err = r.tarball(name+".tar.gz", files)
	}
	if err != nil {
		return err
	}
	if goos == "linux" {
		if err := r.deb(goarch, files); err != nil {
			return err
		}
	}
	return r.sbom(name, files)
}

// file is a file of an archive.
type file struct {
	name string
	mode int64
	data []byte
}

// contents returns the programs and the files that belong to them, by name.
func (r release) contents(stage string) (files []file, err error) {
	add := func(name, path string, mode int64) {
		b, e := os.ReadFile(path)
		if e != nil && err == nil {
			err = e
		}
		files = append(files, file{name, mode, b})
	}
	built, err := os.ReadDir(stage)
	if err != nil {
		return nil, err
	}
	for _, b := range built {
		add(b.Name(), filepath.Join(stage, b.Name()), 0o755)
	}
	for _, name := range []string{"README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT"} {
		add(name, name, 0o644)
	}
	for _, unit := range []string{"tombolo.service", "tombolo-room@.service", "tombolo-relay.service"} {
		add("systemd/"+unit, "docs/"+unit, 0o644)
	}
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	return files, err
}

// notes writes the section of the version in the list of changes, or the unreleased
// changes.
func (r release) notes(changes string) error {
	b, err := os.ReadFile(changes)
	if err != nil {
		return err
	}
	notes := ""
	for _, s := range strings.Split(string(b), "\n## ")[1:] {
		title, text, _ := strings.Cut(s, "\n")
		version, _, _ := strings.Cut(title, ",") // 1.2.3, 2026-11-27
		if version == "Unreleased" || version == r.version {
			notes = strings.TrimSpace(text)
		}
	}
	return os.WriteFile(filepath.Join(r.out, "NOTES.md"), []byte(notes+"\n"), 0o644)
}

// checksums lists the SHA-256 of every file, as sha256sum does.
func (r release) checksums() error {
	entries, err := os.ReadDir(r.out) // sorted
	if err != nil {
		return err
	}
	var list strings.Builder
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(r.out, e.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&list, "%x  %s\n", sha256.Sum256(b), e.Name())
	}
	return os.WriteFile(filepath.Join(r.out, "SHA256SUMS"), []byte(list.String()), 0o644)
}
