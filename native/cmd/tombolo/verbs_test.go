package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/core/message"
	"github.com/tombolo-net/tombolo/native/command/commandtest"
	"github.com/tombolo-net/tombolo/native/control"
	"github.com/tombolo-net/tombolo/native/tunnels"
)

// fields returns the names of the fields of a JSON object, in their order.
func fields(t *testing.T, object string) (names []string) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(object))
	_, err := d.Token()
	require.NoError(t, err)
	for d.More() {
		name, err := d.Token()
		require.NoError(t, err)
		names = append(names, name.(string))
		require.NoError(t, d.Decode(new(json.RawMessage)))
	}
	return names
}

// first returns the first element of a JSON list.
func first(t *testing.T, list string) string {
	t.Helper()
	return string(parse[[]json.RawMessage](t, list)[0])
}

func TestPeersAreListedConnectedAndLeft(t *testing.T) {
	t.Parallel()
	a, b := up(t, t.TempDir()), up(t, t.TempDir())
	assert.Equal(t, "PEER  TRANSPORT  RTT  AGE  AGENT\n", a.does("peers"))
	assert.Equal(t, "[]\n", a.does("peers", "--json"), "a list, not null")
	said := a.does("connect", b.addr)
	assert.True(t, strings.HasPrefix(said, "connected "+b.id+" via tcp /ip4/127.0.0.1/tcp/"), said)
	assert.Equal(t, b.id, tells[control.Peer](a, "connect", b.id).ID.String(), "again is not an error")

	require.Eventually(t, func() bool { return tells[[]control.Peer](a, "peers")[0].RTT > 0 }, ending, ending/100)
	listed := first(t, a.does("peers", "-o", "json"))
	assert.Equal(t, []string{"id", "agent", "addr", "addrs", "transport", "direction", "rttMs", "since", "connections"}, fields(t, listed))
	p := parse[control.Peer](t, listed)
	assert.Equal(t, b.id, p.ID.String())
	assert.Equal(t, "outbound", p.Direction)
	assert.Contains(t, b.addr, p.Addr)
	assert.Regexp(t, `(?m)^PEER +TRANSPORT +RTT +AGE +AGENT\n`+b.id+` +tcp +\S+ +\S+ +tombolo/`, a.does("peers"))
	assert.Regexp(t, `AGENT +DIRECTION +RELAY +ADDRESS\n.* outbound +- +/ip4/127`, a.does("peers", "-o", "wide"))

	lines := strings.Split(strings.TrimSpace(a.does("ping", "-c", "2", b.id)), "\n")
	require.Len(t, lines, 2)
	assert.Regexp(t, "^"+b.id+` rtt [0-9.]+(µs|ms)$`, lines[0])
	assert.Equal(t, []string{"peer", "rttMs"}, fields(t, a.does("ping", "-c", "1", "--json", b.id)))
	result := a.does("bench", "--size", "1MiB", "--rounds", "2", b.id, "--json")
	assert.Equal(t, []string{"peer", "transport", "relayed", "rttP50Ms", "rttP99Ms", "bytes", "mibPerSecond"}, fields(t, result))
	assert.Equal(t, int64(2<<20), parse[benchResult](t, result).Bytes)
	assert.Contains(t, a.does("bench", "--size", "100K", "--rounds", "1", b.id), b.id+" via tcp: rtt p50 ")

	assert.Equal(t, "closed 1 connections\n", a.does("disconnect", b.id))
	assert.Equal(t, "{\n  \"closed\": 0\n}\n", a.does("disconnect", b.id, "--json"))
	assert.Equal(t, "[]\n", a.does("peers", "--json"))
}

func TestTunnelsAreListedAndClosed(t *testing.T) {
	a, b := two(t)
	assert.Equal(t, "{\n  \"listeners\": [],\n  \"forwards\": []\n}\n", a.does("ls", "--json"))
	folder := t.TempDir()
	assert.Equal(t, "/x/ssh forwards to /ip4/127.0.0.1/tcp/22\n", a.does("listen", "/x/ssh", "127.0.0.1:22"))
	made := a.does("listen", "/x/site", "file:"+folder, "--json", "--announce", "my site", "--allow", b.id, "--max-streams", "3", "--rate", "10MiB")
	assert.Equal(t, []string{"id", "protocol", "listen", "target", "announce", "access", "limits", "live", "total", "refused"}, fields(t, made))
	l := parse[tunnels.Listener](t, made)
	assert.Equal(t, "file:"+folder, l.Target)
	assert.Equal(t, bridge.Limits{Streams: 3, Rate: 10 << 20}, l.Limits)
	socket := filepath.Join(t.TempDir(), "s")
	assert.Equal(t, "/unix"+socket+" forwards to /x/echo at /p2p/"+b.id+"\n", a.does("forward", "/x/echo", "unix:"+socket, b.id))
	made = a.does("forward", "/x/web", "127.0.0.1:0", b.id, "--json", "--ephemeral")
	assert.Equal(t, []string{"id", "protocol", "listen", "target", "peer", "live", "total", "failed", "ephemeral"}, fields(t, made))

	assert.Regexp(t, `^PROTOCOL +LISTEN +TARGET +STREAMS +STATE\n/x/site +/p2p/`+a.id+` +file:`+folder+` +0 +ready\n`, a.does("ls"))
	wide := a.does("ls", "-v")
	assert.Equal(t, wide, a.does("ls", "-o", "wide"))
	assert.Regexp(t, `STREAMS +KEPT +ACCESS +STATE\n/x/site .* yes +allow `+b.id+` +ready\n`, wide)
	assert.Regexp(t, `/x/web +/ip4/127.0.0.1/tcp/[0-9]+ +/p2p/`+b.id+` +0 +no +- +ready`, wide)

	assert.Equal(t, "/x/site: deny "+b.id+"\n", a.does("access", "/x/site", "--anyone", "--deny", b.id))
	a.does("access", "/x/site", "--remove", b.id, "--max-streams", "0")
	l = tells[tunnels.Listener](a, "access", "/x/site", "--allow", b.id)
	assert.Equal(t, []string{b.id}, []string{l.Access.Allow[0].String()})
	assert.Empty(t, l.Access.Deny)
	assert.Equal(t, bridge.Limits{Rate: 10 << 20}, l.Limits)
	a.fails(1, "use --anyone", "access", "/x/site", "--remove", b.id)
	assert.Equal(t, "/x/site: any peer\n", a.does("access", "/x/site", "--anyone"))

	a.fails(1, "close: no tunnel matches -p /x/ssh -l unix:"+socket+"; tombolo ls lists them", "close", "-p", "/x/ssh", "-l", "unix:"+socket)
	here, err := os.Getwd()
	require.NoError(t, err)
	relative, err := filepath.Rel(here, socket)
	require.NoError(t, err)
	assert.Equal(t, "closed 1\n", a.does("close", "-l", "unix:"+relative))
	assert.NoFileExists(t, socket)
	assert.Equal(t, "closed 1\n", a.does("close", "-t", "127.0.0.1:22"))
	a.does("listen", "--ephemeral", "/x/here", "file:.")
	assert.Equal(t, "closed 1\n", a.does("close", "-t", "file:."))
	assert.Equal(t, control.Closed{Closed: 2}, tells[control.Closed](a, "close", "-a"))
	assert.Equal(t, "closed 0\n", a.does("close", "-a"))
	assert.Empty(t, tells[tunnels.List](a, "ls").Listeners)
}

func TestServicesThatAreAnnouncedAreFound(t *testing.T) {
	a, b := two(t)
	b.does("listen", "/x/ssh", "127.0.0.1:22", "--announce", "a shell")
	b.does("listen", "/x/secret", "127.0.0.1:22")
	b.does("listen", "/x/others", "127.0.0.1:22", "--announce", "not for you", "--allow", nobody)
	for _, args := range [][]string{{"services"}, {"services", b.id}} {
		assert.Regexp(t, `^PEER +PROTOCOL +DESCRIPTION\n`+b.id+` +/x/ssh +a shell\n$`, a.does(args...))
		assert.Equal(t, []string{"peer", "protocol", "description"}, fields(t, first(t, a.does(append(args, "--json")...))))
	}
	assert.Equal(t, "[]\n", b.does("services", "--json"))
	a.fails(1, nobody, "services", nobody)
}

func TestStreamsAreListedWatchedAndClosed(t *testing.T) {
	t.Parallel()
	a, b := two(t)
	b.does("listen", "/x/echo", service(t, echo))
	f := tells[tunnels.Forward](a, "forward", "/x/echo", "127.0.0.1:0", b.id)
	assert.Equal(t, "[]\n", a.does("streams", "--json"))
	watch := commandtest.Start(t, []string{"TOMBOLO_DATA_DIR=" + a.dir}, binary, "streams", "watch")

	var conn net.Conn
	require.Eventually(t, func() bool { // until the watch has begun
		exchange(t, hostPort(t, f.Listen), "x")
		return len(watch.Lines()) > 0
	}, ending*4, ending/100)
	change := parse[bridge.Change](t, watch.Line(""))
	require.NotNil(t, change.Stream)
	assert.Contains(t, []bridge.Action{bridge.Added, bridge.Removed}, change.Action)

	conn, err := net.Dial("tcp", hostPort(t, f.Listen))
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte("hello"))
	require.NoError(t, err)
	_, err = bufio.NewReader(conn).Peek(5)
	require.NoError(t, err)
	streams := tells[[]bridge.StreamInfo](a, "streams")
	require.Len(t, streams, 1)
	assert.Equal(t, int64(5), streams[0].Sent)
	assert.Equal(t, []string{"id", "protocol", "peer", "inbound", "origin", "target", "transport", "sent", "received", "opened", "lastActive"},
		fields(t, first(t, a.does("streams", "ls", "--json"))))
	assert.Regexp(t, `^ID +PROTOCOL +ORIGIN +TARGET +TRANSPORT +SENT +RECEIVED +AGE\n[0-9]+ +/x/echo +/ip4/127.0.0.1/tcp/[0-9]+ +/p2p/`+b.id+` +tcp +5 B +5 B +\S+\n$`, a.does("streams"))
	assert.Regexp(t, `AGE +LAST ACTIVE +RELAY +ENDED +WHY\n`, a.does("streams", "-o", "wide"))

	id := a.does("streams", "ls")
	id = strings.Fields(strings.Split(id, "\n")[1])[0]
	a.fails(1, "close stream 999: no live stream has that id", "streams", "close", "999")
	a.fails(1, "no stream is given", "streams", "close")
	a.fails(1, "not both", "streams", "close", "-a", id)
	assert.Equal(t, "closed 1\n", a.does("streams", "close", id))
	_, err = conn.Read(make([]byte, 6))
	for err == nil {
		_, err = conn.Read(make([]byte, 6))
	}
	require.Error(t, err, "it was reset")
	require.Eventually(t, func() bool {
		ended := tells[[]bridge.StreamInfo](a, "streams", "--ended")
		return ended[len(ended)-1].Reason == bridge.ClosedByHand
	}, ending, ending/100)
	assert.Contains(t, a.does("streams", "--ended"), "closed by hand")
	assert.Equal(t, "closed 0\n", a.does("streams", "close", "-a"))
	watch.Signal(syscall.SIGTERM)
	code, _ := watch.Wait()
	assert.Equal(t, 0, code)
}

func TestMessagesAreSentAskedToldAndHeard(t *testing.T) {
	t.Parallel()
	a, b := two(t)
	// subscribe broadcasts until the command prints a message: that it has subscribed is
	// reported on standard error, which nobody reads yet.
	subscribe := func(args ...string) *commandtest.Process {
		p := commandtest.Start(t, []string{"TOMBOLO_DATA_DIR=" + b.dir}, binary, append([]string{"subscribe", "chat"}, args...)...)
		require.Eventually(t, func() bool {
			a.does("broadcast", "--wait", "chat", "to all")
			return len(p.Lines()) > 0
		}, 4*ending, ending/100)
		return p
	}
	sub := subscribe()
	asJSON := subscribe("--json", "-c", "1")
	m := parse[control.Message](t, asJSON.Lines()[0])
	assert.Equal(t, []string{"from", "type", "id", "data", "broadcast"}, fields(t, asJSON.Lines()[0]))
	assert.Equal(t, "to all", string(m.Data))
	assert.Equal(t, a.id, m.From.String())
	code, stderr := asJSON.Wait()
	assert.Equal(t, 0, code, "it ends after one message")
	assert.Equal(t, "subscribed to chat\n", stderr)

	assert.Equal(t, "to all", sub.Line(a.id+" chat "))
	a.does("send", b.id, "chat", "to one")
	sub.Line(a.id + " chat to one")
	r := a.runs("\x1b[2Jfrom a pipe\n", "send", b.id, "chat")
	require.Equal(t, 0, r.code, r.stderr)
	assert.Equal(t, `from a pipe\n"`, sub.Line(a.id+` chat "\x1b[2J`), "a terminal is not at a peer's mercy")
	assert.Equal(t, 0, sub.Stop())

	n := newNode(t)
	_, err := n.Connect(testContext(t), a.addr)
	require.NoError(t, err)
	remove, err := n.Respond("stat", func(_ context.Context, m *message.Message) ([]byte, error) {
		return append([]byte("you said "), m.Data...), nil
	})
	require.NoError(t, err)
	defer remove()
	assert.Equal(t, "you said hello", a.does("request", n.ID().String(), "stat", "hello"))
	assert.Equal(t, "you said \x00\xff", a.runs("\x00\xff", "request", n.ID().String(), "stat", "-").stdout, "byte for byte")
	assert.Equal(t, "you said hello", string(tells[control.Reply](a, "request", n.ID().String(), "stat", "hello").Data))
	a.fails(1, "stat", "request", b.id, "stat", "hello")
	a.fails(1, "no peer", "broadcast", "lonely", "x")
	a.fails(1, "within 200ms; more time is given with --timeout", "broadcast", "lonely", "x", "--wait", "--timeout", "200ms")
}

func TestTwoPeersMeetByACode(t *testing.T) {
	t.Parallel()
	a, b := two(t)
	a.does("listen", "/x/another/http", "127.0.0.1:80", "--announce", "not for you", "--allow", nobody)
	a.does("listen", "/x/charts/http", "127.0.0.1:80", "--announce", "charts")
	show := commandtest.Start(t, []string{"TOMBOLO_DATA_DIR=" + a.dir}, binary, "pair")
	code, _, _ := strings.Cut(show.Line("code "), " ")
	r := b.runs(strings.ToLower(strings.ReplaceAll(code, "-", " "))+"\n", "pair", "-", "--json")
	require.Equal(t, 0, r.code, r.stderr)
	assert.Equal(t, []string{"peer", "protocol"}, fields(t, r.stdout))
	met := parse[control.Paired](t, r.stdout)
	assert.Equal(t, a.id, met.Peer.String())
	assert.Equal(t, "/x/charts/http", string(met.Protocol))
	assert.Equal(t, b.id, show.Line("paired with "))
	ended, stderr := show.Wait()
	assert.Equal(t, 0, ended, stderr)

	asJSON := commandtest.Start(t, []string{"TOMBOLO_DATA_DIR=" + b.dir}, binary, "pair", "--json")
	first := asJSON.Line("")
	assert.Equal(t, []string{"code", "expires"}, fields(t, first))
	a.does("pair", parse[control.Pairing](t, first).Code)
	assert.Equal(t, []string{"peer"}, fields(t, asJSON.LineAfter(1, "")))
}

func TestASubscriptionEndsWithTheDaemon(t *testing.T) {
	a := up(t, t.TempDir())
	cmd := exec.Command(binary, "subscribe", "chat")
	cmd.Env = []string{"TOMBOLO_DATA_DIR=" + a.dir, "HOME=" + t.TempDir()}
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(stderr)
	require.True(t, lines.Scan())
	assert.Equal(t, "subscribed to chat", lines.Text())
	a.Stop()
	require.True(t, lines.Scan())
	assert.Equal(t, "tombolo: subscribe: the daemon ended", lines.Text())
	require.Error(t, cmd.Wait())
	assert.Equal(t, 1, cmd.ProcessState.ExitCode())
}

// daemonVerbs are the commands that need a daemon.
var daemonVerbs = [][]string{
	{"peers"}, {"connect", nobody}, {"disconnect", nobody}, {"ping", nobody}, {"bench", nobody}, {"listen", "/x/a", "127.0.0.1:22"},
	{"listen", "-f", "/x/a", "127.0.0.1:22"}, {"forward", "/x/a", "127.0.0.1:0", nobody}, {"forward", "-f", "/x/a", "127.0.0.1:0", nobody},
	{"forward", "/x/a", "-", nobody}, {"ls"}, {"close", "-a"}, {"access", "/x/a"}, {"streams"}, {"streams", "close", "-a"}, {"streams", "watch"},
	{"services"}, {"send", nobody, "a", "b"}, {"request", nobody, "a", "b"}, {"broadcast", "a", "b"}, {"subscribe", "a"}, {"pair"}, {"pair", "7K3-MPX-2Q9"},
	{"room"}, {"room", "ls"}, {"room", "host", "--demo", "a"}, {"room", "join", "a"}, {"room", "save", "a"}, {"room", "standby", "a"}, {"room", "top"}, {"room", "handover", "a"}, {"room", "board", "a", "b"}, {"room", "bots", "a", "1"},
}

func TestWithoutADaemonEveryCommandSaysHowToStartOne(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, args := range daemonVerbs {
		failsWith(t, 1, []string{"no daemon is running for " + dir + ": start one with tombolo up --data-dir " + dir}, append(args, "--data-dir", dir)...)
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, entries, "nothing was made")
}

func TestEveryCommandComplainsInOneLine(t *testing.T) {
	t.Parallel()
	a := up(t, t.TempDir())
	for _, x := range []struct {
		want string
		args []string
	}{
		{"neither a peer ID", []string{"connect", "bob"}},
		{"does not end in /p2p/<id>", []string{"connect", "/ip4/127.0.0.1/tcp/1"}},
		{"connection refused", []string{"connect", "/ip4/127.0.0.1/tcp/1/p2p/" + nobody}},
		{"this node itself", []string{"connect", a.id}},
		{"neither a peer ID", []string{"disconnect", "bob"}},
		{nobody, []string{"ping", nobody}},
		{nobody, []string{"bench", nobody}},
		{"namespace", []string{"listen", "/ssh", "127.0.0.1:22"}},
		{"port 0", []string{"listen", "/x/a", "127.0.0.1:0"}},
		{"no such file", []string{"listen", "/x/a", "file:missing"}},
		{"neither host:port", []string{"listen", "/x/a", "22"}},
		{"carries no streams", []string{"listen", "/x/a", "/ip4/127.0.0.1/udp/22"}},
		{"does not end in /p2p/<id>", []string{"forward", "/x/a", "127.0.0.1:0", "/ip4/127.0.0.1/tcp/1"}},
		{"this node itself", []string{"forward", "/x/a", "127.0.0.1:0", a.id}},
		{"address already in use", []string{"forward", "/x/a", strings.TrimPrefix(hostPort(t, strings.Split(a.addr, "/p2p/")[0]), ""), nobody}},
		{"no matching options given", []string{"close"}},
		{"can't combine --all with other matching options", []string{"close", "-a", "-p", "/x/a"}},
		{"there is no listener of that protocol", []string{"access", "/x/none", "--anyone"}},
		{nobody, []string{"send", nobody, "a", "b"}},
		{nobody, []string{"request", nobody, "a", "b"}},
		{"subscribe", []string{"subscribe", ""}},
		{`"7K3" is not a code`, []string{"pair", "7K3"}},
		{`"" is not a code`, []string{"pair", "-"}},
	} {
		a.fails(1, x.want, x.args...)
	}
	a.does("listen", "/x/a", "127.0.0.1:22")
	a.fails(1, "listener already registered", "listen", "/x/a", "127.0.0.1:23")
	assert.Empty(t, tells[tunnels.List](a, "ls").Forwards, "the registry is not poisoned")
}

func TestACommandLineThatIsWrongIsUsage(t *testing.T) {
	for _, args := range [][]string{
		{"peers", "-o", "yaml"}, {"peers", "more"}, {"connect"}, {"ping", "-c", "-1", nobody}, {"ping", "-c", "x", nobody}, {"bench", "--rounds", "0", nobody},
		{"bench", "--size", "much", nobody}, {"listen", "/x/a"}, {"listen", "/x/a", "t", "--allow", "bob"}, {"listen", "/x/a", "t", "--rate", "fast"},
		{"forward", "/x/a", "127.0.0.1:0"}, {"access"}, {"streams", "close", "x"}, {"send", nobody}, {"completion", "tcsh"}, {"ls", "--timeout", "soon"},
	} {
		failsWith(t, 2, []string{"--help"}, append(args, "--data-dir", t.TempDir())...)
	}
}

func TestAMessageMayHaveOneMiBAndMoreIsNotRead(t *testing.T) {
	a, b := two(t)
	n := newNode(t)
	_, err := n.Connect(testContext(t), a.addr)
	require.NoError(t, err)
	remove, err := n.Respond("size", func(_ context.Context, m *message.Message) ([]byte, error) { return m.Data, nil })
	require.NoError(t, err)
	defer remove()
	most := strings.Repeat("\xff", 1<<20)
	r := a.runs(most, "request", n.ID().String(), "size")
	require.Equal(t, 0, r.code, r.stderr)
	assert.Equal(t, most, r.stdout, "there and back")
	assert.Equal(t, 0, a.runs(most, "send", b.id, "chat").code)
	for _, args := range [][]string{{"send", b.id, "chat"}, {"request", b.id, "stat"}, {"broadcast", "chat"}, {"send", b.id, "chat", "-"}} {
		cmd := exec.Command(binary, args...)
		cmd.Env = []string{"TOMBOLO_DATA_DIR=" + a.dir, "HOME=" + t.TempDir()}
		stdin, err := cmd.StdinPipe()
		require.NoError(t, err)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		require.NoError(t, cmd.Start())
		_, err = io.WriteString(stdin, most+"x") // and standard input stays open
		require.NoError(t, err)
		require.Error(t, cmd.Wait())
		assert.Equal(t, 1, cmd.ProcessState.ExitCode())
		assert.Regexp(t, "^tombolo: "+args[0]+": standard input is too large: .*1 MiB.*\n$", stderr.String())
	}
}
