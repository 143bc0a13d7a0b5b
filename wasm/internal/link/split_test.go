//go:build !js

package link

import (
	"bytes"
	"encoding/binary"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestASnapshotInTwoFilesLoadsTheRestOnce(t *testing.T) {
	for name, hot := range map[string]func(name string) bool{
		"nothing moved": func(string) bool { return true },
		"main moved":    func(name string) bool { return !strings.HasPrefix(name, "main.") && !strings.HasPrefix(name, "fmt.") },
		"all moved":     func(name string) bool { return !strings.Contains(name, ".") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := waiting(t, "")
			require.NoError(t, Snapshot(m, wasmExec(t)))
			_, err := FillFindFuncTab(m)
			require.NoError(t, err)
			whole := len(m.Bytes())
			rest, err := Split(m, hot)
			require.NoError(t, err)
			DropNames(m)
			all := started(t, "2", m, rest)
			for _, l := range all {
				assert.Equal(t, "waiting", l.Kind)
				assert.Equal(t, 100, l.Kept)
			}
			if name == "nothing moved" {
				assert.Equal(t, 0, all[0].Loaded)
			} else {
				assert.Equal(t, 1, all[0].Loaded, "it is loaded once")
				assert.Less(t, len(m.Bytes()), whole)
			}
		})
	}
}

// Callers, stacks of panics with names and lines, garbage collection and stacks that
// grow, in functions of both files and from one to the other.
func TestAProgramInTwoFilesDoesWhatItDid(t *testing.T) {
	want, code := runs(t, built(t))
	require.Equal(t, 2, code)
	named := built(t, "-w")
	for name, hot := range map[string]func(name string) bool{
		"every other one moved": func() func(string) bool {
			n := 0
			return func(name string) bool { n++; return n%2 == 0 || !strings.Contains(name, ".") }
		}(),
		"all moved": func(name string) bool { return !strings.Contains(name, ".") },
	} {
		t.Run(name, func(t *testing.T) {
			m := read(t, named)
			_, err := FillFindFuncTab(m)
			require.NoError(t, err)
			rest, err := Split(m, hot)
			require.NoError(t, err)
			DropNames(m)
			dir := t.TempDir()
			write(t, filepath.Join(dir, "program.wasm"), m.Bytes())
			write(t, filepath.Join(dir, "rest.wasm"), rest.Bytes())
			cmd := exec.Command("node", "testdata/run.mjs", wasmExec(t), filepath.Join(dir, "program.wasm"), filepath.Join(dir, "rest.wasm"))
			got, _ := cmd.CombinedOutput()
			assert.Equal(t, want, string(got))
			assert.Equal(t, 2, cmd.ProcessState.ExitCode())
		})
	}
}

// A function that is not where it is thought to be, or an instruction that the compiler
// does not use, leaves the program as it was.
func TestAProgramThatIsNotAsItWasStaysInOneFile(t *testing.T) {
	named := built(t, "-w")
	plain := read(t, named).Bytes()
	all := func(string) bool { return false }
	for name, change := range map[string]func(m *Module){
		"no names":            DropNames,
		"another instruction": func(m *Module) { setBody(t, m, []byte{0, 0xfd, 0, end}) },
		"another table":       func(m *Module) { m.section(elementSection).body[1] = 1 },
		"another global":      func(m *Module) { m.section(globalSection).body[2] = 0 },
		"no table of functions": func(m *Module) {
			m.memory = bytes.Clone(m.memory)
			clear(m.memory[bytes.Index(m.memory, pclnHeader):][:8])
		},
		"a function elsewhere": func(m *Module) {
			m.memory = bytes.Clone(m.memory)
			table, err := findPclntab(m.memory)
			require.NoError(t, err)
			m.memory[table.pcln+8*7]++
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := read(t, named)
			for i := range m.sections {
				m.sections[i].body = bytes.Clone(m.sections[i].body)
			}
			change(m)
			before, memory := m.Bytes(), bytes.Clone(m.memory)
			_, err := Split(m, all)
			require.ErrorContains(t, err, "the program stays in one piece")
			assert.Equal(t, before, m.Bytes())
			assert.Equal(t, memory, m.memory)
		})
	}
	assert.Equal(t, plain, read(t, named).Bytes())
}

// setBody gives the first function another body.
func setBody(t *testing.T, m *Module, body []byte) {
	t.Helper()
	all, err := m.functions()
	require.NoError(t, err)
	all[0].body = body
	m.setFunctions(all)
}

// What a traced program has not run has no bit, and what it has run has one.
func TestATracedProgramNotesWhatRuns(t *testing.T) {
	m := read(t, built(t, "-w"))
	names, err := m.names()
	require.NoError(t, err)
	require.NoError(t, Trace(m))
	dir := t.TempDir()
	write(t, filepath.Join(dir, "program.wasm"), m.Bytes())
	out, _ := exec.Command("node", "testdata/run.mjs", wasmExec(t), filepath.Join(dir, "program.wasm"), "", filepath.Join(dir, "bits")).CombinedOutput()
	bits := contents(t, filepath.Join(dir, "bits"))
	ran := make(map[string]bool)
	for i, name := range names {
		ran[name] = bits[traceAt+i/8]&(1<<(i%8)) != 0
	}
	assert.True(t, ran["main.main"], "%s", out)
	assert.True(t, ran["main.deep"])
	assert.False(t, ran["runtime.badmorestackg0"])
}

func TestTheTypesOfFunctionsAreFoundOrAdded(t *testing.T) {
	m := &Module{}
	m.setSection(typeSection, []byte{1, 0x60, 1, i32, 0})
	for _, want := range []struct {
		params, results []byte
		number          uint64
	}{{[]byte{i32}, nil, 0}, {nil, nil, 1}, {[]byte{i32, i64}, []byte{i32}, 2}, {nil, nil, 1}} {
		got, err := m.addType(want.params, want.results)
		require.NoError(t, err)
		assert.Equal(t, want.number, got)
	}
	assert.Equal(t, byte(3), m.section(typeSection).body[0])
	assert.Equal(t, binary.AppendUvarint(nil, 3), m.section(typeSection).body[:1])
}
