// Command lean builds a program for GOOS=js without what a tab does not need: see its
// README.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tombolo-net/tombolo/wasm/internal/link"
)

const usage = `lean builds a Go program for GOOS=js without what a tab does not need.

usage: lean [flags] [package]

The package is that in the current folder if none is given. A program is built like
this: go build -trimpath -ldflags="-s -w", and what the flags say.

`

type options struct {
	out, pkg             string
	modules, findFuncTab bool
	keep                 []string // modules
}

func main() {
	o := options{pkg: "."}
	flag.StringVar(&o.out, "o", "program.wasm", "the `file` to write")
	flag.BoolVar(&o.modules, "modules", true, "replace modules by what a tab needs of them")
	flag.Func("keep", "leave this `module` as it is; may be given several times", func(module string) error {
		if !slices.ContainsFunc(replacements, func(r replacement) bool { return r.path == module }) {
			return errors.New("no such module is replaced")
		}
		o.keep = append(o.keep, module)
		return nil
	})
	flag.BoolVar(&o.findFuncTab, "findfunctab", true, "have the program write runtime.findfunctab when it starts")
	plain := flag.Bool("plain", false, "change nothing: what go build makes")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), usage)
		flag.PrintDefaults()
	}
	flag.Parse()
	switch flag.NArg() {
	case 0:
	case 1:
		o.pkg = flag.Arg(0)
	default:
		flag.Usage()
		os.Exit(2)
	}
	if *plain {
		o.modules, o.findFuncTab = false, false
	}
	if err := build(o); err != nil {
		fmt.Fprintln(os.Stderr, "lean:", err)
		os.Exit(1)
	}
}

func build(o options) error {
	dir := filepath.Join(filepath.Dir(o.out), "lean")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	// go build leaves a file as it is that bears the right mark, whoever changed it
	// since: so not o.out.
	linked := filepath.Join(dir, "linked.wasm")
	args := []string{"build", "-trimpath", "-ldflags=-s -w", "-o", linked}
	if o.modules {
		with, err := leanModules(dir, o)
		if err != nil {
			return err
		}
		args = append(args, with...)
	}
	if _, err := output(forJS(exec.Command("go", append(args, o.pkg)...))); err != nil {
		if o.modules {
			err = fmt.Errorf("%w\nIf something is missing in a package that lean replaces, keep its module: see -keep", err)
		}
		return err
	}
	program, err := os.ReadFile(linked)
	if err != nil {
		return err
	}
	if o.findFuncTab {
		if program, err = withoutFindFuncTab(program); err != nil {
			fmt.Fprintln(os.Stderr, "lean: warning:", err)
		}
	}
	return os.WriteFile(o.out, program, 0o755)
}

// withoutFindFuncTab is the program as it is beside an error.
func withoutFindFuncTab(program []byte) ([]byte, error) {
	m, err := link.Read(program)
	if err != nil {
		return program, err
	}
	if _, err := link.FillFindFuncTab(m); err != nil {
		return program, err
	}
	return m.Bytes(), nil
}

// forJS has a command of go be about GOOS=js.
func forJS(cmd *exec.Cmd) *exec.Cmd {
	cmd.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm")
	return cmd
}

// output runs a command, and is what it writes; what it has to say is in the error.
func output(cmd *exec.Cmd) (string, error) {
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", errors.Join(fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err), errors.New(strings.TrimSpace(said.String())))
	}
	return strings.TrimSpace(string(out)), nil
}
