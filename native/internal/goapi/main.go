// Command goapi prints the exported API of packages, one declaration a line, and compares
// it with a record, so that a change of the public API is visible in review and made on
// purpose.
//
//	goapi [-write] RECORD PACKAGE…
//
// GOOS and GOARCH choose the platform.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// module is the prefix that is left out of the names of packages.
const module = "github.com/tombolo-net/tombolo/"

func main() {
	write := flag.Bool("write", false, "write the record instead of comparing with it")
	flag.Parse()
	if flag.NArg() < 2 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(flag.Arg(0), flag.Args()[1:], *write); err != nil {
		fmt.Fprintln(os.Stderr, "goapi:", err)
		os.Exit(1)
	}
}

func run(record string, patterns []string, write bool) error {
	packages, err := load(patterns)
	if err != nil {
		return err
	}
	var lines []string
	for _, p := range packages {
		for _, line := range declarations(p) {
			lines = append(lines, strings.ReplaceAll(line, module, ""))
		}
	}
	if write {
		return os.WriteFile(record, []byte(strings.Join(lines, "\n")+"\n"), 0o644)
	}
	b, err := os.ReadFile(record)
	if err != nil {
		return err
	}
	recorded := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	differ := false
	for _, line := range missing(recorded, lines) {
		fmt.Println("- " + line) // which may break programs
		differ = true
	}
	for _, line := range missing(lines, recorded) {
		fmt.Println("+ " + line)
		differ = true
	}
	if differ {
		return fmt.Errorf("the public API differs from %s: if that is on purpose, run make api, and say so in CHANGELOG.md", record)
	}
	return nil
}

// missing returns the lines of from that are not in in.
func missing(from, in []string) (lines []string) {
	has := make(map[string]bool, len(in))
	for _, line := range in {
		has[line] = true
	}
	return slices.DeleteFunc(slices.Clone(from), func(line string) bool { return has[line] })
}

// load reads the types of packages from the compiler's export data.
func load(patterns []string) ([]*types.Package, error) {
	cmd := exec.Command("go", append([]string{"list", "-export", "-deps", "-json=ImportPath,Export,DepOnly"}, patterns...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	exports := make(map[string]string)
	var wanted []string
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath, Export string
			DepOnly            bool
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		exports[p.ImportPath] = p.Export
		if !p.DepOnly {
			wanted = append(wanted, p.ImportPath)
		}
	}
	slices.Sort(wanted)
	from := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	var packages []*types.Package
	for _, path := range wanted {
		p, err := from.Import(path)
		if err != nil {
			return nil, err
		}
		packages = append(packages, p)
	}
	return packages, nil
}

// declarations returns the exported names of a package with their types.
func declarations(p *types.Package) (lines []string) {
	short := func(other *types.Package) string {
		if other == p {
			return ""
		}
		return other.Path()
	}
	add := func(format string, args ...any) {
		lines = append(lines, "package "+p.Path()+", "+fmt.Sprintf(format, args...))
	}
	for _, name := range p.Scope().Names() {
		if !token.IsExported(name) {
			continue
		}
		object := p.Scope().Lookup(name)
		named, isType := object.(*types.TypeName)
		if !isType || named.IsAlias() {
			add("%s", types.ObjectString(object, short))
			continue
		}
		describe(add, named, short)
	}
	return lines
}

// describe adds a type: its kind, its exported fields or methods, and its method set.
func describe(add func(string, ...any), named *types.TypeName, short types.Qualifier) {
	t := named.Type().(*types.Named)
	head := "type " + types.TypeString(t, short)
	if params := t.TypeParams(); params.Len() > 0 {
		var list []string
		for param := range params.TypeParams() {
			list = append(list, types.TypeString(param.Constraint(), short))
		}
		head += " over " + strings.Join(list, ", ")
	}
	switch under := t.Underlying().(type) {
	case *types.Struct:
		add("%s struct", head)
		for field := range under.Fields() {
			if field.Exported() {
				add("%s struct, %s %s", head, field.Name(), types.TypeString(field.Type(), short))
			}
		}
	default:
		add("%s %s", head, types.TypeString(under, short))
	}
	if types.IsInterface(t) {
		return
	}
	methods := make(map[string]string)
	for set := range types.NewMethodSet(types.NewPointer(t)).Methods() {
		if m := set.Obj(); m.Exported() {
			methods[m.Name()] = types.TypeString(set.Type(), short)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(methods)) {
		add("%s, method %s%s", head, name, strings.TrimPrefix(methods[name], "func"))
	}
}
