//go:build unix

package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/native/command"
	"github.com/tombolo-net/tombolo/native/command/commandtest"
	"github.com/tombolo-net/tombolo/native/control"
	"github.com/tombolo-net/tombolo/native/tunnels"
)

// together starts the program with its standard error redirected to its standard output.
func together(t *testing.T, dir string, args ...string) *commandtest.Process {
	t.Helper()
	return commandtest.Start(t, []string{"TOMBOLO_DATA_DIR=" + dir}, "/bin/sh", append([]string{"-c", `exec "$@" 2>&1`, "sh", binary}, args...)...)
}

func TestADaemonOutlivesTheReaderOfItsOutput(t *testing.T) {
	t.Parallel()
	for _, end := range command.Endings() {
		dir := t.TempDir()
		p := together(t, dir, "up", "--no-map-ports", "--listen", "/ip4/127.0.0.1/tcp/0", "--log-level", "debug")
		a := &peerProcess{p, t, dir, p.Line("id "), p.Line("listening ")}
		p.StopReading()
		b := up(t, t.TempDir())
		for range 3 { // each time it prints a line and logs more, which nobody reads
			b.does("connect", a.addr)
			assert.Equal(t, b.id, tells[[]control.Peer](a, "peers")[0].ID.String())
			b.does("disconnect", a.id)
			require.Eventually(t, func() bool { return len(tells[[]control.Peer](a, "peers")) == 0 }, 4*ending, ending/100)
		}
		p.Signal(end)
		code, _ := p.Wait()
		assert.Equal(t, 0, code, "%s", end)
		assert.NoFileExists(t, filepath.Join(dir, control.SocketName), "everything was closed")
	}
}

func TestADaemonEndsThoughTheReaderOfItsOutputIsStuck(t *testing.T) {
	dir := t.TempDir()
	out, in, err := os.Pipe()
	require.NoError(t, err)
	defer out.Close()
	defer in.Close()
	fill(t, in)
	cmd := exec.Command(binary, "up", "--data-dir", dir, "--no-map-ports", "--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0")
	cmd.Env = []string{"HOME=" + t.TempDir()}
	cmd.Stdout = in
	require.NoError(t, cmd.Start())
	a := &peerProcess{t: t, dir: dir}
	// The first line that the daemon prints blocks, and the daemon is ready all the same.
	require.Eventually(t, func() bool { return a.runs("", "peers").code == 0 }, 8*ending, ending/50)
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, cmd.Wait())
}

// fill writes to a pipe as much as it takes.
func fill(t *testing.T, pipe *os.File) {
	t.Helper()
	raw, err := pipe.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) {
		for err == nil {
			_, err = syscall.Write(int(fd), make([]byte, 1))
		}
	}))
	require.ErrorIs(t, err, syscall.EAGAIN)
}

func TestOneAnswerInAPipeWhoseReaderIsGoneEndsQuietly(t *testing.T) {
	a, b := two(t)
	a.does("listen", "/x/a", "127.0.0.1:22")
	for _, args := range [][]string{
		{"peers"}, {"peers", "--json"}, {"ls"}, {"ls", "--json"}, {"streams"}, {"services"}, {"doctor"}, {"id"}, {"version"}, {"completion", "bash"},
		{"ping", "-c", "0", b.id},
	} {
		out, in, err := os.Pipe()
		require.NoError(t, err)
		out.Close()
		cmd := exec.Command(binary, args...)
		cmd.Env = []string{"TOMBOLO_DATA_DIR=" + a.dir, "HOME=" + t.TempDir()}
		cmd.Stdout = in
		stderr, err := cmd.StderrPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		in.Close()
		said, err := io.ReadAll(stderr)
		require.NoError(t, err)
		assert.Empty(t, string(said), "%v", args)
		_ = cmd.Wait()
		assert.Equal(t, syscall.SIGPIPE, cmd.ProcessState.Sys().(syscall.WaitStatus).Signal(), "%v ends as any program in a pipe does", args)
	}
}

func TestWhatGoesOnEndsCleanlyWhenItsReaderIsGone(t *testing.T) {
	a := up(t, t.TempDir())
	for _, x := range []struct {
		first string // what it prints before the reader goes
		args  []string
	}{
		{"/x/a forwards to", []string{"listen", "-f", "/x/a", "127.0.0.1:22"}},
		{"{", []string{"listen", "-f", "/x/a", "127.0.0.1:22", "--json"}},
		{"/ip4/127.0.0.1/tcp/", []string{"forward", "-f", "/x/a", "127.0.0.1:0", nobody}},
		{"subscribed to", []string{"subscribe", "chat"}},
		{"", []string{"streams", "watch"}},
	} {
		p := together(t, a.dir, x.args...)
		if x.first != "" {
			p.Line(x.first)
		}
		p.StopReading()
		code, _ := p.Wait() // though it has nothing more to print
		assert.Equal(t, 0, code, "%v", x.args)
		require.Eventually(t, func() bool {
			list := tells[tunnels.List](a, "ls")
			return len(list.Listeners)+len(list.Forwards) == 0
		}, ending, ending/100, "%v", x.args)
	}
}

func TestAPipeInTheDataDirectoryIsAnErrorAndNotWaitedFor(t *testing.T) {
	for _, name := range []string{"identity.key", "tunnels.json", "config.toml", "lock", "histories.db"} {
		dir := t.TempDir()
		require.NoError(t, syscall.Mkfifo(filepath.Join(dir, name), 0o600))
		p := start(t, "up", "--data-dir", dir, "--no-map-ports", "--listen", "/ip4/127.0.0.1/tcp/0")
		code, stderr := p.Wait()
		assert.NotZero(t, code, name)
		assert.Contains(t, stderr, filepath.Join(dir, name))
	}
}
