package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tombolo-net/tombolo/core/message"
)

// terminal is a program that runs in a terminal of its own.
type terminal struct {
	t      *testing.T
	ptm    *os.File
	mu     sync.Mutex
	screen strings.Builder
}

// inTerminal starts a program in a folder, in a new terminal, which is closed at
// the end of the test.
func inTerminal(t *testing.T, dir string, env []string, path string, args ...string) *terminal {
	t.Helper()
	ptm, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	require.NoError(t, err)
	require.NoError(t, unix.IoctlSetPointerInt(int(ptm.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(ptm.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	pts, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	require.NoError(t, err)
	defer pts.Close()
	require.NoError(t, unix.IoctlSetWinsize(int(ptm.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 50, Col: 200}))
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	cmd.Env = append([]string{"TERM=xterm", "HOME=" + dir, "LC_ALL=C.UTF-8"}, env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = pts, pts, pts
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	require.NoError(t, cmd.Start())
	term := &terminal{t: t, ptm: ptm}
	read := make(chan struct{})
	go func() {
		defer close(read)
		b := make([]byte, 4096)
		for {
			n, err := ptm.Read(b)
			term.mu.Lock()
			term.screen.Write(b[:n])
			term.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		ptm.Close()
		<-read
		if t.Failed() {
			t.Logf("the terminal showed %q", term.shown())
		}
	})
	return term
}

func (term *terminal) shown() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.screen.String()
}

func (term *terminal) types(keys string) {
	term.t.Helper()
	_, err := term.ptm.WriteString(keys)
	require.NoError(term.t, err)
}

// waits waits for a text to be shown.
func (term *terminal) waits(text string) {
	term.t.Helper()
	require.Eventually(term.t, func() bool { return strings.Contains(term.shown(), text) }, 8*ending, ending/200, "%q is shown", text)
}

// settings say how to start each shell without the user's own settings, and how to turn on
// completion in it.
var settings = map[string]struct{ start, completion string }{
	"bash": {"--norc --noprofile -i", `eval "$(tombolo completion bash)"`},
	"zsh":  {"-f -i", `autoload -Uz compinit; compinit -u -D; eval "$(tombolo completion zsh)"`},
	"fish": {"--no-config -i", `tombolo completion fish | source`},
}

// eachShell runs a test in every installed shell, in a folder of its own. The command
// tombolo runs program.
func eachShell(t *testing.T, program string, env []string, test func(t *testing.T, dir string, term *terminal)) {
	for name, how := range settings {
		t.Run(name, func(t *testing.T) {
			path, err := exec.LookPath(name)
			if err != nil {
				t.Skipf("there is no %s", name)
			}
			dir, bin := t.TempDir(), t.TempDir()
			require.NoError(t, os.Symlink(program, filepath.Join(bin, "tombolo")))
			env := append([]string{"PATH=" + bin + ":" + os.Getenv("PATH"), "REAL=" + binary}, env...)
			term := inTerminal(t, dir, env, path, strings.Fields(how.start)...)
			term.types(how.completion + "; echo rea''dy\r")
			term.waits("ready")
			test(t, dir, term)
		})
	}
}

func TestNoShellRunsTheNameOfAService(t *testing.T) {
	t.Parallel()
	a, b := two(t)
	b.does("listen", "/x/photos;touch${IFS}pwned;:", "127.0.0.1:22", "--announce", "photos")
	b.does("listen", "/x/$(touch${IFS}pwned)", "127.0.0.1:22", "--announce", "more")
	b.does("listen", "/x/`touch${IFS}pwned`", "127.0.0.1:22", "--announce", "more")
	b.does("listen", "/x/fine-name", "127.0.0.1:22", "--announce", "fine")
	eachShell(t, binary, []string{"TOMBOLO_DATA_DIR=" + a.dir}, func(t *testing.T, dir string, term *terminal) {
		term.types("tombolo forward /x/p\t\r")
		term.types("echo ov''er\r")
		term.waits("over")
		term.types("tombolo forward /x/fi\t")
		term.waits("ne-name")
		term.types("\recho do''ne\r")
		term.waits("done")
		assert.NoFileExists(t, filepath.Join(dir, "pwned"))
	})
}

func TestEveryShellCompletesWordsWithColons(t *testing.T) {
	t.Parallel()
	a, b := two(t)
	b.does("listen", "/x/na:me", "127.0.0.1:22", "--announce", "a name with a colon")
	eachShell(t, binary, []string{"TOMBOLO_DATA_DIR=" + a.dir}, func(t *testing.T, dir string, term *terminal) {
		term.types("tombolo forward /x/na:m\t")
		term.waits("/x/na:me")
		term.types("127.0.0.1:0 " + b.id[:6] + "\t")
		term.waits("127.0.0.1:0 " + b.id)
	})
}

// stub offers a name that tombolo never would, and records the arguments of its calls.
const stub = `#!/bin/sh
case "$1" in
completion) exec "$REAL" "$@" ;;
complete) [ "$3" = up ] || printf '%s\n' '/x/photos;touch${IFS}pwned;:' ;;
*) printf '%s\n' "$@" >called ;;
esac
`

func TestEveryShellInsertsWhatIsOfferedAsOneWord(t *testing.T) {
	program := filepath.Join(t.TempDir(), "stub")
	require.NoError(t, os.WriteFile(program, []byte(stub), 0o700))
	eachShell(t, program, nil, func(t *testing.T, dir string, term *terminal) {
		term.types("tombolo forward /x/p\t")
		term.waits("pwned")
		term.types("\r")
		require.Eventually(t, func() bool {
			b, err := os.ReadFile(filepath.Join(dir, "called"))
			return err == nil && strings.HasSuffix(string(b), "\n")
		}, 8*ending, 10*time.Millisecond)
		b, err := os.ReadFile(filepath.Join(dir, "called"))
		require.NoError(t, err)
		assert.Equal(t, "forward\n/x/photos;touch${IFS}pwned;:\n", string(b))

		require.NoError(t, os.WriteFile(filepath.Join(dir, "file;touch pwned;:"), nil, 0o600))
		require.NoError(t, os.Remove(filepath.Join(dir, "called")))
		term.types("tombolo up --config fi\t")
		term.waits("--config file")
		term.types("\r")
		require.Eventually(t, func() bool {
			b, err := os.ReadFile(filepath.Join(dir, "called"))
			return err == nil && string(b) == "up\n--config\nfile;touch pwned;:\n"
		}, 8*ending, 10*time.Millisecond)
		assert.NoFileExists(t, filepath.Join(dir, "pwned"))
	})
}

func TestATerminalShowsWhatPeersSayWithEscapes(t *testing.T) {
	a := up(t, t.TempDir())
	tombolo := []string{"TOMBOLO_DATA_DIR=" + a.dir}
	n := newNode(t)
	_, err := n.Connect(testContext(t), a.addr)
	require.NoError(t, err)
	remove, err := n.Respond("stat", func(_ context.Context, m *message.Message) ([]byte, error) {
		if string(m.Data) == "fail" {
			return nil, errors.New("\x1b[2Jno\u009b\u202e")
		}
		return []byte("one\n\ttwo\x1b[2J\u009b\u202e\xff"), nil
	})
	require.NoError(t, err)
	defer remove()
	term := inTerminal(t, t.TempDir(), tombolo, binary, "request", n.ID().String(), "stat", "x")
	term.waits("one\r\n\ttwo" + `\x1b[2J\u009b\u202e\xff`)
	term = inTerminal(t, t.TempDir(), tombolo, binary, "request", n.ID().String(), "stat", "fail")
	term.waits(`\x1b[2Jno\u009b\u202e`)
	assert.NotContains(t, term.shown(), "\x1b")
}
