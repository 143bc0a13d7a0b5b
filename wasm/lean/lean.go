// Command lean builds a program for GOOS=js and leaves out everything that a tab does not
// need: see its README.
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

	"github.com/tombolo-net/tombolo/wasm/internal/chachapoly"
	"github.com/tombolo-net/tombolo/wasm/internal/link"
)

const usage = `lean builds a Go program for GOOS=js without what a tab does not need.

usage: lean [flags] [package]

The package is that in the current folder if none is given. A program is built like
this: go build -trimpath -ldflags="-s -w", and what the flags say.

`

type options struct {
	out, pkg, ldflags                     string
	modules, findFuncTab, snapshot, small bool
	simd                                  bool
	hot                                   string // a file
	trace                                 bool
	keep                                  []string // modules
}

// seldom lists the packages that are compiled without inlining. This makes their code a
// tenth smaller, and work on each byte is done in other packages.
var seldom = []string{
	"fmt", "log/...", "net/...", "os/...", "path/...", "regexp/...", "text/...", "mime/...", "go/...", "html/...", "compress/...",
	"github.com/decred/...", "github.com/gogo/...", "github.com/ipfs/...", "github.com/libp2p/go-libp2p/...",
	"github.com/libp2p/go-libp2p-pubsub/...", "github.com/libp2p/go-libp2p-kad-dht/...", "github.com/multiformats/...",
	"github.com/prometheus/...", "go.uber.org/...", "golang.org/x/net/...", "google.golang.org/...", "lukechampine.com/...",
}

func main() {
	o := options{pkg: "."}
	flag.StringVar(&o.out, "o", "program.wasm", "the `file` to write")
	flag.StringVar(&o.ldflags, "ldflags", "", "more `flags` of the linker, such as -X package.name=value")
	flag.BoolVar(&o.modules, "modules", true, "replace modules by what a tab needs of them")
	flag.Func("keep", "leave this `module` as it is; may be given several times", func(module string) error {
		if !slices.ContainsFunc(replacements, func(r replacement) bool { return r.path == module }) {
			return errors.New("no such module is replaced")
		}
		o.keep = append(o.keep, module)
		return nil
	})
	flag.BoolVar(&o.findFuncTab, "findfunctab", true, "have the program write runtime.findfunctab when it starts")
	flag.BoolVar(&o.snapshot, "snapshot", false, "have the program begin where it is when its main goroutine first blocks; needs Node.js and a loader that knows of it")
	flag.StringVar(&o.hot, "hot", "", "a `file` with the names of the functions that a program begins with: the others are in program.rest.wasm; needs a loader that knows of it")
	flag.BoolVar(&o.small, "small", true, "inline no functions in packages of which little runs often")
	flag.BoolVar(&o.simd, "simd", false, "encrypt with vectors where the platform has them; needs a loader that knows of it")
	flag.BoolVar(&o.trace, "trace", false, "have functions note that they have run, for who makes such a file")
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
		o.modules, o.findFuncTab, o.snapshot, o.small, o.hot, o.simd = false, false, false, false, "", false
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
	// go build does not write a file again that has the right build ID, even if it was
	// changed since. So it must not write to o.out, which is changed below.
	linked := filepath.Join(dir, "linked.wasm")
	args := []string{"build", "-trimpath", "-o", linked}
	ldflags, tags := "-s -w", ""
	if o.snapshot || o.hot != "" || o.trace {
		ldflags = "-w" // the names of functions are left out later
	}
	if o.small {
		for _, pattern := range seldom {
			args = append(args, "-gcflags="+pattern+"=-l")
		}
	}
	if o.snapshot {
		ldflags, tags = ldflags+" -checklinkname=0", snapshotTag // see package wasm/internal/reseed
	}
	if o.modules {
		with, err := leanModules(dir, o)
		if err != nil {
			return err
		}
		args, tags = append(args, with...), strings.Trim(tags+","+secpTag, ",")
		if !o.keeps(cryptoPath) {
			tags += "," + simdTag
		}
	}
	if _, err := output(forJS(exec.Command("go", append(args, "-ldflags="+ldflags+" "+o.ldflags, "-tags="+tags, o.pkg)...))); err != nil {
		if o.modules {
			err = fmt.Errorf("%w\nIf something is missing in a package that lean replaces, keep its module: see -keep", err)
		}
		return err
	}
	program, err := os.ReadFile(linked)
	if err != nil {
		return err
	}
	return write(o, program)
}

// write runs the steps after the linker and writes the program. A step that fails is
// skipped, with a warning.
func write(o options, program []byte) error {
	rest := restOf(o.out)
	if err := os.RemoveAll(rest); err != nil {
		return err
	}
	m, err := link.Read(program)
	if err != nil {
		return err
	}
	warn := func(err error) bool {
		if err != nil {
			fmt.Fprintln(os.Stderr, "lean: warning:", err)
		}
		return err == nil
	}
	if o.snapshot {
		root, err := output(exec.Command("go", "env", "GOROOT"))
		if err != nil {
			return err
		}
		warn(link.Snapshot(m, filepath.Join(root, "lib", "wasm", "wasm_exec.js")))
	}
	if o.findFuncTab {
		_, err := link.FillFindFuncTab(m)
		warn(err)
	}
	if o.simd {
		m.Attach(chachapoly.Section, chachapoly.Module())
	}
	if o.trace {
		if err := link.Trace(m); err != nil {
			return err
		}
		return os.WriteFile(o.out, m.Bytes(), 0o755)
	}
	if o.hot != "" {
		hot, err := readHot(o.hot)
		if err != nil {
			return err
		}
		if second, err := link.Split(m, hot); warn(err) {
			if err := os.WriteFile(rest, second.Bytes(), 0o755); err != nil {
				return err
			}
		}
	}
	link.DropNames(m)
	return os.WriteFile(o.out, m.Bytes(), 0o755)
}

// restOf returns the path of the second file of a program.
func restOf(out string) string { return strings.TrimSuffix(out, ".wasm") + ".rest.wasm" }

// readHot reads the names of functions, one a line, and returns a function that reports
// whether a function stays in the first file. Those whose names have no dot are the
// toolchain's own and always stay.
func readHot(path string) (func(name string) bool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	names := make(map[string]bool)
	for name := range strings.Lines(string(text)) {
		names[strings.TrimSpace(name)] = true
	}
	return func(name string) bool { return names[name] || !strings.Contains(name, ".") }, nil
}

// forJS makes a go command build for GOOS=js.
func forJS(cmd *exec.Cmd) *exec.Cmd {
	cmd.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm")
	return cmd
}

// output runs a command and returns its standard output. Its standard error becomes part of
// the error.
func output(cmd *exec.Cmd) (string, error) {
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", errors.Join(fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err), errors.New(strings.TrimSpace(said.String())))
	}
	return strings.TrimSpace(string(out)), nil
}
