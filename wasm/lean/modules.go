package main

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	asnModule  = "github.com/libp2p/go-libp2p-asn-util"
	secpModule = "github.com/decred/dcrd/dcrec/secp256k1/v4"
	// secpTag is that of the module for what has no room for its table. No other
	// module that a tab links knows the tag.
	secpTag = "tinygo"
	// secpTable is the file with the table.
	secpTable = "compressedbytepoints.go"
)

//go:embed asn/asn.go
var asn []byte

// replacements are the modules in whose place others are put, which make writes.
var replacements = []struct {
	path string
	make func(dir string) error
}{{asnModule, makeASN}, {secpModule, makeSecp}}

// leanModules puts modules that take the place of others into a folder, with a go.mod
// and a go.sum that name them, and returns the flags of go build that use them.
// Modules that pkg does not link are left alone.
func leanModules(dir, pkg string) (flags []string, err error) {
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
	linked, err := modulesOf(pkg)
	if err != nil {
		return nil, err
	}
	for _, m := range replacements {
		if !linked[m.path] {
			continue
		}
		at := filepath.Join(dir, filepath.Base(filepath.Dir(m.path)), filepath.Base(m.path))
		if err := os.RemoveAll(at); err != nil { // of another version, perhaps
			return nil, err
		}
		if err := m.make(at); err != nil {
			return nil, fmt.Errorf("replace %s: %w", m.path, err)
		}
		// Relative to the program's module, so that the program is the same wherever it
		// is built.
		rel, err := relative(filepath.Dir(goMod), at)
		if err != nil {
			return nil, err
		}
		if _, err := output(exec.Command("go", "mod", "edit", "-replace="+m.path+"="+rel, lean)); err != nil {
			return nil, err
		}
	}
	return []string{"-modfile=" + lean, "-tags=" + secpTag}, nil
}

// modulesOf is the modules of which a package links anything.
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

// relative is the path from a folder to another, as a go.mod has it.
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

func makeASN(dir string) error {
	return writeAll(dir, map[string][]byte{"asn.go": asn, "go.mod": []byte("module " + asnModule + "\n\ngo 1.25.0\n")})
}

// makeSecp copies the module that the program has selected, but for its table.
func makeSecp(dir string) error {
	if _, err := output(exec.Command("go", "mod", "download", secpModule)); err != nil {
		return err
	}
	from, err := output(exec.Command("go", "list", "-m", "-f", "{{.Dir}}", secpModule))
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(from, secpTable)); err != nil {
		return fmt.Errorf("its table is elsewhere than it was: %w", err)
	}
	// What follows is what a program imports of it.
	for _, part := range []string{".", "ecdsa"} {
		files, err := filepath.Glob(filepath.Join(from, part, "*.go"))
		if err != nil {
			return err
		}
		if part == "." {
			files = append(files, filepath.Join(from, "go.mod"))
		}
		if err := os.MkdirAll(filepath.Join(dir, part), 0o755); err != nil {
			return err
		}
		for _, f := range files {
			name := filepath.Base(f)
			if name == secpTable || strings.HasSuffix(name, "_test.go") {
				continue
			}
			if err := copyFile(f, filepath.Join(dir, part, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o644)
}

func writeAll(dir string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			return err
		}
	}
	return nil
}
