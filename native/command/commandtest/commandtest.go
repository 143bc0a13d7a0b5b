// Package commandtest runs real programs in tests: it builds one, starts it, and reads
// its output line by line.
package commandtest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a process may take to print an expected line: much longer than it
// should, because machines that run tests are slow.
const patience = 60 * time.Second

// Ending is the time that a process may take to end. It should take a moment; anything
// that would hold it up, such as a silent peer, lasts for minutes.
const Ending = 30 * time.Second

// Build builds the program whose folder is the working directory, for TestMain. The
// returned function removes the binary.
func Build() (path string, remove func(), err error) { return BuildFolder(".") }

// BuildFolder builds the program of another folder, as Build does.
func BuildFolder(folder string) (path string, remove func(), err error) {
	dir, err := os.MkdirTemp("", "tombolo-test-*")
	if err != nil {
		return "", nil, err
	}
	remove = func() { os.RemoveAll(dir) }
	path = filepath.Join(dir, "program")
	if out, err := exec.Command("go", "build", "-o", path, folder).CombinedOutput(); err != nil {
		remove()
		return "", nil, fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, remove, nil
}

// Process is a running program. It is killed at the end of its test.
type Process struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdout io.Closer
	stderr bytes.Buffer // complete once exited is closed
	exited chan struct{}

	mu    sync.Mutex
	lines []string
	more  chan struct{} // closed and replaced with each line; closed finally at the end
	ended bool
}

// Start starts the program at path. Its environment is env and the variables that every
// program needs. Peers of several tests on one machine do not look for each other, unless
// env has TOMBOLO_NO_MDNS=false.
func Start(t *testing.T, env []string, path string, args ...string) *Process {
	t.Helper()
	p := &Process{t: t, cmd: exec.Command(path, args...), exited: make(chan struct{}), more: make(chan struct{})}
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TOMBOLO_NO_MDNS=true"}, env...)
	p.cmd.Stderr = &p.stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdout = stdout
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go p.read(stdout)
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.exited
		if t.Failed() {
			t.Logf("%s %s said:\n%s\nand on stderr:\n%s", path, strings.Join(args, " "), strings.Join(p.lines, "\n"), &p.stderr)
		}
	})
	return p
}

func (p *Process) read(stdout io.Reader) {
	defer close(p.exited)
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		p.mu.Lock()
		p.lines = append(p.lines, lines.Text())
		close(p.more)
		p.more = make(chan struct{})
		p.mu.Unlock()
	}
	_ = p.cmd.Wait()
	p.mu.Lock()
	p.ended = true
	close(p.more)
	p.mu.Unlock()
}

// PID returns the process ID.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Lines returns the lines written to standard output so far.
func (p *Process) Lines() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.lines...)
}

// Line waits for a line that begins with prefix and returns the rest of it. It also finds
// lines written before the call, the first one first.
func (p *Process) Line(prefix string) string {
	p.t.Helper()
	return p.LineAfter(0, prefix)
}

// LineAfter does the same as Line, without the first n lines; see Lines.
func (p *Process) LineAfter(n int, prefix string) string {
	p.t.Helper()
	timeout := time.After(patience)
	for {
		p.mu.Lock()
		for ; n < len(p.lines); n++ {
			if rest, ok := strings.CutPrefix(p.lines[n], prefix); ok {
				p.mu.Unlock()
				return rest
			}
		}
		more, ended := p.more, p.ended
		p.mu.Unlock()
		if ended {
			p.t.Fatalf("the program ended (%s) and did not say %q", p.cmd.ProcessState, prefix)
		}
		select {
		case <-more:
		case <-timeout:
			p.t.Fatalf("the program did not say %q", prefix)
		}
	}
}

// StopReading closes the pipe of standard output, as head does when it has read enough.
func (p *Process) StopReading() { p.stdout.Close() }

// Signal sends a signal.
func (p *Process) Signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatal(err)
	}
}

// Wait waits for the process to end, at most Ending, and returns the exit code (-1 after
// a signal) and what was written to standard error.
func (p *Process) Wait() (code int, stderr string) {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(Ending):
		p.t.Fatalf("the program does not end within %s", Ending)
	}
	return p.cmd.ProcessState.ExitCode(), p.stderr.String()
}

// Stop ends the program with SIGTERM and returns its exit code.
func (p *Process) Stop() (code int) {
	p.t.Helper()
	p.Signal(syscall.SIGTERM)
	code, _ = p.Wait()
	return code
}
