//go:build !js

package link

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// built is a program as Go's linker makes it, without names unless it is told otherwise.
func built(t testing.TB, ldflags ...string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "program.wasm")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags="+cmp.Or(strings.Join(ldflags, " "), "-s -w"), "-o", out, "./testdata/program")
	cmd.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm")
	said, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", said)
	b, err := os.ReadFile(out)
	require.NoError(t, err)
	return b
}

func write(t testing.TB, path string, b []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, b, 0o644))
}

func contents(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return b
}

func read(t testing.TB, b []byte) *Module {
	t.Helper()
	m, err := Read(b)
	require.NoError(t, err)
	return m
}

// runs is what a program writes under Node.js, and its exit code.
func runs(t *testing.T, program []byte) (string, int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program.wasm")
	require.NoError(t, os.WriteFile(path, program, 0o644))
	root, err := exec.Command("go", "env", "GOROOT").Output()
	require.NoError(t, err)
	cmd := exec.Command("node", filepath.Join(strings.TrimSpace(string(root)), "lib", "wasm", "wasm_exec_node.js"), path)
	said, err := cmd.CombinedOutput()
	if err != nil {
		require.IsType(t, new(exec.ExitError), err, "%s", said)
	}
	return string(said), cmd.ProcessState.ExitCode()
}

// Callers, stacks of panics with names and lines, garbage collection and stacks that
// grow: all of them look program counters up.
func TestALinkedProgramDoesWhatItDid(t *testing.T) {
	program := built(t)
	want, code := runs(t, program)
	require.Contains(t, want, "main.named.method")
	require.Contains(t, want, "index out of range [8] with length 0")
	require.Contains(t, want, "program/main.go:80", "the end has a line")
	require.Equal(t, 2, code)
	for name, change := range map[string]func(*Module){
		"nothing":  func(*Module) {},
		"the data": (*Module).PackData,
		"the table": func(m *Module) {
			size, err := FillFindFuncTab(m)
			require.NoError(t, err)
			assert.Greater(t, size, fewestFunctions*bucketsOfOne*bucketSize)
			assert.Less(t, len(m.Bytes()), len(program)-size/4)
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := read(t, program)
			change(m)
			got, code := runs(t, m.Bytes())
			assert.Equal(t, want, got)
			assert.Equal(t, 2, code)
		})
	}
}

// Who reads the data of a changed module gets the memory that there was.
func TestPackedDataAreTheSameData(t *testing.T) {
	m := read(t, built(t))
	before := bytes.Clone(m.memory)
	m.PackData()
	again := read(t, m.Bytes())
	assert.Equal(t, bytes.TrimRight(before, "\x00"), again.memory)
	again.PackData()
	assert.Equal(t, m.Bytes(), again.Bytes())
}

func TestSegmentsHaveAllThatIsNotZeroAndNoLongGap(t *testing.T) {
	for _, memory := range []string{
		"", "\x00", "a", "\x00a\x00", "a\x00\x00\x00b", "a\x00\x00\x00\x00b", "\x00\x00\x00\x00ab\x00c" + strings.Repeat("\x00", 9), strings.Repeat("a\x00\x00\x00\x00\x00", 5),
	} {
		all := make([]byte, len(memory))
		for _, s := range segments([]byte(memory), 3) {
			copy(all[s.at:], s.data)
			assert.NotContains(t, string(s.data), strings.Repeat("\x00", 4))
			assert.NotZero(t, s.data[0])
			assert.NotZero(t, s.data[len(s.data)-1])
		}
		assert.Equal(t, memory, string(all))
	}
}

// Where the table is not what it is thought to be, it stays, and the program is as it
// was.
func TestATableThatIsNotAsItWasIsLeftAlone(t *testing.T) {
	program := built(t)
	plain := read(t, program).Bytes()
	at, buckets, err := findFuncTab(read(t, program).memory)
	require.NoError(t, err)
	for name, change := range map[string]func(m *Module){
		"a step in a bucket": func(m *Module) { m.memory[at+7*bucketsOfOne*bucketSize+4] = 1 },
		"another number":     func(m *Module) { m.memory[at+200*bucketSize]++ },
		"nothing points to it": func(m *Module) {
			pointer := binary.LittleEndian.AppendUint64(nil, uint64(at))
			clear(m.memory[bytes.Index(m.memory, pointer):][:8])
		},
		"no resume": func(m *Module) {
			s := m.section(exportSection)
			s.body = bytes.Replace(s.body, []byte("resume"), []byte("resumE"), 1)
		},
		"none": func(m *Module) { clear(m.memory[at : at+buckets*bucketSize]) },
	} {
		t.Run(name, func(t *testing.T) {
			m := read(t, program)
			change(m)
			before := bytes.Clone(m.memory)
			_, err := FillFindFuncTab(m)
			require.ErrorContains(t, err, "runtime.findfunctab stays in the program")
			assert.Equal(t, before, m.memory)
			if name != "no resume" {
				assert.Equal(t, plain, m.Bytes())
			}
		})
	}
}

func TestSignedNumbersAreThoseOfWebAssembly(t *testing.T) {
	for v, want := range map[int64]string{0: "\x00", 63: "\x3f", 64: "\xc0\x00", -1: "\x7f", -64: "\x40", -65: "\xbf\x7f", 1 << 62: "\x80\x80\x80\x80\x80\x80\x80\x80\xc0\x00", -1 << 63: "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x7f"} {
		b := appendSigned(nil, v)
		assert.Equal(t, want, string(b), "%d", v)
		r := reader{b: b}
		assert.Equal(t, v, r.signed())
		assert.NoError(t, r.end())
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte{})
	f.Add(magic)
	f.Add(append(bytes.Clone(magic), importSection, 7, 1, 1, 'a', 1, 'b', 0, 0, dataSection, 8, 1, 0, i32Const, 5, end, 2, 'x', 'y'))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Read(b)
		if err != nil {
			require.ErrorIs(t, err, ErrMalformed)
			return
		}
		again := read(t, m.Bytes())
		require.Equal(t, m.sections, again.sections)
		_, _ = FillFindFuncTab(m)
		_, _ = Split(m, func(string) bool { return false })
		_ = Trace(read(t, b))
		m.PackData()
		read(t, m.Bytes())
	})
}
