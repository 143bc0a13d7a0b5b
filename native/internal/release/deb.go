package main

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const maintainer = "Tombolo <tombolo-net@users.noreply.github.com>"

// Scripts that dpkg runs after it has unpacked, before it removes, and after it has
// removed.
var (
	//go:embed deb/postinst
	postinst []byte
	//go:embed deb/prerm
	prerm []byte
	//go:embed deb/postrm
	postrm []byte
)

// deb writes a package for Debian: see deb(5). The units are installed and not enabled.
func (r release) deb(goarch string, files []file) error {
	version := strings.ReplaceAll(r.version, "-", "~") // which sorts before the release
	installed, err := r.installed(version, files)
	if err != nil {
		return err
	}
	size := 0
	for _, f := range installed {
		size += len(f.data)
	}
	control := fmt.Sprintf(`Package: tombolo
Version: %s
Architecture: %s
Maintainer: %s
Installed-Size: %d
Recommends: ca-certificates
Section: net
Priority: optional
Homepage: https://%s
Description: Connect tabs, laptops and servers by ID, through your own relay
 tombolo is a libp2p peer, and tombolo-relay the relay with its page.
`, version, goarch, maintainer, (size+1023)/1024, module)
	data, err := r.tarGz("./", installed)
	if err != nil {
		return err
	}
	meta, err := r.tarGz("./", []file{
		{"control", 0o644, []byte(control)}, {"postinst", 0o755, postinst}, {"postrm", 0o755, postrm}, {"prerm", 0o755, prerm},
	})
	if err != nil {
		return err
	}
	var b bytes.Buffer
	b.WriteString("!<arch>\n")
	for _, f := range []file{{"debian-binary", 0o644, []byte("2.0\n")}, {"control.tar.gz", 0o644, meta}, {"data.tar.gz", 0o644, data}} {
		fmt.Fprintf(&b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", f.name, r.when.Unix(), 0, 0, "100644", len(f.data))
		b.Write(f.data)
		if len(f.data)%2 == 1 {
			b.WriteByte('\n')
		}
	}
	return os.WriteFile(filepath.Join(r.out, fmt.Sprintf("tombolo_%s_%s.deb", r.version, goarch)), b.Bytes(), 0o644)
}

// installed returns the files of an archive at Debian's paths, and the two that each
// Debian package contains: changelog.gz and copyright.
func (r release) installed(version string, files []file) (installed []file, err error) {
	const doc = "usr/share/doc/tombolo/"
	copyright := []byte("Tombolo is under the Apache License 2.0 (/usr/share/common-licenses/Apache-2.0) or, as you like, under the following.\n\n")
	for _, f := range files {
		switch {
		case f.name == "LICENSE-APACHE": // every Debian has it
			continue
		case f.name == "LICENSE-MIT":
			f = file{doc + "copyright", 0o644, append(copyright, f.data...)}
		case f.mode == 0o755:
			f.name = "usr/bin/" + f.name
		case strings.HasPrefix(f.name, "systemd/"):
			f.name = "usr/lib/systemd/system/" + path.Base(f.name)
			f.data = bytes.ReplaceAll(f.data, []byte("/usr/local/bin/"), []byte("/usr/bin/"))
		default:
			f.name = doc + f.name
		}
		installed = append(installed, f)
	}
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // as Debian asks; it fails only for an invalid level
	fmt.Fprintf(z, "tombolo (%s) stable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- %s  %s\n", version, maintainer, r.when.Format(time.RFC1123Z))
	if err := z.Close(); err != nil {
		return nil, err
	}
	installed = append(installed, file{doc + "changelog.gz", 0o644, b.Bytes()})
	slices.SortFunc(installed, func(a, b file) int { return strings.Compare(a.name, b.name) })
	return installed, nil
}
