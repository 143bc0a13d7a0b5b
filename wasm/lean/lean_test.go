//go:build !js

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const keys = "./testdata/keys"

func TestALeanProgramIsSmallerAndDoesTheSame(t *testing.T) {
	out := filepath.Join(t.TempDir(), "program.wasm")
	native, err := output(exec.Command("go", "run", keys))
	require.NoError(t, err)
	root, err := output(exec.Command("go", "env", "GOROOT"))
	require.NoError(t, err)
	sizes := make(map[string]int64)
	for name, o := range map[string]options{
		"plain":   {},
		"modules": {modules: true},
		"lean":    {modules: true, findFuncTab: true},
	} {
		o.out, o.pkg = out, keys
		require.NoError(t, build(o))
		stat, err := os.Stat(out)
		require.NoError(t, err)
		sizes[name] = stat.Size()
		said, err := output(exec.Command("node", filepath.Join(root, "lib", "wasm", "wasm_exec_node.js"), out))
		require.NoError(t, err)
		assert.Equal(t, native, said, name)
	}
	assert.Less(t, sizes["modules"], sizes["plain"]-2<<20, "two tables are left out")
	assert.Less(t, sizes["lean"], sizes["modules"]*95/100)
}

func TestAProgramEncryptsTheSameWithVectorsAndWithout(t *testing.T) {
	const seal = "./testdata/seal"
	out := filepath.Join(t.TempDir(), "program.wasm")
	native, err := output(exec.Command("go", "run", seal))
	require.NoError(t, err)
	root, err := output(exec.Command("go", "env", "GOROOT"))
	require.NoError(t, err)
	require.NoError(t, build(options{out: out, pkg: seal, modules: true, simd: true}))
	for has, used := range map[string]string{"vectors": "used", "none": "unused"} {
		said, err := output(exec.Command("node", "testdata/simd.mjs", filepath.Join(root, "lib", "wasm", "wasm_exec.js"), out, has))
		require.NoError(t, err)
		assert.Equal(t, native+"\n"+used, said, has)
	}
}

// The program is the same, byte for byte, whatever was built before it.
func TestBuildingAgainMakesTheSameProgram(t *testing.T) {
	dir := t.TempDir()
	var first []byte
	for i, o := range []options{{modules: true, findFuncTab: true}, {}, {modules: true, findFuncTab: true}} {
		o.out, o.pkg = filepath.Join(dir, "program.wasm"), keys
		require.NoError(t, build(o))
		b, err := os.ReadFile(o.out)
		require.NoError(t, err)
		switch i {
		case 0:
			first = b
		case 1:
			assert.NotEqual(t, len(first), len(b))
		case 2:
			assert.Equal(t, first, b)
		}
	}
}

func TestWhatCannotBeBuiltIsAnErrorThatSaysWhy(t *testing.T) {
	err := build(options{out: filepath.Join(t.TempDir(), "program.wasm"), pkg: "./testdata/none", modules: true})
	require.ErrorContains(t, err, "testdata/none")
	t.Chdir(t.TempDir())
	err = build(options{out: "program.wasm", pkg: ".", modules: true})
	require.ErrorContains(t, err, "go.mod")
}

func TestWhatAModuleUsesThatIsKeptIsKeptToo(t *testing.T) {
	o := options{keep: []string{"github.com/prometheus/client_golang"}}
	assert.True(t, o.keeps("github.com/prometheus/client_golang"))
	assert.True(t, o.keeps("google.golang.org/protobuf"), "its messages are not those of libp2p")
	assert.False(t, o.keeps("github.com/gogo/protobuf"))
	assert.True(t, o.keeps("golang.org/x/crypto"), "its loader may not know of vectors")
	assert.False(t, options{keep: []string{"google.golang.org/protobuf"}}.keeps("github.com/prometheus/client_golang"))
}

// The table of replaced modules is in the README.
func TestTheReadmeNamesWhatIsReplaced(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	for _, m := range replacements {
		assert.Contains(t, string(readme), "| `"+m.path+"` |")
	}
	assert.Equal(t, len(replacements), strings.Count(string(readme), "\n| `g"))
}
