package tunnels

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/native"
	"github.com/tombolo-net/tombolo/native/local"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// away is the ID of a peer that does not exist.
const away = "12D3KooWCY9aRhhZwCiQiwD6JnvgYHM5KSnNRdsKVosTEWfUhEeY"

var quiet = slog.New(slog.DiscardHandler)

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func newNode(t *testing.T) *core.Node {
	t.Helper()
	n, err := native.New(testContext(t), native.Options{Listen: []ma.Multiaddr{ma.StringCast("/ip4/127.0.0.1/tcp/0")}, NoMDNS: true, NoPortMapping: true})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, n.Close()) })
	return n
}

// on opens the tunnels of a directory on a node. The test may close them earlier.
func on(t *testing.T, n *core.Node, dir string) *Tunnels {
	t.Helper()
	tunnels, err := Open(testContext(t), n, dir, quiet)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, tunnels.Close()) })
	return tunnels
}

// end closes tunnels and their node, as a daemon does when it ends.
func end(t *testing.T, tunnels *Tunnels) {
	t.Helper()
	require.NoError(t, tunnels.Close())
	require.NoError(t, tunnels.node.Close())
}

func mustListen(t *testing.T, tunnels *Tunnels, spec ListenSpec) Listener {
	t.Helper()
	info, _, err := tunnels.Listen(testContext(t), spec)
	require.NoError(t, err)
	return info
}

func mustForward(t *testing.T, tunnels *Tunnels, spec ForwardSpec) Forward {
	t.Helper()
	info, _, err := tunnels.Forward(testContext(t), spec)
	require.NoError(t, err)
	return info
}

func content(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, FileName))
	require.NoError(t, err)
	return string(b)
}

func TestWhatIsNotEphemeralIsThereAfterARestart(t *testing.T) {
	dir := t.TempDir()
	before := on(t, newNode(t), dir)
	id, err := peer.Decode(away)
	require.NoError(t, err)
	config := bridge.ListenConfig{ReportPeer: true, Announce: "a shell", Access: bridge.Access{Allow: []peer.ID{id}}, Limits: bridge.Limits{Streams: 3, StreamsPerPeer: 2, Rate: 1000}}
	mustListen(t, before, ListenSpec{Protocol: "/x/ssh", Target: "127.0.0.1:22", ListenConfig: config})
	mustListen(t, before, ListenSpec{Protocol: "/custom", Target: "127.0.0.1:23", ListenConfig: bridge.ListenConfig{CustomProtocol: true}})
	mustListen(t, before, ListenSpec{Protocol: "/x/site", Target: "file:" + t.TempDir()})
	mustListen(t, before, ListenSpec{Protocol: "/x/short", Target: "127.0.0.1:24", Ephemeral: true})
	tcp := mustForward(t, before, ForwardSpec{Protocol: "/x/web", Listen: "127.0.0.1:0", Peer: away})
	mustForward(t, before, ForwardSpec{Protocol: "/custom", Listen: "unix:" + filepath.Join(dir, "s"), Peer: "/ip4/127.0.0.1/tcp/9/p2p/" + away, CustomProtocol: true})
	mustForward(t, before, ForwardSpec{Protocol: "/x/short", Listen: "127.0.0.1:0", Peer: away, Ephemeral: true})
	assert.NotContains(t, tcp.Listen, "/tcp/0", "the port that the system picked")
	end(t, before)

	after := on(t, newNode(t), dir).List()
	var names []string
	for _, l := range after.Listeners {
		names = append(names, string(l.Protocol))
		assert.Empty(t, l.Waiting)
	}
	require.Equal(t, []string{"/custom", "/x/site", "/x/ssh"}, names)
	assert.Equal(t, config, after.Listeners[2].ListenConfig)
	require.Len(t, after.Forwards, 2)
	assert.Equal(t, tcp.Listen, after.Forwards[0].Listen, "its port is the same")
	assert.Equal(t, "/p2p/"+away, after.Forwards[1].Target)
	assert.Empty(t, after.Forwards[0].Waiting+after.Forwards[1].Waiting)
}

func TestTheFileIsItsOwnersAndReplacedAsAWhole(t *testing.T) {
	dir := t.TempDir()
	tunnels := on(t, newNode(t), dir)
	assert.NoFileExists(t, filepath.Join(dir, FileName), "nothing is kept yet")
	mustListen(t, tunnels, ListenSpec{Protocol: "/x/short", Target: "127.0.0.1:22", Ephemeral: true})
	assert.NoFileExists(t, filepath.Join(dir, FileName), "an ephemeral tunnel is not written to it")
	mustListen(t, tunnels, ListenSpec{Protocol: "/x/a", Target: "127.0.0.1:22"})
	old, err := os.Open(filepath.Join(dir, FileName))
	require.NoError(t, err)
	defer old.Close()
	mustListen(t, tunnels, ListenSpec{Protocol: "/x/b", Target: "127.0.0.1:22"})
	info, err := os.Stat(filepath.Join(dir, FileName))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode())
	b, err := io.ReadAll(old)
	require.NoError(t, err)
	assert.NotContains(t, string(b), "/x/b", "a reader of the old file reads it whole")
	assert.Contains(t, content(t, dir), "/x/b")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, entries, 1, "nothing lies about")
}

func TestAFileThatWasCutIsRefusedAndLeft(t *testing.T) {
	dir := t.TempDir()
	n := newNode(t)
	tunnels := on(t, n, dir)
	mustListen(t, tunnels, ListenSpec{Protocol: "/x/ssh", Target: "127.0.0.1:22"})
	mustForward(t, tunnels, ForwardSpec{Protocol: "/x/web", Listen: "127.0.0.1:0", Peer: away})
	whole := content(t, dir)
	require.NoError(t, tunnels.Close())
	for i := range len(strings.TrimSpace(whole)) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, FileName), []byte(whole[:i]), 0o600))
		refused(t, n, dir, filepath.Join(dir, FileName), "restore it from a backup, or move it away")
	}
}

// refused checks that a directory whose file is damaged is not opened.
func refused(t *testing.T, n *core.Node, dir string, wants ...string) {
	t.Helper()
	before := content(t, dir)
	_, err := Open(testContext(t), n, dir, quiet)
	var damaged *DamagedError
	require.ErrorAs(t, err, &damaged)
	assert.Equal(t, filepath.Join(dir, FileName), damaged.Path)
	assert.NotContains(t, err.Error(), "\n")
	for _, want := range wants {
		require.ErrorContains(t, err, want)
	}
	require.Equal(t, before, content(t, dir), "it is left as it is")
}

func TestAFileOfAnotherFormIsRefusedByName(t *testing.T) {
	dir := t.TempDir()
	n := newNode(t)
	for content, want := range map[string]string{
		`{"version":2,"listeners":[],"forwards":[],"more":[]}`: "it is of version 2, and this tombolo reads version 1",
		`{"listeners":[]}`:                 "it is of version 0",
		`{"version":"1"}`:                  "Version of type int",
		`{"version":1,"listners":[]}`:      `unknown field "listners"`,
		`{"version":1,"listeners":{}}`:     "listeners",
		`{"version":1} {"version":1}`:      "after top-level value",
		`[]`:                               "cannot unmarshal",
		"\x00\x00\x00\x00\x00\x00\x00\x00": "invalid character",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, FileName), []byte(content), 0o600))
		refused(t, n, dir, want)
	}
	unreadable := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(unreadable, FileName), 0o700))
	_, err := Open(testContext(t), n, unreadable, quiet)
	require.ErrorAs(t, err, new(*DamagedError), "a folder in its place")
}

func TestAnEntryThatAPersonGotWrongWaitsWithItsReasonAndStays(t *testing.T) {
	n := newNode(t)
	folder := t.TempDir()
	listeners := map[string]string{
		`{"protocol":"","target":"127.0.0.1:22"}`:                                         "it is empty",
		`{"protocol":"/ssh","target":"127.0.0.1:22"}`:                                     "/x/ namespace",
		`{"protocol":"/x/","target":"127.0.0.1:22"}`:                                      "/x/ namespace",
		`{"protocol":"/x/a b","target":"127.0.0.1:22"}`:                                   "a space",
		`{"protocol":"/x/1","target":""}`:                                                 "empty",
		`{"protocol":"/x/2","target":"nonsense"}`:                                         "neither host:port",
		`{"protocol":"/x/3","target":"127.0.0.1:0"}`:                                      "port 0",
		`{"protocol":"/x/4","target":"127.0.0.1:123456"}`:                                 "not a multiaddr",
		`{"protocol":"/x/5","target":"/ip4/127.0.0.1/udp/22"}`:                            "carries no streams",
		`{"protocol":"/x/6","target":"file:/no/such/folder"}`:                             "no such file",
		`{"protocol":"/x/7","target":"unix:relative"}`:                                    "absolute",
		`{"protocol":"/x/8","target":"file:` + folder + `","reportPeerId":true}`:          "cannot be reported",
		`{"protocol":"/x/9","target":"127.0.0.1:22","announce":"two\nlines"}`:             "U+000A",
		`{"protocol":"/x/10","target":"127.0.0.1:22","limits":{"streams":-1}}`:            "negative",
		`{"protocol":"/x/11","target":"127.0.0.1:22","limits":{"rate":"fast"}}`:           "cannot unmarshal string",
		`{"protocol":"/x/12","target":"127.0.0.1:22","access":{"allow":["alice"]}}`:       FileName + " cannot be read",
		`{"protocol":"/x/13","target":"127.0.0.1:22","access":{"dney":["` + away + `"]}}`: `unknown field "dney"`,
		`{"protocol":"/x/14","target":22}`:                                                "cannot unmarshal number",
		`{"protocol":"/x/good","target":"127.0.0.1:23"}`:                                  "already registered", // for the second time
		`"nonsense"`: "cannot unmarshal string",
	}
	forwards := map[string]string{
		`{"protocol":"/y","listen":"127.0.0.1:0","peer":"` + away + `"}`:                      "/x/ namespace",
		`{"protocol":"/x/1","listen":"nonsense","peer":"` + away + `"}`:                       "neither host:port",
		`{"protocol":"/x/2","listen":"file:/tmp","peer":"` + away + `"}`:                      "a folder",
		`{"protocol":"/x/3","listen":"192.0.2.1:1","peer":"` + away + `"}`:                    "assign requested address",
		`{"protocol":"/x/4","listen":"unix:/no/such/folder/s","peer":"` + away + `"}`:         "no such file",
		`{"protocol":"/x/5","listen":"127.0.0.1:0","peer":""}`:                                "the peer is empty",
		`{"protocol":"/x/6","listen":"127.0.0.1:0","peer":"bob"}`:                             "neither a peer ID",
		`{"protocol":"/x/7","listen":"127.0.0.1:0","peer":"/ip4/127.0.0.1/tcp/1"}`:            "does not end in /p2p/<id>",
		`{"protocol":"/x/8","listen":"127.0.0.1:0","peer":"` + n.ID().String() + `"}`:         "this node itself",
		`{"protocol":"/x/9","listen":"127.0.0.1:0","peer":["` + away + `"]}`:                  "cannot unmarshal array",
		`{"protocol":"/x/10","listen":"127.0.0.1:0","peer":"` + away + `","ephemeral":"yes"}`: "cannot unmarshal string",
	}
	good := `{"protocol":"/x/good","target":"/ip4/127.0.0.1/tcp/22"}`
	file := fmt.Sprintf(`{"version":1,"listeners":[%s],"forwards":[%s]}`, join(good, listeners), join("", forwards))
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, FileName), []byte(file), 0o600))
	tunnels := on(t, n, dir)

	list := tunnels.List()
	require.Len(t, list.Listeners, len(listeners)+1)
	require.Len(t, list.Forwards, len(forwards))
	waiting := make(map[string]bool)
	for _, l := range list.Listeners {
		waiting[l.Waiting] = true
		assert.Equal(t, l.Waiting != "", l.ID == 0, "%s has an id when it is there", l.Protocol)
	}
	for _, f := range list.Forwards {
		waiting[f.Waiting] = true
	}
	for _, reasons := range []map[string]string{listeners, forwards} {
		for entry, reason := range reasons {
			assert.True(t, anyContains(waiting, reason), "%s waits for %q: %v", entry, reason, waiting)
		}
	}
	require.Len(t, n.Bridge().Listeners(), 1, "only the good one is there")
	require.Empty(t, n.Bridge().Forwards())

	// Another change writes the file, and the entries that wait are still in it.
	mustListen(t, tunnels, ListenSpec{Protocol: "/x/new", Target: "127.0.0.1:22"})
	kept := content(t, dir)
	for _, odd := range []string{`"alice"`, `"dney"`, `"fast"`, `"nonsense"`, `22`, `"yes"`, "-1", "/no/such/folder"} {
		assert.Contains(t, kept, odd)
	}
	_, err := tunnels.Update("/x/12", func(a *bridge.Access, _ *bridge.Limits) error { *a = bridge.Access{}; return nil })
	require.ErrorContains(t, err, "mend the file", "what is not understood is not changed")
	closed, err := tunnels.CloseMatching(Match{Protocol: "/x/12"})
	require.NoError(t, err)
	assert.Equal(t, 1, closed, "what waits can be closed")
	assert.NotContains(t, content(t, dir), `"alice"`)
}

func join(first string, m map[string]string) string {
	var all []string
	if first != "" {
		all = append(all, first)
	}
	for entry := range m {
		all = append(all, entry)
	}
	return strings.Join(all, ",")
}

func anyContains(set map[string]bool, want string) bool {
	for s := range set {
		if strings.Contains(s, want) {
			return true
		}
	}
	return false
}

func TestATunnelWhosePortOrFolderIsGoneWaitsAndComesBack(t *testing.T) {
	dir := t.TempDir()
	folder := filepath.Join(t.TempDir(), "site")
	require.NoError(t, os.Mkdir(folder, 0o700))
	before := on(t, newNode(t), dir)
	site := mustListen(t, before, ListenSpec{Protocol: "/x/site", Target: "file:" + folder})
	web := mustForward(t, before, ForwardSpec{Protocol: "/x/web", Listen: "127.0.0.1:0", Peer: away})
	end(t, before)

	port := ma.StringCast(web.Listen)
	_, number, _ := strings.Cut(port.String(), "/tcp/")
	taken, err := net.Listen("tcp4", "127.0.0.1:"+number)
	require.NoError(t, err)
	defer taken.Close()
	require.NoError(t, os.Remove(folder))
	after := on(t, newNode(t), dir)
	list := after.List()
	assert.Contains(t, list.Listeners[0].Waiting, "no such file")
	assert.Equal(t, site.Target, list.Listeners[0].Target)
	assert.Contains(t, list.Forwards[0].Waiting, "address already in use")
	assert.Equal(t, web.Listen, list.Forwards[0].Listen)
	assert.Equal(t, web.Peer, list.Forwards[0].Peer)
	assert.Zero(t, list.Forwards[0].ID)
	_, _, err = after.Listen(testContext(t), ListenSpec{Protocol: "/x/site", Target: "127.0.0.1:22"})
	require.ErrorIs(t, err, bridge.ErrRegistered, "its name is kept for it")

	require.NoError(t, taken.Close())
	require.NoError(t, os.Mkdir(folder, 0o700))
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		list := after.List()
		assert.Empty(c, list.Listeners[0].Waiting+list.Forwards[0].Waiting)
		assert.NotZero(c, list.Forwards[0].ID)
	}, 20*time.Second, 20*time.Millisecond)
	_, err = net.Listen("tcp4", "127.0.0.1:"+number)
	require.ErrorContains(t, err, "in use", "it listens again")
}

func TestWhatFailsIsNotKept(t *testing.T) {
	dir := t.TempDir()
	n := newNode(t)
	tunnels := on(t, n, dir)
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	mustListen(t, tunnels, ListenSpec{Protocol: "/x/ssh", Target: "127.0.0.1:22"})
	before := content(t, dir)
	for _, spec := range []ListenSpec{
		{Protocol: "/x/ssh", Target: "127.0.0.1:23"}, {Protocol: "/ssh", Target: "127.0.0.1:23"}, {Protocol: "/x/a", Target: "127.0.0.1:0"},
		{Protocol: "/x/a", Target: "file:" + filepath.Join(dir, "missing")},
	} {
		_, _, err := tunnels.Listen(testContext(t), spec)
		require.Error(t, err)
	}
	for spec, want := range map[ForwardSpec]string{
		{Protocol: "/x/a", Listen: taken.Addr().String(), Peer: away}:                  "address already in use",
		{Protocol: "/a", Listen: "127.0.0.1:0", Peer: away}:                            "/x/ namespace",
		{Protocol: "/x/a", Listen: "127.0.0.1:0", Peer: "/ip4/127.0.0.1/tcp/4001"}:     "does not end in /p2p/<id>",
		{Protocol: "/x/a", Listen: "unix:" + filepath.Join(dir, FileName), Peer: away}: "not a socket",
		{Protocol: "/x/a", Listen: "127.0.0.1:0", Peer: n.ID().String()}:               "this node itself",
	} {
		_, _, err := tunnels.Forward(testContext(t), spec)
		require.ErrorContains(t, err, want)
	}
	assert.Equal(t, before, content(t, dir))
	list := tunnels.List() // Kubo's next ls panicked, with the registry locked
	assert.Len(t, list.Listeners, 1)
	assert.Empty(t, list.Forwards)
	assert.Empty(t, n.Bridge().Forwards())
}

func TestAPermissionIsInTheFileBeforeItHolds(t *testing.T) {
	dir := t.TempDir()
	n := newNode(t)
	tunnels := on(t, n, dir)
	mustListen(t, tunnels, ListenSpec{Protocol: "/x/ssh", Target: "127.0.0.1:22"})
	id, err := peer.Decode(away)
	require.NoError(t, err)
	deny := func(a *bridge.Access, _ *bridge.Limits) error { a.Deny = append(a.Deny, id); return nil }

	ctx, stop := context.WithCancel(testContext(t))
	heard := make(chan string, 1)
	ready := make(chan struct{})
	go func() {
		defer close(heard)
		once := sync.OnceFunc(func() { close(ready) })
		for change := range n.Bridge().Watch(ctx) {
			once()
			if change.Action == bridge.Changed {
				b, _ := os.ReadFile(filepath.Join(dir, FileName))
				heard <- string(b)
				return
			}
		}
	}()
	require.Eventually(t, func() bool { // until the watch has begun
		info := mustListen(t, tunnels, ListenSpec{Protocol: "/x/noise", Target: "127.0.0.1:22", Ephemeral: true})
		_, err := tunnels.CloseMatching(Match{ID: info.ID})
		require.NoError(t, err)
		select {
		case <-ready:
			return true
		default:
			return false
		}
	}, 10*time.Second, time.Millisecond)
	info, err := tunnels.Update("/x/ssh", deny)
	require.NoError(t, err)
	assert.Equal(t, []peer.ID{id}, info.Access.Deny)
	assert.Contains(t, <-heard, away)
	stop()

	// A change that cannot be written does not hold either: a restart would undo it.
	require.NoError(t, os.RemoveAll(dir))
	_, err = tunnels.Update("/x/ssh", func(a *bridge.Access, _ *bridge.Limits) error { a.Deny = nil; return nil })
	require.ErrorContains(t, err, FileName)
	assert.Equal(t, []peer.ID{id}, n.Bridge().Listeners()[0].Access.Deny)
	assert.Equal(t, []peer.ID{id}, tunnels.List().Listeners[0].Access.Deny)
	_, err = tunnels.Update("/x/none", deny)
	require.ErrorIs(t, err, ErrNoListener)
}

func TestAnUpdateThatIsRefusedChangesNothing(t *testing.T) {
	dir := t.TempDir()
	file := `{"version": 1, "listeners": [{"protocol": "/x/site", "target": "/no/such/folder"}], "forwards": []}`
	require.NoError(t, os.WriteFile(filepath.Join(dir, FileName), []byte(file), 0o600))
	tunnels := on(t, newNode(t), dir)
	mustListen(t, tunnels, ListenSpec{Protocol: "/x/ssh", Target: "127.0.0.1:22"})
	require.NotEmpty(t, tunnels.List().Listeners[0].Waiting)
	before := content(t, dir)
	for _, l := range tunnels.List().Listeners {
		_, err := tunnels.Update(l.Protocol, func(_ *bridge.Access, m *bridge.Limits) error { m.Streams = -1; return nil })
		require.ErrorContains(t, err, "negative")
		assert.Equal(t, before, content(t, dir))
	}
	for _, l := range tunnels.List().Listeners {
		assert.Zero(t, l.Limits)
	}
}

func TestChangesFromManySidesAreAllKept(t *testing.T) {
	dir := t.TempDir()
	tunnels := on(t, newNode(t), dir)
	const each = 6
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range each {
				proto := protocol.ID(fmt.Sprintf("/x/%d/%d", i, j))
				_, _, err := tunnels.Listen(testContext(t), ListenSpec{Protocol: proto, Target: "127.0.0.1:22"})
				assert.NoError(t, err)
				_, _, err = tunnels.Forward(testContext(t), ForwardSpec{Protocol: proto, Listen: "127.0.0.1:0", Peer: away})
				assert.NoError(t, err)
				_, err = tunnels.Update(proto, func(_ *bridge.Access, m *bridge.Limits) error { m.Streams = j + 1; return nil })
				assert.NoError(t, err)
				if j%2 == 0 {
					closed, err := tunnels.CloseMatching(Match{Protocol: proto})
					assert.NoError(t, err)
					assert.Equal(t, 2, closed)
				}
				tunnels.List()
			}
		})
	}
	wg.Wait()
	list := tunnels.List()
	assert.Len(t, list.Listeners, 4*each/2)
	seen := make(map[uint64]bool)
	for _, l := range list.Listeners {
		seen[l.ID] = true
	}
	for _, f := range list.Forwards {
		seen[f.ID] = true
	}
	assert.Len(t, seen, 4*each, "each id is one entry's")
	end(t, tunnels)
	again := on(t, newNode(t), dir).List()
	require.Len(t, again.Listeners, 4*each/2)
	require.Len(t, again.Forwards, 4*each/2)
	for i, l := range again.Listeners {
		assert.Equal(t, list.Listeners[i].Protocol, l.Protocol)
		assert.Equal(t, list.Listeners[i].Limits, l.Limits)
	}
}

func TestAnIDIsNotUsedAgain(t *testing.T) {
	tunnels := on(t, newNode(t), t.TempDir())
	last := uint64(0)
	for range 3 {
		l := mustListen(t, tunnels, ListenSpec{Protocol: "/x/a", Target: "127.0.0.1:22"})
		f := mustForward(t, tunnels, ForwardSpec{Protocol: "/x/a", Listen: "127.0.0.1:0", Peer: away})
		assert.Greater(t, l.ID, last)
		assert.Greater(t, f.ID, l.ID)
		last = f.ID
		closed, err := tunnels.CloseMatching(Match{All: true})
		require.NoError(t, err)
		assert.Equal(t, 2, closed)
	}
}

func TestTheFileIsForAPersonToRead(t *testing.T) {
	dir := t.TempDir()
	mustListen(t, on(t, newNode(t), dir), ListenSpec{Protocol: "/x/ssh", Target: "127.0.0.1:22", ListenConfig: bridge.ListenConfig{Announce: "a shell"}})
	want := `{
  "version": 1,
  "listeners": [
    {
      "protocol": "/x/ssh",
      "target": "/ip4/127.0.0.1/tcp/22",
      "announce": "a shell"
    }
  ],
  "forwards": []
}
`
	assert.Equal(t, want, content(t, dir))
	assert.True(t, json.Valid([]byte(want)))
}

// slowNames is local.Listen with a name server that answers when the test says so.
type slowNames struct {
	asked  chan context.Context
	answer chan error
	made   chan bridge.Acceptor
}

func newSlowNames() *slowNames {
	return &slowNames{make(chan context.Context), make(chan error), make(chan bridge.Acceptor, 1)}
}

func (s *slowNames) listen(ctx context.Context, _ string) (bridge.Acceptor, error) {
	s.asked <- ctx
	select {
	case err := <-s.answer:
		if err != nil {
			return nil, err
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	from, err := local.Listen(ctx, "127.0.0.1:0")
	s.made <- from
	return from, err
}

// soon fails the test if f does not return.
func soon(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		require.FailNow(t, "it still waits")
	}
}

func TestAccessIsRevokedWhileANameIsLookedUp(t *testing.T) {
	names := newSlowNames()
	tunnels, err := open(testContext(t), newNode(t), t.TempDir(), quiet, ResolvePeer, names.listen)
	require.NoError(t, err)
	defer tunnels.Close()
	mustListen(t, tunnels, ListenSpec{Protocol: "/x/ssh", Target: "127.0.0.1:22"})
	made := make(chan error, 1)
	go func() {
		_, _, err := tunnels.Forward(context.Background(), ForwardSpec{Protocol: "/x/a", Listen: "slow.example:1", Peer: away})
		made <- err
	}()
	_, limited := (<-names.asked).Deadline()
	assert.True(t, limited)
	soon(t, func() {
		_, err := tunnels.Update("/x/ssh", func(a *bridge.Access, _ *bridge.Limits) error {
			id, err := peer.Decode(away)
			a.Deny = append(a.Deny, id)
			return err
		})
		assert.NoError(t, err)
	})
	names.answer <- nil
	require.NoError(t, <-made)
	assert.Len(t, tunnels.List().Forwards, 1)
}

func TestAForwardThatIsClosedWhileItsNameIsLookedUpDoesNotListen(t *testing.T) {
	dir := t.TempDir()
	entry := `{"version":1,"listeners":[],"forwards":[{"protocol":"/x/a","listen":"slow.example:1","peer":"` + away + `"}]}`
	require.NoError(t, os.WriteFile(filepath.Join(dir, FileName), []byte(entry), 0o600))
	names := newSlowNames()
	go func() { <-names.asked; names.answer <- fmt.Errorf("no such host") }()
	tunnels, err := open(testContext(t), newNode(t), dir, quiet, ResolvePeer, names.listen)
	require.NoError(t, err)
	<-names.asked // again
	soon(t, func() {
		closed, err := tunnels.CloseMatching(Match{Protocol: "/x/a"})
		assert.NoError(t, err)
		assert.Equal(t, 1, closed)
	})
	names.answer <- nil
	from := <-names.made
	soon(t, func() {
		_, err := from.Accept()
		assert.ErrorIs(t, err, net.ErrClosed)
	})
	require.NoError(t, tunnels.Close())
}
