package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/native/socket/sockettest"
	"github.com/tombolo-net/tombolo/relay"
)

// examined returns what doctor finds, by check and result, and its exit code. A finding
// that is not fine must come with advice.
func examined(t *testing.T, p *peerProcess) (found map[string]finding, code int) {
	t.Helper()
	r := p.runs("", "doctor", "--json")
	found = make(map[string]finding)
	for _, f := range parse[[]finding](t, r.stdout) {
		found[f.Check+" "+f.Result] = f
		assert.Equal(t, f.Result != fine, f.Advice != "", "%+v", f)
	}
	failures := strings.Count(r.stdout, `"failed"`)
	assert.Equal(t, failures > 0, r.code == 1, r.stdout)
	assert.Equal(t, failures > 0, strings.HasPrefix(r.stderr, "tombolo: doctor: "), r.stderr)
	return found, r.code
}

func TestDoctorWithoutADaemonSaysHowToStartOne(t *testing.T) {
	dir := t.TempDir()
	r := shell(t, nil, "", "doctor", "--data-dir", dir)
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.stdout, "warning  identity     there is none yet in "+dir)
	assert.Contains(t, r.stdout, "-> tombolo up creates one")
	assert.Contains(t, r.stdout, "failed   daemon       no daemon is running for "+dir)
	assert.Contains(t, r.stdout, "-> start one with tombolo up --data-dir "+dir)
	assert.Equal(t, "tombolo: doctor: 1 of 2 checks failed\n", r.stderr)

	require.NoError(t, os.WriteFile(filepath.Join(dir, "identity.key"), []byte("no key"), 0o600))
	r = shell(t, nil, "", "doctor", "--data-dir", dir)
	assert.Contains(t, r.stdout, "failed   identity")
	assert.Contains(t, r.stdout, "restore the key")
}

func TestDoctorOfAPeerThatIsWellFindsNothing(t *testing.T) {
	r := newRelay(t, relay.Options{})
	p := up(t, t.TempDir(), "--relay", r.PageURL())
	p.Line("reserved on ")
	p.does("listen", "/x/ssh", "127.0.0.1:22")
	found, code := examined(t, p)
	assert.Equal(t, 0, code)
	for _, check := range []string{"identity", "daemon", "port", "relay", "clock", "reservation", "nat", "peers", "tunnels"} {
		assert.Contains(t, found, check+" ok")
	}
	assert.Regexp(t, `^there is none: 127\.0\.0\.1:\d+ sees 127\.0\.0\.1:\d+$`, found["nat ok"].Found)
	assert.Equal(t, "1 listeners, 0 forwards", found["tunnels ok"].Found)
}

func TestDoctorWithoutARelayWarns(t *testing.T) {
	found, code := examined(t, up(t, t.TempDir()))
	assert.Equal(t, 0, code)
	assert.Contains(t, found["relay warning"].Advice, "tombolo up --relay")
	assert.Contains(t, found, "reservation warning")
	assert.Contains(t, found, "peers warning")
}

func TestDoctorNamesARelayThatIsDead(t *testing.T) {
	port := sockettest.Port(t)
	found, code := examined(t, up(t, t.TempDir(), "--relay", "/ip4/127.0.0.1/tcp/"+port+"/ws/p2p/"+nobody))
	assert.Equal(t, 1, code)
	assert.Contains(t, found["relay failed"].Found, "127.0.0.1:"+port+" does not answer")
	assert.Contains(t, found["reservation failed"].Found, "no peer can reach this node")
}

func TestARelayThatAnswersSomewhereIsNotDead(t *testing.T) {
	r := newRelay(t, relay.Options{})
	id := r.Node().ID().String()
	port := sockettest.Port(t)
	p := up(t, t.TempDir(), "--relay", "/ip4/127.0.0.1/tcp/"+port+"/ws/p2p/"+id, "--relay", r.Node().Addrs()[0].String())
	p.Line("reserved on ")
	found, code := examined(t, p)
	assert.Equal(t, 0, code)
	assert.Contains(t, found["relay ok"].Found, id+" answers at 127.0.0.1:")
}

func TestDoctorNamesAClockThatDiffers(t *testing.T) {
	// A fake that answers like a relay whose clock is an hour behind.
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
	}))
	defer s.Close()
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	found, code := examined(t, up(t, t.TempDir(), "--relay", "/ip4/127.0.0.1/tcp/"+port+"/ws/p2p/"+nobody))
	assert.Equal(t, 1, code)
	assert.Regexp(t, `it differs from the clock of 127.0.0.1:`+port+` by 1h0m[01]s`, found["clock failed"].Found)
	assert.Contains(t, found["clock failed"].Advice, "timedatectl")
	assert.Contains(t, found, "relay ok", "it answers")
	assert.Contains(t, found, "reservation failed", "and is not a relay")
}

func TestDoctorNamesWhatATunnelWaitsForAndWhatFailed(t *testing.T) {
	a, b := two(t)
	folder := filepath.Join(t.TempDir(), "site")
	require.NoError(t, os.Mkdir(folder, 0o700))
	a.does("listen", "/x/site", "file:"+folder)
	a.does("forward", "/x/missing", "127.0.0.1:0", b.id)
	dir := a.dir
	a.Stop()
	require.NoError(t, os.Remove(folder))
	a = up(t, dir)
	found, code := examined(t, a)
	assert.Equal(t, 1, code)
	assert.Contains(t, found["tunnel failed"].Found, "no such file")
	assert.Contains(t, found["tunnel failed"].Advice, "tombolo close -p /x/site")
}

func TestAnAddressThatIsNoneOfOursIsNoFailure(t *testing.T) {
	assert.Equal(t, failed, portFinding("127.0.0.1:1", assert.AnError).Result)
	assert.Equal(t, warning, portFinding("203.0.113.7:1", assert.AnError).Result)
	assert.Equal(t, warning, portFinding("proxy.example:443", assert.AnError).Result)
}
