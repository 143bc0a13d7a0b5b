package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// startLimit is how long a tunnel may take to come up.
const startLimit = 30 * time.Second

// process is a program that was started for a measurement. It ends with this program or
// when it is stopped.
type process struct {
	cmd  *exec.Cmd
	said *bytes.Buffer // on stderr; read it after the end only
	ends chan struct{}
	// stdin is the program's standard input if the program ends with it, otherwise nil.
	stdin io.Closer
}

func start(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, said: new(bytes.Buffer), ends: make(chan struct{})}
	cmd.Stderr = p.said
	dieWithUs(cmd)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return p, nil
}

// wait waits for the program in the background. It must be called once, when its output is
// no longer read.
func (p *process) wait() {
	go func() {
		_ = p.cmd.Wait()
		close(p.ends)
	}()
}

// stop ends the program and all its descendants, and waits for it.
func (p *process) stop() {
	for _, pid := range family(p.cmd.Process.Pid) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	<-p.ends
}

func stopAll(processes []*process) {
	for _, p := range processes {
		p.stop()
	}
}

// startHelper starts this program again as an end of a tunnel (see helper.go)
// and returns the address it prints when it is ready.
func startHelper(ctx context.Context, args ...string) (*process, string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	return startReady(ctx, exec.Command(self, append([]string{helperWord}, args...)...))
}

// startReady starts a program that prints one line when it is ready and ends when its
// standard input does, and returns the line.
func startReady(ctx context.Context, cmd *exec.Cmd) (*process, string, error) {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	stdin, err := cmd.StdinPipe() // the program ends when this is closed
	if err != nil {
		return nil, "", err
	}
	p, err := start(cmd)
	if err != nil {
		return nil, "", err
	}
	p.stdin = stdin
	line := make(chan string, 1)
	go func() {
		s, _ := bufio.NewReader(out).ReadString('\n')
		line <- s
		_, _ = io.Copy(io.Discard, out)
		p.wait()
	}()
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	select {
	case s := <-line:
		if s = strings.TrimSpace(s); s != "" {
			return p, s, nil
		}
		<-p.ends
		return nil, "", fmt.Errorf("%s: %s", strings.Join(cmd.Args[1:], " "), strings.TrimSpace(p.said.String()))
	case <-ctx.Done():
		_ = cmd.Process.Kill()
		<-p.ends
		return nil, "", fmt.Errorf("%s: not ready: %w", strings.Join(cmd.Args[1:], " "), ctx.Err())
	}
}

// answering waits until the service answers at addr.
func answering(addr string, p ...*process) error {
	err := until(startLimit, func() bool {
		_, err := connects(addr, 1)
		return err == nil || ended(p)
	})
	if err == nil && ended(p) {
		err = errors.New("it ended")
	}
	return err
}

func ended(processes []*process) bool {
	for _, p := range processes {
		select {
		case <-p.ends:
			return true
		default:
		}
	}
	return false
}

// freePort returns a port that nothing listens on, for programs that cannot pick one.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// clockTick is the unit of times in /proc. It is the same on every Linux that Go runs on.
const clockTick = 10 * time.Millisecond

// cpuOf returns the CPU time that the programs and their descendants have used.
func cpuOf(processes []*process) (sum time.Duration) {
	for _, p := range processes {
		for _, pid := range family(p.cmd.Process.Pid) {
			if f := statOf(pid); len(f) > 12 {
				user, _ := strconv.Atoi(f[11])
				system, _ := strconv.Atoi(f[12])
				sum += time.Duration(user+system) * clockTick
			}
		}
	}
	return sum
}

// rssOf returns the resident memory of the programs and their descendants, in bytes.
func rssOf(processes []*process) (sum int64) {
	for _, p := range processes {
		for _, pid := range family(p.cmd.Process.Pid) {
			status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
			for line := range strings.Lines(string(status)) {
				if kb, ok := strings.CutPrefix(line, "VmRSS:"); ok {
					n, _ := strconv.ParseInt(strings.Fields(kb)[0], 10, 64)
					sum += n << 10
				}
			}
		}
	}
	return sum
}

// family returns a process and all its descendants.
func family(pid int) []int {
	all := []int{pid}
	entries, _ := os.ReadDir("/proc")
	parents := make(map[int][]int)
	for _, e := range entries {
		if child, err := strconv.Atoi(e.Name()); err == nil {
			if f := statOf(child); len(f) > 1 {
				parent, _ := strconv.Atoi(f[1])
				parents[parent] = append(parents[parent], child)
			}
		}
	}
	for i := 0; i < len(all); i++ {
		all = append(all, parents[all[i]]...)
	}
	return all
}

// statOf returns the fields of /proc/<pid>/stat from the state on.
func statOf(pid int) []string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
}
