package e2e

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/native/command/commandtest"
	"github.com/tombolo-net/tombolo/native/socket/sockettest"
)

// runs runs a program, which must succeed, and returns all its output.
func runs(t *testing.T, path string, args ...string) string {
	t.Helper()
	code, said := exits(t, path, args...)
	require.Zero(t, code, "%s %v: %s", path, args, said)
	return said
}

func exits(t *testing.T, path string, args ...string) (code int, said string) {
	t.Helper()
	p := commandtest.Start(t, nil, path, args...)
	code, stderr := p.Wait()
	return code, strings.Join(p.Lines(), "\n") + "\n" + stderr
}

// serves starts a server, and stops it at the end of the test with the signal ending: a
// kill would leave its children behind.
func serves(t *testing.T, ending syscall.Signal, path string, args ...string) *commandtest.Process {
	t.Helper()
	p := commandtest.Start(t, nil, path, args...)
	t.Cleanup(func() {
		p.Signal(ending)
		p.Wait()
	})
	return p
}

// sshServer is an OpenSSH server, and how to log in to it.
type sshServer struct {
	ssh, scp string // the client programs
	addr     string
	user     string
	flags    []string // of both clients
}

func startSSH(t *testing.T) *sshServer {
	sshd := program(t, "sshd", "openssh-server")
	s := &sshServer{ssh: program(t, "ssh", "openssh-client"), scp: program(t, "scp", "openssh-client")}
	keygen := program(t, "ssh-keygen", "openssh-client")
	me, err := user.Current()
	require.NoError(t, err)
	s.user = me.Username
	if os.Getuid() == 0 { // as root, sshd needs a folder that a service manager would make
		const separation = "/run/sshd" // only one server at a time: the tests are not parallel
		if err := os.Mkdir(separation, 0o755); err == nil {
			t.Cleanup(func() { os.Remove(separation) })
		}
	}
	dir := t.TempDir()
	hostKey, key, config := filepath.Join(dir, "host"), filepath.Join(dir, "key"), filepath.Join(dir, "config")
	for _, k := range []string{hostKey, key} {
		runs(t, keygen, "-q", "-t", "ed25519", "-N", "", "-f", k)
	}
	port := sockettest.Port(t)
	s.addr = "127.0.0.1:" + port
	require.NoError(t, os.WriteFile(config, []byte(strings.Join([]string{
		"ListenAddress 127.0.0.1", "Port " + port, "HostKey " + hostKey, "PidFile none",
		"AuthorizedKeysFile " + key + ".pub", "StrictModes no", "UsePAM no", "PasswordAuthentication no",
		"KbdInteractiveAuthentication no", "PermitRootLogin prohibit-password", "Subsystem sftp internal-sftp", "",
	}, "\n")), 0o600))
	serves(t, syscall.SIGTERM, sshd, "-D", "-e", "-f", config)
	answers(t, "tcp4", s.addr)
	s.flags = []string{"-F", "none", "-i", key, "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR",
		"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"}
	return s
}

// through returns the flags for a forward to the server.
func (s *sshServer) through(hostport string) []string {
	_, port, _ := strings.Cut(hostport, ":")
	return append(append([]string(nil), s.flags...), "-o", "Port="+port)
}

// by returns the flags to use `tombolo forward /x/ssh -` instead of a forwarded port.
func (s *sshServer) by(d *daemon, peer string) []string {
	return append(append([]string(nil), s.flags...),
		"-o", fmt.Sprintf("ProxyCommand=%s forward --data-dir %s /x/ssh - %s", tombolo, d.dir, peer))
}

func TestSSHCopiesFilesThroughATunnelBothWays(t *testing.T) {
	s := startSSH(t)
	here, there := direct(t, onlyTCP)
	there.listen("/x/ssh", s.addr)
	tunnel := s.through(here.forward("/x/ssh", there))

	dir := t.TempDir()
	data := content(4, 100*mib)
	want := sha256.Sum256(data)
	from := filepath.Join(dir, "from")
	require.NoError(t, os.WriteFile(from, data, 0o600))
	remote := func(file string) string { return s.user + "@127.0.0.1:" + filepath.Join(dir, file) }
	holds := func(file string) {
		t.Helper()
		got, err := os.ReadFile(filepath.Join(dir, file))
		require.NoError(t, err)
		require.Equal(t, want, sha256.Sum256(got), "%d bytes", len(got))
	}
	runs(t, s.scp, append(tunnel, "-q", from, remote("sent"))...)
	holds("sent")
	runs(t, s.scp, append(tunnel, "-q", remote("sent"), filepath.Join(dir, "fetched"))...)
	holds("fetched")
	runs(t, s.scp, append(s.by(here, there.id), "-q", remote("sent"), filepath.Join(dir, "proxied"))...)
	holds("proxied")

	code, said := exits(t, s.ssh, append(s.by(here, there.id), s.user+"@tunnel", "echo $((6*7)); exit 3")...)
	assert.Equal(t, "42\n", said)
	assert.Equal(t, 3, code, "how the command ended comes through")
	for _, e := range here.streamsEnded() {
		assert.Empty(t, e.Reason, e.Error)
	}
}

func TestASessionOutlivesItsTunnelUntilItsStreamIsClosed(t *testing.T) {
	s := startSSH(t)
	here, there := direct(t, onlyTCP)
	there.listen("/x/ssh", s.addr)
	addr := here.forward("/x/ssh", there)
	session := exec.Command(s.ssh, append(s.through(addr), s.user+"@127.0.0.1", "echo ready; exec cat")...)
	in, err := session.StdinPipe()
	require.NoError(t, err)
	out, err := session.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, session.Start())
	timer := time.AfterFunc(patience, func() { session.Process.Kill() })
	t.Cleanup(func() { timer.Stop(); session.Process.Kill(); session.Wait() })
	expect := func(want string) {
		t.Helper()
		got := make([]byte, len(want))
		_, err := io.ReadFull(out, got)
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
	expect("ready\n")

	assert.Equal(t, "closed 1", here.do("close", "-l", here.list().Forwards[0].Listen))
	assert.Equal(t, "closed 1", there.do("close", "-p", "/x/ssh"))
	_, err = net.DialTimeout("tcp4", addr, time.Second)
	require.ErrorIs(t, err, syscall.ECONNREFUSED, "nobody new comes in")
	_, err = in.Write([]byte("still there\n"))
	require.NoError(t, err)
	expect("still there\n")

	live := there.streams()
	require.Len(t, live, 1)
	assert.Equal(t, "closed 1", there.do("streams", "close", strconv.FormatUint(live[0].ID, 10)))
	err = session.Wait()
	exit := new(exec.ExitError)
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, 255, exit.ExitCode(), "ssh lost its connection")
	assert.Equal(t, "closed by hand", string(here.ended("/x/ssh").Reason))
	assert.Equal(t, "closed by hand", string(there.ended("/x/ssh").Reason))
	assert.Empty(t, here.streams())
	assert.Empty(t, there.streams())
}

// database is a PostgreSQL server with the tables of pgbench.
type database struct {
	bench, psql string
	port        string
	socket      string // the file
}

func startDatabase(t *testing.T) *database {
	folders, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	find := func(name string) string { return program(t, name, "postgresql", folders...) }
	initdb, postgres := find("initdb"), find("postgres")
	d := &database{bench: find("pgbench"), psql: find("psql"), port: sockettest.Port(t)}
	// Not t.TempDir: the path of a socket must be short, and another user must be able to
	// pass the folders above.
	dir, err := os.MkdirTemp("", "tombolo-pg-*")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	as := func(path string, args ...string) []string { return append([]string{path}, args...) }
	if os.Getuid() == 0 { // PostgreSQL does not run as root
		owner, err := user.Lookup("postgres")
		if err != nil {
			t.Skip("there is no user postgres to run the server as: apt-get install postgresql")
		}
		setpriv := program(t, "setpriv", "util-linux")
		uid, _ := strconv.Atoi(owner.Uid)
		gid, _ := strconv.Atoi(owner.Gid)
		require.NoError(t, os.Chown(dir, uid, gid))
		as = func(path string, args ...string) []string {
			return append([]string{setpriv, "--reuid", owner.Uid, "--regid", owner.Gid, "--clear-groups", path}, args...)
		}
	}
	data := filepath.Join(dir, "data")
	d.socket = filepath.Join(dir, ".s.PGSQL."+d.port)
	start := as(initdb, "-D", data, "-U", "bench", "-A", "trust", "--no-sync", "--locale=C")
	runs(t, start[0], start[1:]...)
	start = as(postgres, "-D", data, "-p", d.port, "-k", dir, "-h", "127.0.0.1", "-c", "fsync=off")
	serves(t, syscall.SIGINT, start[0], start[1:]...)
	eventually(t, func() bool {
		code, _ := exits(t, d.psql, d.at("127.0.0.1", d.port, "-c", "select 1")...)
		return code == 0
	}, "the database does not come up")
	return d
}

func (d *database) at(host, port string, args ...string) []string {
	return append([]string{"-h", host, "-p", port, "-U", "bench", "-d", "postgres"}, args...)
}

func (d *database) benchAt(host, port string, args ...string) []string {
	return append([]string{"-h", host, "-p", port, "-U", "bench"}, append(args, "postgres")...)
}

func TestADatabaseIsUsedThroughATunnel(t *testing.T) {
	t.Parallel()
	d := startDatabase(t)
	here, there := direct(t, onlyTCP)
	sockets, err := os.MkdirTemp("", "tombolo-pg-*")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(sockets) })
	there.listen("/x/pg/tcp", "127.0.0.1:"+d.port)
	there.listen("/x/pg/unix", "unix:"+d.socket)
	_, tcp, _ := strings.Cut(here.forward("/x/pg/tcp", there), ":")
	here.do("forward", "/x/pg/unix", "unix:"+filepath.Join(sockets, ".s.PGSQL.1"), there.id)

	runs(t, d.bench, d.benchAt("127.0.0.1", tcp, "-i", "-q")...)
	for _, way := range [][2]string{{"127.0.0.1", tcp}, {sockets, "1"}} {
		said := runs(t, d.bench, d.benchAt(way[0], way[1], "-n", "-c", "4", "-j", "2", "-T", "2")...)
		assert.Contains(t, said, "number of failed transactions: 0 ", way)
		assert.Contains(t, runs(t, d.psql, d.at(way[0], way[1], "-At", "-c", "select count(*) from pgbench_accounts")...), "100000")
	}
	for _, node := range []*daemon{here, there} {
		for _, e := range node.streamsEnded() {
			assert.Empty(t, e.Reason, e.Error)
		}
	}
}

func TestAWebServerIsLoadedThroughATunnel(t *testing.T) {
	t.Parallel()
	nginx, wrk := program(t, "nginx", "nginx"), program(t, "wrk", "wrk")
	dir, port := t.TempDir(), sockettest.Port(t)
	page := content(5, 10_000)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "page"), page, 0o644))
	me, err := user.Current()
	require.NoError(t, err)
	who := ""
	if os.Getuid() == 0 {
		who = "user " + me.Username + ";" // so that nginx can read the folder of the test
	}
	config := filepath.Join(dir, "nginx.conf")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `
%s
daemon off; worker_processes 1; pid %[2]s/pid; error_log stderr;
events { worker_connections 1024; }
http {
	access_log off;
	client_body_temp_path %[2]s/1; proxy_temp_path %[2]s/2; fastcgi_temp_path %[2]s/3; uwsgi_temp_path %[2]s/4; scgi_temp_path %[2]s/5;
	server { listen 127.0.0.1:%[3]s; root %[2]s; }
}`, who, dir, port), 0o600))
	serves(t, syscall.SIGTERM, nginx, "-p", dir, "-c", config, "-e", "stderr")
	answers(t, "tcp4", "127.0.0.1:"+port)

	here, there := direct(t, onlyTCP)
	there.listen("/x/web", "127.0.0.1:"+port)
	url := "http://" + here.forward("/x/web", there) + "/page"
	said := runs(t, wrk, "-t", "2", "-c", "32", "-d", "3s", url)
	assert.NotContains(t, said, "Socket errors")
	assert.NotContains(t, said, "Non-2xx")
	assert.Regexp(t, `\n\s+[1-9][0-9]+ requests in`, said)
	t.Log(said)

	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	got, err := client.Get(url)
	require.NoError(t, err)
	defer got.Body.Close()
	var body bytes.Buffer
	_, err = body.ReadFrom(got.Body)
	require.NoError(t, err)
	assert.Equal(t, page, body.Bytes())
	assert.Contains(t, got.Header.Get("Server"), "nginx")
}

func TestAWebSocketGoesThroughATunnel(t *testing.T) {
	upgrader := websocket.Upgrader{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		for {
			kind, data, err := c.ReadMessage()
			if err != nil || c.WriteMessage(kind, data) != nil {
				return // a close has been answered by now
			}
		}
	}))
	defer server.Close()
	here, there := direct(t, onlyTCP)
	there.listen("/x/ws", strings.TrimPrefix(server.URL, "http://"))
	c, _, err := websocket.DefaultDialer.DialContext(testContext(t), "ws://"+here.forward("/x/ws", there)+"/", nil)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
	for _, size := range []int{0, 1, 125, 126, 70_000, mib} {
		data := content(6, size)
		require.NoError(t, c.WriteMessage(websocket.BinaryMessage, data))
		kind, got, err := c.ReadMessage()
		require.NoError(t, err)
		assert.Equal(t, websocket.BinaryMessage, kind)
		assert.True(t, bytes.Equal(data, got), "%d bytes", size)
	}
	require.NoError(t, c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(4321, "enough"), time.Now().Add(time.Second)))
	_, _, err = c.ReadMessage()
	closed := new(websocket.CloseError)
	require.ErrorAs(t, err, &closed)
	assert.Equal(t, 4321, closed.Code)
}
