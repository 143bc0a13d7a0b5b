package main

import (
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const (
	asnModule        = "github.com/libp2p/go-libp2p-asn-util"
	gogoModule       = "github.com/gogo/protobuf"
	prometheusModule = "github.com/prometheus/client_golang"
	secpModule       = "github.com/decred/dcrd/dcrec/secp256k1/v4"
	// secpTag is that of the module for what has no room for its table. No other
	// module that a tab links knows the tag.
	secpTag = "tinygo"
	// secpTable is the file with the table.
	secpTable = "compressedbytepoints.go"
)

//go:embed asn/asn.go gogo/proto.go prometheus/prometheus.go
var ours embed.FS

// replacement is a module in whose place another is put, which make writes.
type replacement struct {
	path string
	make func(dir string) error
}

var replacements = []replacement{
	{asnModule, ourPackage(asnModule, "asn/asn.go", ".")},
	{secpModule, makeSecp},
	{gogoModule, ourPackage(gogoModule, "gogo/proto.go", "proto")},
	{prometheusModule, ourPackage(prometheusModule, "prometheus/prometheus.go", "prometheus")},
}

// leanModules puts modules that take the place of others into a folder, with a go.mod
// and a go.sum that name them, and returns the flags of go build that use them.
// Modules that the package does not link are left alone.
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
		if !linked[m.path] || slices.Contains(o.keep, m.path) {
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

// ourPackage makes a module of one package, which has one file of ours.
func ourPackage(module, file, folder string) func(dir string) error {
	return func(dir string) error {
		code, err := ours.ReadFile(file)
		if err != nil {
			return err
		}
		if err := writeFile(filepath.Join(dir, "go.mod"), []byte("module "+module+"\n\ngo 1.25.0\n")); err != nil {
			return err
		}
		return writeFile(filepath.Join(dir, folder, filepath.Base(file)), code)
	}
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
	return writeFile(to, b)
}

// writeFile makes the folder of a file, too.
func writeFile(path string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}
