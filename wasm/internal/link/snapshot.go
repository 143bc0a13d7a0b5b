package link

import (
	"bytes"
	"cmp"
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// snapshotSection is the custom section that tells a loader which JavaScript values the
// program holds: see web/src/snapshot.ts.
const snapshotSection = "tombolo.snapshot"

// lowMemory is how many bytes Go leaves unused at the start of memory.
const lowMemory = 4096

const pageSize = 64 << 10

//go:embed snapshot.mjs
var snapshotScript []byte

// Snapshot runs the program under Node.js until its main goroutine blocks, and makes the
// module begin there, with that state of memory and registers. A loader then does not
// call the export run: it restores the JavaScript values that a section of the module
// lists, and calls the export reseed: see package wasm/internal/reseed.
//
// The same program gives the same snapshot, because clock and randomness are simulated.
// State that cannot be restored is an error: a program that ends, or that waits for a
// timer or a promise, or that read something that differs between machines.
func Snapshot(m *Module, wasmExec string) error {
	if err := snapshot(m, wasmExec); err != nil {
		return fmt.Errorf("the program starts from its beginning, and not from a snapshot: %w", err)
	}
	return nil
}

func snapshot(m *Module, wasmExec string) error {
	if _, err := m.export("reseed"); err != nil {
		return err
	}
	plain := bytes.Clone(m.section(exportSection).body)
	if err := m.ExportState(); err != nil {
		return err
	}
	memory, state, err := run(m.Bytes(), wasmExec)
	if err != nil {
		m.setSection(exportSection, plain)
		return err
	}
	globals, err := m.globals()
	if err != nil {
		return err
	}
	if len(globals) != len(state.Globals) {
		return errors.New("it has other registers than it had")
	}
	for i, v := range state.Globals {
		globals[i].value = v
	}
	m.setGlobals(globals)
	m.setSection(exportSection, plain)
	clear(memory[:lowMemory])
	m.memory = memory
	m.setSection(memorySection, binary.AppendUvarint([]byte{1, 0}, uint64(len(memory)/pageSize)))
	m.addCustom(snapshotSection, state.Values)
	m.PackData()
	return nil
}

// taken is what the script writes in addition to the memory.
type taken struct {
	Globals []int64         `json:"globals"`
	Values  json.RawMessage `json:"values"`
}

// run runs a program until it blocks.
func run(program []byte, wasmExec string) (memory []byte, state taken, err error) {
	dir, err := os.MkdirTemp("", "snapshot")
	if err != nil {
		return nil, state, err
	}
	defer os.RemoveAll(dir)
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := cmp.Or(os.WriteFile(at("program.wasm"), program, 0o600), os.WriteFile(at("snapshot.mjs"), snapshotScript, 0o600)); err != nil {
		return nil, state, err
	}
	cmd := exec.Command("node", at("snapshot.mjs"), wasmExec, at("program.wasm"), at("memory"), at("state.json"))
	cmd.Env = append(os.Environ(), "TZ=UTC")
	if said, err := cmd.CombinedOutput(); err != nil {
		return nil, state, fmt.Errorf("%w: %s", err, bytes.TrimSpace(said))
	}
	text, err := os.ReadFile(at("state.json"))
	if err == nil {
		err = json.Unmarshal(text, &state)
	}
	if err == nil {
		memory, err = os.ReadFile(at("memory"))
	}
	return memory, state, err
}
