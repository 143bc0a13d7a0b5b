//go:build linux

package postgres_test

import (
	"bufio"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/tombolo-net/tombolo/native/postgres"
)

// installEnv says what to do if PostgreSQL is not installed: without it the tests are
// skipped, with "install" they install Debian's package, and with anything else they fail.
const installEnv = "TOMBOLO_POSTGRES_TEST"

const password = "pass-of-the-test"

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.server != nil {
		shared.server.kill()
		_ = os.RemoveAll(shared.server.dir)
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// server is a PostgreSQL server on a socket of its own.
type server struct {
	bin, dir string
	as       *syscall.Credential // nil unless the test runs as root, which may not run the server
	url      string
	cmd      *exec.Cmd
	ended    chan struct{}
}

// binaries is the folder with the newest server that Debian's packages have installed.
func binaries(t *testing.T) string {
	find := func() string {
		found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
		require.NoError(t, err)
		version := func(path string) int {
			n, _ := strconv.Atoi(strings.Split(path, "/")[4])
			return n
		}
		slices.SortFunc(found, func(a, b string) int { return version(a) - version(b) })
		if len(found) == 0 {
			return ""
		}
		return filepath.Dir(found[len(found)-1])
	}
	bin := find()
	if bin != "" {
		return bin
	}
	switch os.Getenv(installEnv) {
	case "":
		t.Skipf("PostgreSQL is not installed: apt-get install postgresql, or set %s=install", installEnv)
	case "install":
		for _, args := range [][]string{{"update"}, {"install", "-y", "--no-install-recommends", "postgresql"}} {
			apt := exec.CommandContext(t.Context(), "apt-get", args...)
			apt.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
			out, err := apt.CombinedOutput()
			require.NoError(t, err, "%s", out)
		}
		bin = find()
	}
	require.NotEmpty(t, bin, "PostgreSQL is not installed")
	return bin
}

// newServer makes a cluster in a directory of its own and starts its server.
func newServer(t *testing.T, settings ...string) *server {
	s := &server{bin: binaries(t)}
	var err error
	s.dir, err = os.MkdirTemp("", "pg") // a socket's path has at most 107 bytes, too few for t.TempDir
	require.NoError(t, err)
	s.url = fmt.Sprintf("postgres://tombolo:%s@/postgres?host=%s", password, url.QueryEscape(s.dir))
	secret := filepath.Join(s.dir, "password")
	require.NoError(t, os.WriteFile(secret, []byte(password), 0o600))
	if os.Getuid() == 0 {
		who, err := user.Lookup("postgres")
		require.NoError(t, err)
		uid, err := strconv.ParseUint(who.Uid, 10, 32)
		require.NoError(t, err)
		gid, err := strconv.ParseUint(who.Gid, 10, 32)
		require.NoError(t, err)
		s.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		for _, path := range []string{s.dir, secret} {
			require.NoError(t, os.Chown(path, int(uid), int(gid)))
		}
	}
	out, err := s.command("initdb", "-D", s.data(), "-U", "tombolo", "-A", "scram-sha-256", "--pwfile", secret,
		"--no-locale", "-E", "UTF8", "--no-sync").CombinedOutput()
	require.NoError(t, err, "%s", out)
	s.start(t, settings...)
	return s
}

func (s *server) data() string { return filepath.Join(s.dir, "data") }

func (s *server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.as}
	return cmd
}

// start starts the server, and returns when it accepts connections.
func (s *server) start(t *testing.T, settings ...string) {
	args := []string{"-D", s.data(), "-c", "listen_addresses=", "-c", "unix_socket_directories=" + s.dir}
	for _, setting := range settings {
		args = append(args, "-c", setting)
	}
	s.cmd = s.command("postgres", args...)
	s.cmd.SysProcAttr.Pdeathsig = syscall.SIGQUIT // it does not outlive the test
	log, err := s.cmd.StderrPipe()
	require.NoError(t, err)
	started, ready, ended := make(chan error, 1), make(chan struct{}), make(chan struct{})
	s.ended = ended
	var said strings.Builder // before it was ready
	go func() {
		runtime.LockOSThread() // Pdeathsig kills the server when this thread ends
		defer runtime.UnlockOSThread()
		defer close(ended)
		err := s.cmd.Start()
		if started <- err; err != nil {
			return
		}
		lines, up := bufio.NewScanner(log), false
		for lines.Scan() {
			if up {
				continue
			}
			said.WriteString(lines.Text() + "\n")
			if up = strings.Contains(lines.Text(), "ready to accept connections"); up {
				close(ready)
			}
		}
		_ = s.cmd.Wait()
	}()
	require.NoError(t, <-started)
	select {
	case <-ready:
	case <-ended:
		t.Fatalf("the server has ended:\n%s", said.String())
	}
}

// kill kills every process of the server at once, as a loss of power does.
func (s *server) kill() {
	postmaster := s.cmd.Process.Pid
	_ = s.cmd.Process.Signal(syscall.SIGSTOP) // so that it starts no process meanwhile
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if fields[1] == strconv.Itoa(postmaster) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	_ = s.cmd.Process.Kill()
	<-s.ended
}

// shared is the server of most tests. It does not wait for the disk.
var shared struct {
	sync.Mutex
	server *server
	tables atomic.Int64
}

func sharedServer(t *testing.T) *server {
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil {
		shared.server = newServer(t, "fsync=off", "deadlock_timeout=50ms")
	}
	return shared.server
}

// newTable returns the name of a table that nobody else uses.
func newTable() string { return fmt.Sprint("table_", shared.tables.Add(1)) }

func openAt(t *testing.T, url, table string) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(t.Context(), url, postgres.Options{Table: table})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	return s
}

func open(t *testing.T) *postgres.Store {
	t.Helper()
	return openAt(t, sharedServer(t).url, newTable())
}

// connect opens a connection for what a store does not do.
func connect(t *testing.T) *pgx.Conn {
	c, err := pgx.Connect(t.Context(), sharedServer(t).url)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, c.Close(context.WithoutCancel(t.Context()))) })
	return c
}

// untilOneWaits waits until a transaction waits for another one.
func untilOneWaits(t *testing.T) {
	c := connect(t)
	require.Eventually(t, func() bool {
		var n int
		err := c.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'`).Scan(&n)
		return err == nil && n > 0
	}, time.Minute, time.Millisecond)
}
