package native_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/tombolo-net/tombolo/"

// told lists the packages that the code of a document may use without importing them.
var told = []string{
	"bytes", "context", "errors", "io", "log", "log/slog", "net", "net/http", "time",
	module + "core", module + "core/bridge", module + "core/dispatch", module + "core/link", module + "core/mesh", module + "core/mesh/replay",
	module + "core/message", module + "core/world", module + "core/world/actor", module + "core/world/board", module + "core/world/demo", module + "core/world/seat", module + "native", module + "native/local", module + "native/postgres", module + "native/store",
	"github.com/ipfs/go-datastore", "github.com/libp2p/go-libp2p", "github.com/libp2p/go-libp2p/core/peer", "github.com/prometheus/client_golang/prometheus",
}

// frame surrounds code that is not a program of its own. It declares the names that the
// documents use without declaring them.
const frame = `package told; %s
func _(ctx context.Context, node *core.Node, p, peer, friend peer.ID, data []byte, dir string) { %s
}`

var goBlock = regexp.MustCompile("(?ms)^```go\n(.*?)^```$")

func TestTheGoInTheDocumentsCompiles(t *testing.T) {
	t.Parallel()
	for _, doc := range []string{"README.md", "docs/go.md", "docs/rooms.md"} {
		text, err := os.ReadFile("../" + doc)
		require.NoError(t, err)
		blocks := goBlock.FindAllSubmatchIndex(text, -1)
		assert.NotEmpty(t, blocks)
		for _, at := range blocks {
			code := string(text[at[2]:at[3]])
			line := 1 + strings.Count(string(text[:at[2]]), "\n")
			name := fmt.Sprintf("../%s:%d", doc, line)
			t.Run(name, func(t *testing.T) {
				for _, err := range check(t, name, code) {
					t.Error(err)
				}
			})
		}
	}
}

// check type-checks a program, or statements as they could stand in one. Names and
// imports that are not used are not errors: a document leaves out what comes next.
func check(t *testing.T, name, code string) (found []error) {
	if !strings.HasPrefix(code, "package ") && !strings.HasPrefix(code, "//go:build") {
		var imports strings.Builder
		for _, p := range told {
			fmt.Fprintf(&imports, "import %q;", p)
		}
		code = fmt.Sprintf(frame, imports.String(), "//line "+name+"\n"+code)
	}
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, code, parser.ParseComments)
	require.NoError(t, err)
	js := strings.HasPrefix(code, "//go:build js")
	config := types.Config{
		Importer: importer.ForCompiler(set, "gc", exported(t, js, file.Imports)),
		Error: func(err error) {
			var e types.Error
			if !errors.As(err, &e) || !e.Soft {
				found = append(found, err)
			}
		},
	}
	if js {
		config.Sizes = types.SizesFor("gc", "wasm")
	}
	_, _ = config.Check("told", set, []*ast.File{file}, nil)
	return found
}

var exports = map[bool]map[string]string{false: {}, true: {}} // by whether they are for js, and by package

// exported returns a function that opens the export data of a package.
func exported(t *testing.T, js bool, imports []*ast.ImportSpec) func(string) (io.ReadCloser, error) {
	known := exports[js]
	args := []string{"list", "-export", "-deps", "-json=ImportPath,Export"}
	missing := 0
	for _, i := range imports {
		if p := strings.Trim(i.Path.Value, `"`); known[p] == "" {
			args = append(args, p)
			missing++
		}
	}
	if missing > 0 {
		cmd := exec.Command("go", args...)
		cmd.Stderr = os.Stderr
		if js {
			cmd.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm", "CGO_ENABLED=0")
		}
		out, err := cmd.Output()
		require.NoError(t, err)
		for d := json.NewDecoder(strings.NewReader(string(out))); d.More(); {
			var p struct{ ImportPath, Export string }
			require.NoError(t, d.Decode(&p))
			known[p.ImportPath] = p.Export
		}
	}
	return func(p string) (io.ReadCloser, error) {
		if known[p] == "" {
			return nil, fmt.Errorf("no package %s (%s)", p, path.Base(p))
		}
		return os.Open(known[p])
	}
}
