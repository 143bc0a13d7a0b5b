package main

import (
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	pathpkg "path"
	"path/filepath"
	"slices"
	"strings"
)

// replacement describes the module that is used in place of another.
type replacement struct {
	path string
	// ours maps paths in the module to our own files, in folders of this package.
	ours map[string]string
	// theirs lists folders that are copied from the module itself, except the file
	// without. "..." is all folders. Tests are left out, and so are the folders of our
	// own files and the folders below them.
	theirs  []string
	without string
	// beside is set if our files are added to the module's own files in their folder.
	beside bool
	// uses is a module that has to be left as it is if this one is.
	uses string
}

// secpTag is the build tag of secp256k1 for platforms without room for its table. No other
// module that a tab links uses this tag.
const secpTag = "tinygo"

// snapshotTag is the build tag of the code that a program needs to start from a snapshot.
const snapshotTag = "snapshot"

// simdTag is the build tag of the code that calls the module of package chachapoly.
const simdTag = "wasmsimd"

// cryptoPath is the module that is replaced only with -simd.
const cryptoPath = "golang.org/x/crypto"

//go:embed asn/asn.go chacha20poly1305/simd.go chacha20poly1305/import.go chacha20poly1305/methods.go gogo/proto.go libp2p/*/*.go prometheus/prometheus.go protobuf/*/*.go
var ours embed.FS

// replacements are explained in the README.
var replacements = []replacement{{
	path: "github.com/libp2p/go-libp2p-asn-util",
	ours: map[string]string{"asn.go": "asn/asn.go"},
}, {
	path:    "github.com/decred/dcrd/dcrec/secp256k1/v4",
	theirs:  []string{".", "ecdsa"},
	without: "compressedbytepoints.go",
}, {
	path: "github.com/libp2p/go-libp2p",
	ours: map[string]string{
		"p2p/net/nat/nat.go":                    "libp2p/nat/nat.go",
		"p2p/host/autonat/autonat.go":           "libp2p/autonat/autonat.go",
		"p2p/host/relaysvc/relaysvc.go":         "libp2p/relaysvc/relaysvc.go",
		"p2p/protocol/autonatv2/autonatv2.go":   "libp2p/autonatv2/autonatv2.go",
		"p2p/protocol/circuitv2/relay/relay.go": "libp2p/relay/relay.go",
		"p2p/protocol/holepunch/holepunch.go":   "libp2p/holepunch/holepunch.go",
	},
	theirs: []string{"..."},
}, {
	path: "github.com/gogo/protobuf",
	ours: map[string]string{"proto/proto.go": "gogo/proto.go"},
}, {
	path: "github.com/prometheus/client_golang",
	ours: map[string]string{"prometheus/prometheus.go": "prometheus/prometheus.go"},
	uses: "google.golang.org/protobuf",
}, {
	path: "google.golang.org/protobuf",
	ours: map[string]string{
		"proto/proto.go":                       "protobuf/proto/proto.go",
		"proto/fields.go":                      "protobuf/proto/fields.go",
		"reflect/protoreflect/protoreflect.go": "protobuf/protoreflect/protoreflect.go",
		"runtime/protoimpl/protoimpl.go":       "protobuf/protoimpl/protoimpl.go",
		"internal/errors/errors.go":            "protobuf/errors/errors.go",
	},
	theirs: []string{"encoding/protowire"},
}, {
	path: cryptoPath,
	ours: map[string]string{
		"chacha20poly1305/simd.go":    "chacha20poly1305/simd.go",
		"chacha20poly1305/import.go":  "chacha20poly1305/import.go",
		"chacha20poly1305/methods.go": "chacha20poly1305/methods.go",
	},
	theirs:  []string{"..."},
	beside:  true,
	without: "chacha20poly1305/chacha20poly1305_noasm.go",
}}

// leanModules writes the replacement modules to a folder, with a go.mod and a go.sum that
// name them, and returns the flags that make go build use them. It does not replace
// modules that the package does not link.
func leanModules(dir string, o options) (flags []string, err error) {
	goMod, err := output(exec.Command("go", "env", "GOMOD"))
	if err != nil {
		return nil, err
	}
	if goMod == "" || goMod == os.DevNull {
		return nil, errors.New("there is no go.mod here: run it in the module of the program")
	}
	lean := filepath.Join(dir, "go.mod")
	for from, to := range map[string]string{goMod: lean, strings.TrimSuffix(goMod, "mod") + "sum": filepath.Join(dir, "go.sum")} {
		if err := copyFile(from, to); err != nil {
			return nil, err
		}
	}
	linked, err := modulesOf(o.pkg)
	if err != nil {
		return nil, err
	}
	for _, m := range replacements {
		if !linked[m.path] || o.keeps(m.path) {
			continue
		}
		at := filepath.Join(dir, filepath.FromSlash(m.path))
		if err := os.RemoveAll(at); err != nil { // perhaps of another version
			return nil, err
		}
		if err := m.writeTo(at); err != nil {
			return nil, fmt.Errorf("replace %s: %w", m.path, err)
		}
		// Relative to the program's module, so that the program does not depend on where
		// it is built.
		rel, err := relative(filepath.Dir(goMod), at)
		if err != nil {
			return nil, err
		}
		if _, err := output(exec.Command("go", "mod", "edit", "-replace="+m.path+"="+rel, lean)); err != nil {
			return nil, err
		}
	}
	return []string{"-modfile=" + lean}, nil
}

// keeps reports whether a module is left as it is. A module is, too, if another one that
// is left uses it.
func (o options) keeps(module string) bool {
	if module == cryptoPath && !o.simd {
		return true
	}
	return slices.ContainsFunc(o.keep, func(kept string) bool {
		return kept == module || slices.ContainsFunc(replacements, func(r replacement) bool { return r.path == kept && r.uses == module })
	})
}

// modulesOf returns the paths of the modules that a package links anything of.
func modulesOf(pkg string) (map[string]bool, error) {
	list, err := output(forJS(exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", pkg)))
	if err != nil {
		return nil, err
	}
	linked := make(map[string]bool)
	for path := range strings.Lines(list) {
		linked[strings.TrimSpace(path)] = true
	}
	return linked, nil
}

// relative returns the path from one folder to another in the form of a go.mod.
func relative(from, to string) (string, error) {
	to, err := filepath.Abs(to)
	if err != nil {
		return "", err
	}
	rel, err := filepath.Rel(from, to)
	if err != nil {
		return to, nil // on another drive
	}
	rel = filepath.ToSlash(rel)
	if !strings.HasPrefix(rel, "../") {
		rel = "./" + rel
	}
	return rel, nil
}

// writeTo writes the module to a folder.
func (m *replacement) writeTo(dir string) error {
	if err := writeFile(filepath.Join(dir, "go.mod"), []byte("module "+m.path+"\n\ngo 1.25.0\n")); err != nil {
		return err
	}
	for to, from := range m.ours {
		code, err := ours.ReadFile(from)
		if err != nil {
			return err
		}
		if err := writeFile(filepath.Join(dir, filepath.FromSlash(to)), code); err != nil {
			return err
		}
	}
	if len(m.theirs) == 0 {
		return nil
	}
	return m.copyTheirs(dir)
}

// copyTheirs copies the module's own files that are left, from the version that the
// program selects.
func (m *replacement) copyTheirs(dir string) error {
	if _, err := output(exec.Command("go", "mod", "download", m.path)); err != nil {
		return err
	}
	from, err := output(exec.Command("go", "list", "-m", "-f", "{{.Dir}}", m.path))
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(from, m.without)); err != nil {
		return fmt.Errorf("what is left out is elsewhere than it was: %w", err)
	}
	return filepath.WalkDir(from, func(path string, f os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		switch {
		case f.IsDir() && m.isOurs(rel):
			return filepath.SkipDir
		case f.IsDir(), rel == m.without, !strings.HasSuffix(rel, ".go"), strings.HasSuffix(rel, "_test.go"):
			return nil
		case !slices.Contains(m.theirs, "...") && !slices.Contains(m.theirs, pathpkg.Dir(rel)):
			return nil
		}
		return copyFile(path, filepath.Join(dir, filepath.FromSlash(rel)))
	})
}

// isOurs reports whether a folder of the module is replaced by our own files.
func (m *replacement) isOurs(folder string) bool {
	if m.beside {
		return false
	}
	for to := range m.ours {
		if pathpkg.Dir(to) == folder {
			return true
		}
	}
	return false
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return writeFile(to, b)
}

// writeFile writes a file and makes its folder, too.
func writeFile(path string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}
