//go:build !js

package link

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// wasmExec is Go's script that starts programs.
func wasmExec(t *testing.T) string {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	require.NoError(t, err)
	return filepath.Join(strings.TrimSpace(string(root)), "lib", "wasm", "wasm_exec.js")
}

// waiting is a program that blocks, having done something before.
func waiting(t *testing.T, does string) *Module {
	t.Helper()
	out := filepath.Join(t.TempDir(), "program.wasm")
	ldflags := "-ldflags=-w -checklinkname=0 -X main.does=" + does
	cmd := exec.Command("go", "build", "-trimpath", "-tags=snapshot", ldflags, "-o", out, "./testdata/waiting")
	cmd.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm")
	said, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", said)
	b, err := os.ReadFile(out)
	require.NoError(t, err)
	return read(t, b)
}

// look is what a program says that was started.
type look struct {
	Key, Random, Order, Kind, Getter string
	Kept, Loaded                     int
	Seeded, Later, Snapshot          bool
}

// started is what a program says each time that it is started.
func started(t *testing.T, times string, files ...*Module) (all []look) {
	t.Helper()
	args := []string{"testdata/start.mjs", wasmExec(t)}
	for i, m := range files {
		path := filepath.Join(t.TempDir(), "program.wasm")
		require.NoError(t, os.WriteFile(path, m.Bytes(), 0o644))
		if args = append(args, path); i == 0 {
			args = append(args, times)
		}
	}
	said, err := exec.Command("node", args...).CombinedOutput()
	require.NoError(t, err, "%s", said)
	require.NoError(t, json.Unmarshal(said, &all), "%s", said)
	return all
}

// Keys, numbers that are random and the order of maps differ each time, though all of
// them begin with the same memory.
func TestWhoStartsFromASnapshotHasRandomnessOfItsOwn(t *testing.T) {
	m := waiting(t, "")
	require.NoError(t, Snapshot(m, wasmExec(t)))
	_, err := FillFindFuncTab(m)
	require.NoError(t, err)
	all := started(t, "8", m)
	require.Len(t, all, 8)
	seen := make(map[string]bool)
	for _, l := range all {
		for _, random := range []string{l.Key, l.Random, l.Order} {
			assert.NotEmpty(t, random)
			assert.False(t, seen[random], "%q came twice", random)
			seen[random] = true
		}
		l.Key, l.Random, l.Order = "", "", ""
		assert.Equal(t, look{Kind: "waiting", Getter: "get byteLength", Kept: 100, Seeded: true, Later: true, Snapshot: true}, l)
	}
}

func TestASnapshotOfTheSameProgramIsTheSame(t *testing.T) {
	plain := waiting(t, "").Bytes()
	one, other := read(t, plain), read(t, plain)
	require.NoError(t, Snapshot(one, wasmExec(t)))
	require.NoError(t, Snapshot(other, wasmExec(t)))
	assert.Equal(t, one.Bytes(), other.Bytes())
}

// What the machine that builds has, or the moment, must not be in the program.
func TestAProgramThatCannotBeHadAgainBeginsAtItsStart(t *testing.T) {
	for does, why := range map[string]string{
		"ends": "ends", "sleeps": "waits for a timer", "looks": "reads PI", "asks": "reads Deno", "writes": "makes something of 1 arguments",
	} {
		t.Run(does, func(t *testing.T) {
			t.Parallel()
			m := waiting(t, does)
			before := m.Bytes()
			require.ErrorContains(t, Snapshot(m, wasmExec(t)), why)
			assert.Equal(t, before, m.Bytes())
		})
	}
	m := read(t, built(t))
	require.ErrorContains(t, Snapshot(m, wasmExec(t)), `exports no function "reseed"`)
}
