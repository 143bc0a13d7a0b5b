package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/native/command/commandtest"
	"github.com/tombolo-net/tombolo/native/control"
	"github.com/tombolo-net/tombolo/native/socket/sockettest"
	"github.com/tombolo-net/tombolo/native/tunnels"
)

// nobody is the ID of a peer that does not exist.
const nobody = "12D3KooWCY9aRhhZwCiQiwD6JnvgYHM5KSnNRdsKVosTEWfUhEeY"

// ending is how long a program may take to end.
const ending = commandtest.Ending

// peerProcess is a running daemon.
type peerProcess struct {
	*commandtest.Process
	t             *testing.T
	dir, id, addr string
}

// up starts a daemon that listens on TCP.
func up(t *testing.T, dir string, more ...string) *peerProcess {
	t.Helper()
	p := start(t, append([]string{"up", "--data-dir", dir, "--no-map-ports", "--listen", "/ip4/127.0.0.1/tcp/0"}, more...)...)
	return &peerProcess{p, t, dir, p.Line("id "), p.Line("listening ")}
}

// two starts two daemons and connects them.
func two(t *testing.T) (a, b *peerProcess) {
	t.Helper()
	a, b = up(t, t.TempDir()), up(t, t.TempDir())
	a.does("connect", b.addr)
	return a, b
}

type result struct {
	code           int
	stdout, stderr string
}

// shell runs the program to its end.
func shell(t *testing.T, env []string, stdin string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, env...)
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	require.NoError(t, ctx.Err(), "%v ends", args)
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// runs runs a command on the daemon.
func (p *peerProcess) runs(stdin string, args ...string) result {
	p.t.Helper()
	return shell(p.t, []string{"TOMBOLO_DATA_DIR=" + p.dir}, stdin, args...)
}

// does runs a command that must succeed, and returns what it prints.
func (p *peerProcess) does(args ...string) string {
	p.t.Helper()
	r := p.runs("", args...)
	require.Equal(p.t, 0, r.code, "%v: %s", args, r.stderr)
	return r.stdout
}

// tells runs a command with --json and decodes its output. Unknown fields are an error.
func tells[T any](p *peerProcess, args ...string) (v T) {
	p.t.Helper()
	return parse[T](p.t, p.does(append(args, "--json")...))
}

func parse[T any](t *testing.T, text string) (v T) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	require.NoError(t, d.Decode(&v), text)
	return v
}

// fails runs a command that must fail with one line.
func (p *peerProcess) fails(code int, want string, args ...string) {
	p.t.Helper()
	r := p.runs("", args...)
	assert.Equal(p.t, code, r.code, "%v: %s", args, r.stderr)
	assert.Equal(p.t, 1, strings.Count(r.stderr, "\n"), "one line: %q", r.stderr)
	assert.True(p.t, strings.HasPrefix(r.stderr, "tombolo: "), r.stderr)
	assert.Contains(p.t, r.stderr, want, "%v", args)
	assert.Empty(p.t, r.stdout, "%v", args)
}

// service accepts connections of TCP and hands each to f.
func service(t *testing.T, f func(*net.TCPConn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				f(c.(*net.TCPConn))
			}()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

// all reads to the end before it sends everything back, and eight bytes more. Without
// half-close the answer is lost.
func all(c *net.TCPConn) {
	b, err := io.ReadAll(c)
	if err == nil {
		_, _ = c.Write(append(b, "and more"...))
	}
}

func echo(c *net.TCPConn) {
	_, _ = io.Copy(c, c)
}

func hostPort(t *testing.T, listen string) string {
	t.Helper()
	host, port, ok := strings.Cut(strings.TrimPrefix(listen, "/ip4/"), "/tcp/")
	require.True(t, ok, listen)
	return host + ":" + port
}

func exchange(t *testing.T, addr, say string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(30*time.Second)))
	_, err = io.WriteString(c, say)
	require.NoError(t, err)
	require.NoError(t, c.(*net.TCPConn).CloseWrite())
	b, err := io.ReadAll(c)
	require.NoError(t, err)
	return string(b)
}

func TestTunnelsOutliveTheDaemonHoweverItEnds(t *testing.T) {
	t.Parallel()
	b := up(t, t.TempDir())
	dir := t.TempDir()
	a := up(t, dir)
	b.does("listen", "/x/all", service(t, all))
	a.does("listen", "/x/ssh", "127.0.0.1:22", "--allow", b.id, "--announce", "a shell")
	a.does("listen", "/x/short", "127.0.0.1:22", "--ephemeral")
	a.does("forward", "/x/short", "127.0.0.1:0", b.id, "--ephemeral")
	f := tells[tunnels.Forward](a, "forward", "/x/all", "127.0.0.1:0", b.addr)
	before := tells[tunnels.List](a, "ls")
	require.Len(t, before.Listeners, 2)
	require.Len(t, before.Forwards, 2)
	assert.Equal(t, "hello and more", exchange(t, hostPort(t, f.Listen), "hello "))
	for _, end := range []os.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGKILL} {
		a.Signal(end)
		a.Wait()
		a = up(t, dir)
		list := tells[tunnels.List](a, "ls")
		require.Len(t, list.Listeners, 1, "those that are not ephemeral")
		require.Len(t, list.Forwards, 1)
		assert.Equal(t, []string{b.id}, []string{list.Listeners[0].Access.Allow[0].String()})
		assert.Equal(t, "a shell", list.Listeners[0].Announce)
		assert.Equal(t, f.Listen, list.Forwards[0].Listen)
		assert.Equal(t, "hello and more", exchange(t, hostPort(t, f.Listen), "hello "), "and it works, with nobody connecting first")
	}
	a.does("close", "-a")
	a.Signal(syscall.SIGKILL)
	a.Wait()
	list := tells[tunnels.List](up(t, dir), "ls")
	assert.Empty(t, list.Listeners, "what was closed stays closed")
	assert.Empty(t, list.Forwards)
}

func TestAForwardWhosePeerIsAwaySaysSoAndWorksWhenItIsBack(t *testing.T) {
	a, dir := up(t, t.TempDir()), t.TempDir()
	b := up(t, dir)
	b.does("listen", "/x/all", service(t, all))
	f := tells[tunnels.Forward](a, "forward", "/x/all", "127.0.0.1:0", b.addr)
	assert.Equal(t, "hello and more", exchange(t, hostPort(t, f.Listen), "hello "))
	b.Stop()
	conn, err := net.Dial("tcp", hostPort(t, f.Listen))
	if err == nil { // otherwise it was reset at once
		_, _ = conn.Read(make([]byte, 1))
		conn.Close()
	}
	require.Eventually(t, func() bool { return tells[tunnels.List](a, "ls").Forwards[0].Reason == bridge.PeerAway }, 8*ending, ending/100)
	assert.Regexp(t, `last failed: /x/all at `+b.id+`: peer away`, a.does("ls"))

	addr, _, _ := strings.Cut(b.addr, "/p2p/")
	start(t, "up", "--data-dir", dir, "--no-map-ports", "--listen", addr).Line("listening ")
	require.Eventually(t, func() bool { // after a failed dial, the forward waits before the next
		c, err := net.Dial("tcp", hostPort(t, f.Listen))
		if err != nil {
			return false
		}
		defer c.Close()
		_, _ = io.WriteString(c, "hello ")
		_ = c.(*net.TCPConn).CloseWrite()
		got, _ := io.ReadAll(c)
		return string(got) == "hello and more"
	}, 8*ending, ending/20)
	assert.Contains(t, a.does("ls"), "ready")
}

func TestADamagedFileOfTunnelsEndsTheDaemonInOneLine(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, tunnels.FileName)
	require.NoError(t, os.WriteFile(path, []byte(`{"version":1,"list`), 0o600))
	failsWith(t, 1, []string{path, "cannot be read", "restore it from a backup, or move it away"}, "up", "--data-dir", dir, "--listen", "127.0.0.1:0")
	require.NoError(t, os.WriteFile(path, []byte(`{"version":7}`), 0o600))
	failsWith(t, 1, []string{path, "version 7"}, "up", "--data-dir", dir, "--listen", "127.0.0.1:0")
	require.NoError(t, os.Remove(path))
	socket := filepath.Join(dir, control.SocketName)
	require.NoError(t, os.WriteFile(socket, []byte("mine"), 0o600))
	failsWith(t, 1, []string{socket, "not a socket"}, "up", "--data-dir", dir, "--listen", "127.0.0.1:0")
	long := filepath.Join(dir, strings.Repeat("x", 100))
	failsWith(t, 1, []string{"too long for a socket"}, "up", "--data-dir", long, "--listen", "127.0.0.1:0")
	failsWith(t, 1, []string{"too long for a socket"}, "ls", "--data-dir", long)
}

func TestAPortThatIsTakenAtTheStartIsToldAndComesBack(t *testing.T) {
	dir := t.TempDir()
	a := up(t, dir)
	f := tells[tunnels.Forward](a, "forward", "/x/a", "127.0.0.1:0", nobody)
	a.Stop()
	taken, err := net.Listen("tcp4", hostPort(t, f.Listen))
	require.NoError(t, err)
	a = up(t, dir)
	assert.Contains(t, a.does("ls"), "waiting: forward /x/a: listen on "+f.Listen+": bind: address already in use")
	r := a.runs("", "doctor")
	assert.Contains(t, r.stdout, "address already in use")
	assert.Contains(t, r.stdout, "tombolo close -p /x/a")
	assert.Equal(t, 1, r.code)
	require.NoError(t, taken.Close())
	require.Eventually(t, func() bool { return strings.Contains(a.does("ls"), "ready") }, 20*time.Second, 100*time.Millisecond)
}

func TestStandardInputAndOutputAreAStream(t *testing.T) {
	a, b := two(t)
	b.does("listen", "/x/all", service(t, all))
	sent := strings.Repeat("0123456789abcdef", 1<<16)
	r := a.runs(sent, "forward", "/x/all", "-", b.id)
	assert.Equal(t, 0, r.code, r.stderr)
	assert.Empty(t, r.stderr)
	require.Len(t, r.stdout, len(sent)+8, "1 MiB there, and 8 bytes more back")
	assert.Equal(t, sent+"and more", r.stdout)
	a.does("disconnect", b.id)
	r = a.runs("hello ", "forward", "/x/all", "-", b.addr)
	assert.Equal(t, "hello and more", r.stdout, "nobody need connect first: %s", r.stderr)
}

func TestAnUploadThatEndsInTheMiddleIsNotTakenForTheWhole(t *testing.T) {
	a, b := two(t)
	begun, read := make(chan struct{}, 1), make(chan error, 1)
	b.does("listen", "/x/upload", service(t, func(c *net.TCPConn) {
		if _, err := io.ReadFull(c, make([]byte, 4)); err == nil {
			begun <- struct{}{}
		}
		_, err := io.Copy(io.Discard, c)
		read <- err
	}))
	broken := func() error {
		select {
		case err := <-read:
			return err
		case <-time.After(ending):
			return nil
		}
	}
	half := func(end func(upload *os.Process, input *net.TCPConn)) (code int, stderr string) {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		require.NoError(t, err)
		defer l.Close()
		stdin, err := net.Dial("tcp4", l.Addr().String())
		require.NoError(t, err)
		defer stdin.Close()
		input, err := l.Accept()
		require.NoError(t, err)
		defer input.Close()
		file, err := stdin.(*net.TCPConn).File()
		require.NoError(t, err)
		defer file.Close()
		cmd := exec.Command(binary, "forward", "/x/upload", "-", b.id)
		cmd.Env = []string{"TOMBOLO_DATA_DIR=" + a.dir, "HOME=" + t.TempDir()}
		cmd.Stdin = file
		var said bytes.Buffer
		cmd.Stderr = &said
		require.NoError(t, cmd.Start())
		_, err = io.WriteString(input, "half")
		require.NoError(t, err)
		<-begun
		end(cmd.Process, input.(*net.TCPConn))
		_ = cmd.Wait()
		return cmd.ProcessState.ExitCode(), said.String()
	}
	code, stderr := half(func(_ *os.Process, input *net.TCPConn) {
		require.NoError(t, input.SetLinger(0))
		require.NoError(t, input.Close())
	})
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "forward: read standard input: ")
	require.Error(t, broken(), "standard input failed")
	for s, want := range map[os.Signal]int{os.Interrupt: 130, syscall.SIGTERM: 130, syscall.SIGHUP: 130, syscall.SIGKILL: -1} {
		code, stderr := half(func(upload *os.Process, _ *net.TCPConn) { require.NoError(t, upload.Signal(s)) })
		assert.Equal(t, want, code, s)
		assert.Empty(t, stderr, "%s: ssh ends its ProxyCommand like this, in the user's terminal", s)
		require.Error(t, broken(), s)
	}
	require.Eventually(t, func() bool { return len(tells[[]bridge.StreamInfo](a, "streams", "--ended")) == 5 }, ending, 50*time.Millisecond)
	for _, s := range tells[[]bridge.StreamInfo](a, "streams", "--ended") {
		assert.Equal(t, bridge.ClientFailed, s.Reason)
	}
}

// refuses runs a command that must fail while its standard input stays open, as it does for
// ssh's ProxyCommand.
func (p *peerProcess) refuses(want string, args ...string) {
	p.t.Helper()
	stdin, keep, err := os.Pipe()
	require.NoError(p.t, err)
	defer keep.Close()
	defer stdin.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = []string{"TOMBOLO_DATA_DIR=" + p.dir, "HOME=" + p.t.TempDir()}
	cmd.Stdin = stdin
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	exit := new(exec.ExitError)
	require.ErrorAs(p.t, cmd.Run(), &exit)
	assert.Equal(p.t, 1, exit.ExitCode())
	assert.Equal(p.t, 1, strings.Count(stderr.String(), "\n"), "one line: %q", &stderr)
	assert.Contains(p.t, stderr.String(), "tombolo: forward: ")
	assert.Contains(p.t, stderr.String(), want)
}

func TestAStreamThatIsRefusedSaysWhyOnStandardError(t *testing.T) {
	a, b := two(t)
	live := service(t, echo)
	b.does("listen", "/x/dead", sockettest.Nobody(t))
	b.does("listen", "/x/others", live, "--allow", nobody)
	b.does("listen", "/x/denied", live, "--deny", a.id)
	a.refuses("target refused", "forward", "/x/dead", "-", b.id)
	a.refuses("not allowed", "forward", "/x/others", "-", b.id)
	a.refuses("not allowed", "forward", "/x/denied", "-", b.id)
	a.refuses("no such protocol", "forward", "/x/missing", "-", b.id)
	a.refuses("peer away", "forward", "/x/a", "-", nobody)
	a.refuses("/x/ namespace", "forward", "/ssh", "-", b.id)
	a.refuses("neither a peer ID", "forward", "/x/a", "-", "bob")
	b.does("access", "/x/others", "--allow", a.id)
	assert.Equal(t, "hello", a.runs("hello", "forward", "/x/others", "-", b.id).stdout, "a list is changed live")
}

// hold starts a foreground tunnel and waits until it is set up.
func (p *peerProcess) hold(args ...string) *commandtest.Process {
	p.t.Helper()
	held := commandtest.Start(p.t, []string{"TOMBOLO_DATA_DIR=" + p.dir}, binary, args...)
	held.Line("")
	list := tells[tunnels.List](p, "ls")
	require.Equal(p.t, 1, len(list.Listeners)+len(list.Forwards))
	return held
}

func TestAForegroundTunnelGoesWithItsCommand(t *testing.T) {
	t.Parallel()
	a := up(t, t.TempDir())
	for _, args := range [][]string{
		{"listen", "-f", "/x/a", "127.0.0.1:22"},
		{"forward", "--foreground", "/x/a", "127.0.0.1:0", nobody},
	} {
		for _, end := range []os.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGINT} {
			held := a.hold(args...)
			held.Signal(end)
			code, _ := held.Wait()
			if end != syscall.SIGKILL {
				assert.Equal(t, 0, code)
			}
			require.Eventually(t, func() bool {
				list := tells[tunnels.List](a, "ls")
				return len(list.Listeners)+len(list.Forwards) == 0
			}, ending, 10*time.Millisecond, "after %s", end)
		}
		held := a.hold(args...)
		assert.Equal(t, "closed 1\n", a.does("close", "-p", "/x/a"))
		code, stderr := held.Wait()
		assert.Equal(t, 0, code)
		assert.Contains(t, stderr, "it was closed, or the daemon ended")
	}
	held := a.hold("listen", "-f", "/x/a", "127.0.0.1:22")
	code := a.Stop()
	assert.Equal(t, 0, code)
	held.Wait()
	assert.NoFileExists(t, filepath.Join(a.dir, tunnels.FileName))
}

func TestADaemonWithLiveStreamsEndsInTime(t *testing.T) {
	a, b := two(t)
	b.does("listen", "/x/echo", service(t, echo))
	f := tells[tunnels.Forward](a, "forward", "/x/echo", "127.0.0.1:0", b.id)
	conn, err := net.Dial("tcp", hostPort(t, f.Listen))
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "hello")
	require.NoError(t, err)
	_, err = io.ReadFull(conn, make([]byte, 5))
	require.NoError(t, err)
	reader, writer := io.Pipe()
	stdio := exec.Command(binary, "forward", "/x/echo", "-", b.id)
	stdio.Env = []string{"TOMBOLO_DATA_DIR=" + a.dir, "HOME=" + t.TempDir()}
	stdin, err := stdio.StdinPipe()
	require.NoError(t, err)
	stdio.Stdout = writer
	require.NoError(t, stdio.Start())
	_, err = io.WriteString(stdin, "hello")
	require.NoError(t, err)
	_, err = io.ReadFull(reader, make([]byte, 5))
	require.NoError(t, err)
	require.Len(t, tells[[]bridge.StreamInfo](a, "streams"), 2)

	assert.Equal(t, 0, a.Stop())
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(ending)))
	_, err = conn.Read(make([]byte, 1))
	require.Error(t, err)
	exit := new(exec.ExitError)
	require.ErrorAs(t, stdio.Wait(), &exit)
	assert.Equal(t, 1, exit.ExitCode(), "the stream did not end well")
}

func TestSystemdIsToldWhenTheDaemonIsReady(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	defer l.Close()
	dir := t.TempDir()
	env := []string{"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=400000"}
	p := commandtest.Start(t, env, binary, "up", "--data-dir", dir, "--listen", "/ip4/127.0.0.1/tcp/0")
	require.NoError(t, l.SetReadDeadline(time.Now().Add(time.Minute)))
	said := make(map[string]int)
	for b := make([]byte, 100); said["READY=1"] == 0 || said["WATCHDOG=1"] < 3; {
		n, err := l.Read(b)
		require.NoError(t, err)
		said[string(b[:n])]++
	}
	assert.Len(t, said, 2)
	assert.Equal(t, 0, shell(t, nil, "", "ls", "--data-dir", dir).code, "commands are answered by then")
	p.Stop()
}
