package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/native/command/commandtest"
	"github.com/tombolo-net/tombolo/native/socket/sockettest"
	"github.com/tombolo-net/tombolo/native/tunnels"
)

// patience bounds every wait for something that must happen.
const patience = 30 * time.Second

var tombolo, tomboloRelay string // the programs

func TestMain(m *testing.M) {
	if at := os.Getenv(serveAt); at != "" {
		serveForEver(at)
		return
	}
	removeAll := func() {}
	if built := os.Getenv(programs); built != "" { // set by the test that started this process
		tombolo, tomboloRelay, _ = strings.Cut(built, ":")
		verify(m, removeAll)
	}
	for folder, program := range map[string]*string{"../cmd/tombolo": &tombolo, "../../relay/cmd/tombolo-relay": &tomboloRelay} {
		path, remove, err := commandtest.BuildFolder(folder)
		if err != nil {
			removeAll()
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		*program = path
		before := removeAll
		removeAll = func() { before(); remove() }
	}
	os.Setenv(programs, tombolo+":"+tomboloRelay)
	verify(m, removeAll)
}

// programs is the environment variable that names the programs for a test that runs again
// in a network of its own.
const programs = "TOMBOLO_TEST_PROGRAMS"

func verify(m *testing.M, removeAll func()) {
	// This goroutine of a closed WebRTC stream ends at the deadline that libp2p has set.
	ends := goleak.IgnoreAnyFunction("github.com/pion/sctp.(*Stream).SetReadDeadline.func1")
	goleak.VerifyTestMain(m, ends, goleak.Cleanup(func(code int) {
		removeAll()
		os.Exit(code)
	}))
}

// long skips a test that takes too long to run every day.
func long(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("LONG") == "" {
		t.Skip(why + "; LONG=1 runs it")
	}
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until so returns true. It calls so in this goroutine, so that so may
// fail the test.
func eventually(t *testing.T, so func() bool, says string, args ...any) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for wait := 10 * time.Millisecond; !so(); wait = min(2*wait, 200*time.Millisecond) {
		if time.Now().After(deadline) {
			require.Fail(t, "it never comes to be", append([]any{says}, args...)...)
		}
		time.Sleep(wait)
	}
}

// daemon is a running `tombolo up`.
type daemon struct {
	*commandtest.Process
	t   *testing.T
	dir string
	id  string
}

// anywhere listens on every transport, at ports that the system picks.
const anywhere = "127.0.0.1:0"

// up starts a daemon in a new directory.
func up(t *testing.T, listen string, flags ...string) *daemon {
	t.Helper()
	return upIn(t, t.TempDir(), listen, flags...)
}

// upIn starts a daemon in a directory, as after a crash or a restart.
func upIn(t *testing.T, dir, listen string, flags ...string) *daemon {
	t.Helper()
	return upWith(t, dir, []string{tombolo}, listen, flags...)
}

// upWith starts a daemon with the command line program, and adds the arguments of tombolo.
func upWith(t *testing.T, dir string, program []string, listen string, flags ...string) *daemon {
	t.Helper()
	args := append(program[1:], "up", "--data-dir", dir, "--listen", listen, "--no-map-ports")
	p := commandtest.Start(t, nil, program[0], append(args, flags...)...)
	return &daemon{Process: p, t: t, dir: dir, id: p.Line("id ")}
}

// addr returns the first address that the daemon listens on, not through a relay, and that
// contains part.
func (d *daemon) addr(part string) string {
	d.t.Helper()
	for _, l := range d.Lines() {
		if a, ok := strings.CutPrefix(l, "listening "); ok && strings.Contains(a, part) && !strings.Contains(a, "/p2p-circuit") {
			return a
		}
	}
	d.t.Fatalf("it listens on no %s", part)
	return ""
}

// do runs a command against the daemon, which must succeed, and returns its output.
func (d *daemon) do(args ...string) string {
	d.t.Helper()
	code, said, complaint := d.try(args...)
	require.Equal(d.t, 0, code, "%v: %s", args, complaint)
	return said
}

func (d *daemon) try(args ...string) (code int, said, complaint string) {
	d.t.Helper()
	p := commandtest.Start(d.t, []string{"TOMBOLO_DATA_DIR=" + d.dir}, tombolo, args...)
	code, complaint = p.Wait()
	return code, strings.Join(p.Lines(), "\n"), complaint
}

// ask runs a command that answers with JSON.
func ask[T any](d *daemon, args ...string) (answer T) {
	d.t.Helper()
	require.NoError(d.t, json.Unmarshal([]byte(d.do(append(args, "--json")...)), &answer))
	return answer
}

func (d *daemon) streams() []bridge.StreamInfo {
	d.t.Helper()
	return ask[[]bridge.StreamInfo](d, "streams")
}

// streamsEnded returns the streams that ended most recently.
func (d *daemon) streamsEnded() []bridge.StreamInfo {
	d.t.Helper()
	return ask[[]bridge.StreamInfo](d, "streams", "--ended")
}

func (d *daemon) list() tunnels.List {
	d.t.Helper()
	return ask[tunnels.List](d, "ls")
}

// listen offers a target, and forward forwards a port of this machine to it.
func (d *daemon) listen(proto, target string, flags ...string) {
	d.t.Helper()
	d.do(append([]string{"listen", proto, target}, flags...)...)
}

func (d *daemon) forward(proto string, to fmt.Stringer, flags ...string) (hostport string) {
	d.t.Helper()
	f := ask[tunnels.Forward](d, append([]string{"forward", proto, "127.0.0.1:0", to.String()}, flags...)...)
	return hostPort(d.t, f.Listen)
}

// String returns the daemon's peer ID.
func (d *daemon) String() string { return d.id }

// hostPort returns the host:port of an address such as /ip4/127.0.0.1/tcp/1.
func hostPort(t *testing.T, addr string) string {
	t.Helper()
	parts := strings.Split(addr, "/")
	require.Len(t, parts, 5, addr)
	return net.JoinHostPort(parts[2], parts[4])
}

// ended waits for a stream of a protocol that did not end well, and returns the first one.
func (d *daemon) ended(proto string) (found bridge.StreamInfo) {
	d.t.Helper()
	eventually(d.t, func() bool {
		for _, s := range d.streamsEnded() {
			if string(s.Protocol) == proto && s.Reason != "" {
				found = s
				return true
			}
		}
		return false
	}, "no stream of %s ended with a reason", proto)
	return found
}

// kill ends a process as a crash would.
func kill(p *commandtest.Process) {
	p.Signal(syscall.SIGKILL)
	p.Wait()
}

// relay is a running tombolo-relay.
type relay struct {
	*commandtest.Process
	dir, listen string
	addr        string
}

// startRelay starts a relay that listens on TCP only, so that peers notice at once when it
// is killed.
func startRelay(t *testing.T) *relay {
	t.Helper()
	return relayIn(t, t.TempDir(), "/ip4/127.0.0.1/tcp/"+sockettest.Port(t))
}

func relayIn(t *testing.T, dir, listen string) *relay {
	t.Helper()
	p := commandtest.Start(t, nil, tomboloRelay, "--data-dir", dir, "--listen", listen, "--no-map-ports")
	return &relay{p, dir, listen, p.Line("listening ")}
}

// circuitTo returns the address of a peer that has a reservation on the relay.
func (r *relay) circuitTo(id fmt.Stringer) string { return r.addr + "/p2p-circuit/p2p/" + id.String() }

// relayed starts two daemons, and connects the first to the second through the relay only.
// They are in two networks, because within one they would find each other.
func relayed(t *testing.T, r *relay, flags ...string) (here, there *daemon) {
	t.Helper()
	there = up(t, onlyTCP, append(flags, "--relay", r.addr, "--network", "there")...)
	here = up(t, onlyTCP, "--network", "here")
	there.Line("reserved on ")
	here.do("connect", r.circuitTo(there))
	return here, there
}

const onlyTCP = "/ip4/127.0.0.1/tcp/0"

// direct starts two daemons, and connects the first to the second.
func direct(t *testing.T, listen string) (here, there *daemon) {
	t.Helper()
	there, here = up(t, listen), up(t, anywhere)
	here.do("connect", there.addr("/"))
	return here, there
}

// program finds a program of a Debian package, or skips the test.
func program(t *testing.T, name, pkg string, folders ...string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, f := range append(folders, "/usr/sbin") {
		path := f + "/" + name
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			return path
		}
	}
	t.Skipf("%s is not installed: apt-get install %s", name, pkg)
	return ""
}

// answers waits until something accepts connections at an address.
func answers(t *testing.T, network, address string) {
	t.Helper()
	eventually(t, func() bool {
		c, err := net.DialTimeout(network, address, time.Second)
		if err != nil {
			return false
		}
		return assert.NoError(t, c.Close())
	}, "nobody accepts at %s", address)
}
