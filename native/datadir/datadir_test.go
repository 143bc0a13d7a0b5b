package datadir

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// holdEnv makes the test binary a process that opens the directory named there
// and holds it until its standard input ends.
const holdEnv = "TOMBOLO_TEST_HOLD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(holdEnv); dir != "" {
		hold(dir)
		return
	}
	os.Exit(m.Run())
}

func hold(dir string) {
	d, err := Open(dir)
	if err != nil {
		fmt.Println("error:", err)
		return
	}
	defer d.Close()
	key, err := d.Key()
	if err != nil {
		fmt.Println("error:", err)
		return
	}
	raw, _ := key.GetPublic().Raw()
	fmt.Printf("holding %x\n", raw)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// holder is another process that holds, or tried to open, a directory.
type holder struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	stdout io.Reader
	said   string
}

func startHolder(t *testing.T, dir string) *holder {
	t.Helper()
	h := launchHolder(t, dir)
	h.listen(t)
	return h
}

func launchHolder(t *testing.T, dir string) *holder {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holdEnv+"="+dir)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return &holder{cmd: cmd, stdin: stdin, stdout: stdout}
}

// listen waits for the line that the process prints.
func (h *holder) listen(t *testing.T) {
	t.Helper()
	said, err := bufio.NewReader(h.stdout).ReadString('\n')
	require.NoError(t, err)
	h.said = strings.TrimSpace(said)
}

func open(t *testing.T, path string) *Dir {
	t.Helper()
	d, err := Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, d.Close()) })
	return d
}

func TestOpenMakesADirectoryForItsOwnerAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b")
	d := open(t, path)
	assert.Equal(t, path, d.Path())
	for _, p := range []string{path, filepath.Dir(path)} {
		info, err := os.Stat(p)
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o700), info.Mode().Perm(), p)
	}
}

func TestOpenOfWhatCannotBeADirectoryNamesIt(t *testing.T) {
	_, err := Open("")
	require.ErrorContains(t, err, "empty")

	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = Open(file)
	require.ErrorContains(t, err, file)
}

func TestADirectoryBelongsToOneProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	first := startHolder(t, dir)
	require.Contains(t, first.said, "holding")

	_, err := Open(dir)
	require.ErrorIs(t, err, ErrInUse)
	assert.ErrorContains(t, err, dir)
	assert.ErrorContains(t, err, "process "+strconv.Itoa(first.cmd.Process.Pid))

	second := startHolder(t, dir)
	assert.Contains(t, second.said, "process "+strconv.Itoa(first.cmd.Process.Pid), "the second process gets the same error")

	require.NoError(t, first.stdin.Close())
	require.NoError(t, first.cmd.Wait())
	third := startHolder(t, dir)
	assert.Equal(t, first.said, third.said, "the directory is free again and the identity the same")
}

func TestADirectoryIsFreeAfterItsHolderWasKilled(t *testing.T) {
	dir := t.TempDir()
	first := startHolder(t, dir)
	require.Contains(t, first.said, "holding")
	require.NoError(t, first.cmd.Process.Kill())
	_ = first.cmd.Wait()

	d := open(t, dir)
	key, err := d.Key()
	require.NoError(t, err)
	raw, err := key.GetPublic().Raw()
	require.NoError(t, err)
	assert.Equal(t, first.said, fmt.Sprintf("holding %x", raw))
}

func TestADirectoryIsTakenWithinOneProcessToo(t *testing.T) {
	path := t.TempDir()
	d := open(t, path)
	_, err := Open(path)
	require.ErrorIs(t, err, ErrInUse)
	require.NoError(t, d.Close())
	require.NoError(t, d.Close(), "closing twice")
	open(t, path)
}

func TestOfManyProcessesAtOnceOneGetsTheDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	var all []*holder
	for range 6 {
		all = append(all, launchHolder(t, dir))
	}
	var holding int
	for _, h := range all {
		h.listen(t)
		if strings.HasPrefix(h.said, "holding") {
			holding++
		} else {
			assert.Contains(t, h.said, ErrInUse.Error())
		}
	}
	assert.Equal(t, 1, holding)
}
