package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// files returns what a package holds.
func files(program []byte) []file {
	return []file{
		{"LICENSE-MIT", 0o644, []byte("free\n")},
		{"systemd/tombolo.service", 0o644, []byte("ExecStart=/usr/local/bin/tombolo up\n")},
		{"tombolo", 0o755, program},
	}
}

// packed packs this test's own program, as a release would pack a real one.
func packed(t *testing.T) (r release) {
	t.Helper()
	program, err := os.ReadFile(os.Args[0])
	require.NoError(t, err)
	r = release{version: "1.2.3-rc.1", out: t.TempDir(), when: time.Unix(1_700_000_000, 0).UTC()}
	files := files(program)
	require.NoError(t, r.tarball("tombolo_1.2.3-rc.1_linux_amd64.tar.gz", files))
	require.NoError(t, r.zip("tombolo_1.2.3-rc.1_windows_amd64.zip", files))
	require.NoError(t, r.deb("amd64", files))
	require.NoError(t, r.sbom("tombolo_1.2.3-rc.1_linux_amd64", files))
	require.NoError(t, r.formula())
	require.NoError(t, r.checksums())
	return r
}

func TestTwoReleasesAreTheSameBytes(t *testing.T) {
	one, two := packed(t), packed(t)
	for _, name := range []string{"SHA256SUMS", "tombolo.rb"} {
		first, err := os.ReadFile(filepath.Join(one.out, name))
		require.NoError(t, err)
		second, err := os.ReadFile(filepath.Join(two.out, name))
		require.NoError(t, err)
		assert.Equal(t, string(first), string(second))
	}
	check := exec.Command("sha256sum", "--check", "--strict", "SHA256SUMS")
	if check.Err != nil {
		t.Skip("needs sha256sum")
	}
	check.Dir = one.out
	out, err := check.CombinedOutput()
	assert.NoError(t, err, "%s", out)
}

func TestDebianReadsThePackage(t *testing.T) {
	dpkg, err := exec.LookPath("dpkg-deb")
	if err != nil {
		t.Skip("needs dpkg-deb")
	}
	r := release{version: "1.2.3-rc.1", out: t.TempDir(), when: time.Unix(1_700_000_000, 0).UTC()}
	require.NoError(t, r.deb("amd64", files([]byte("a program\n"))))
	deb := filepath.Join(r.out, "tombolo_1.2.3-rc.1_amd64.deb")
	version, err := exec.Command(dpkg, "--field", deb, "Version").CombinedOutput()
	require.NoError(t, err, "%s", version)
	assert.Equal(t, "1.2.3~rc.1\n", string(version), "which sorts before 1.2.3")
	root := t.TempDir()
	out, err := exec.Command(dpkg, "--extract", deb, root).CombinedOutput()
	require.NoError(t, err, "%s", out)
	unit, err := os.ReadFile(filepath.Join(root, "usr/lib/systemd/system/tombolo.service"))
	require.NoError(t, err)
	assert.Equal(t, "ExecStart=/usr/bin/tombolo up\n", string(unit))
	info, err := os.Stat(filepath.Join(root, "usr/bin/tombolo"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o755), info.Mode())
	copyright, err := os.ReadFile(filepath.Join(root, "usr/share/doc/tombolo/copyright"))
	require.NoError(t, err)
	assert.Contains(t, string(copyright), "free\n")
	scripts := t.TempDir()
	out, err = exec.Command(dpkg, "--control", deb, scripts).CombinedOutput()
	require.NoError(t, err, "%s", out)
	for script, does := range map[string]string{"postinst": "try-restart", "prerm": "stop", "postrm": "daemon-reload"} {
		name := filepath.Join(scripts, script)
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		assert.Contains(t, string(text), does)
		out, err := exec.Command("/bin/sh", "-n", name).CombinedOutput()
		require.NoError(t, err, "%s", out)
		info, err := os.Stat(name)
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o755), info.Mode())
	}
}

func TestTheFormulaHasTheArchivesThatThereAre(t *testing.T) {
	r := release{version: "1.2.3-rc.1", out: t.TempDir(), when: time.Unix(1_700_000_000, 0).UTC()}
	require.NoError(t, r.tarball("tombolo_1.2.3-rc.1_linux_amd64.tar.gz", files([]byte("a program\n"))))
	require.NoError(t, r.formula())
	formula := filepath.Join(r.out, "tombolo.rb")
	text, err := os.ReadFile(formula)
	require.NoError(t, err)
	assert.Contains(t, string(text), "  on_linux do\n    on_intel do\n      url \"https://github.com/tombolo-net/tombolo/releases/download/v1.2.3-rc.1/tombolo_1.2.3-rc.1_linux_amd64.tar.gz\"\n      sha256 \"")
	assert.NotContains(t, string(text), "on_macos")
	ruby, err := exec.LookPath("ruby")
	if err != nil {
		t.Skip("needs ruby to read the formula")
	}
	out, err := exec.Command(ruby, "-c", formula).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// TestComposeReadsItsFile needs no Docker daemon, and does not check the image.
func TestComposeReadsItsFile(t *testing.T) {
	check := exec.Command("docker", "compose", "version")
	compose := []string{"docker", "compose"}
	if check.Run() != nil {
		compose = []string{"docker-compose"}
		if _, err := exec.LookPath(compose[0]); err != nil {
			t.Skip("needs docker compose, or docker-compose")
		}
	}
	args := append(compose[1:], "--file", "../../../compose.yaml", "config", "--quiet")
	out, err := exec.Command(compose[0], args...).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

func TestTheSBOMNamesEveryModuleOnce(t *testing.T) {
	yamux := &debug.Module{Path: "example.org/yamux", Version: "v1.0.0"}
	replaced := &debug.Module{Path: "example.org/old", Version: "v0.1.0", Replace: &debug.Module{Path: "example.org/new", Version: "v0.2.0"}}
	doc := release{version: "1.2.3"}.document("an-archive", []*debug.BuildInfo{
		{GoVersion: "go1.26.0", Deps: []*debug.Module{yamux}},
		{GoVersion: "go1.26.0", Deps: []*debug.Module{yamux, replaced}},
	})
	var found []string
	for _, p := range doc.Packages {
		found = append(found, p.External[0].Locator)
	}
	assert.Equal(t, []string{"pkg:golang/" + module + "@v1.2.3", "pkg:golang/std@1.26.0", "pkg:golang/example.org/yamux@v1.0.0",
		"pkg:golang/example.org/new@v0.2.0"}, found)
	assert.Len(t, doc.Relationship, len(found), "each belongs to the whole")
}

func TestTheNotesAreTheSectionOfTheVersion(t *testing.T) {
	changes := filepath.Join(t.TempDir(), "CHANGELOG.md")
	require.NoError(t, os.WriteFile(changes, []byte(
		"# Changes\n\n## Unreleased\n\n- new\n\n## 1.2.30\n\n- later\n\n## 1.2.3, 2026-11-27\n\n- old\n\n## 1.2.3-rc.1\n\n- first\n"), 0o644))
	for version, want := range map[string]string{"1.2.3": "- old\n", "1.2.30": "- later\n", "1.2.3-rc.1": "- first\n", "1.3.0": "- new\n"} {
		r := release{version: version, out: t.TempDir()}
		require.NoError(t, r.notes(changes))
		b, err := os.ReadFile(filepath.Join(r.out, "NOTES.md"))
		require.NoError(t, err)
		assert.Equal(t, want, string(b))
	}
}
