package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/native/command"
	"github.com/tombolo-net/tombolo/native/command/commandtest"
	"github.com/tombolo-net/tombolo/native/control"
)

func configured(t *testing.T, dir, content string) (path string) {
	t.Helper()
	path = filepath.Join(dir, command.ConfigName)
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

func TestAFlagComesBeforeTheEnvironmentBeforeTheConfiguration(t *testing.T) {
	for want, c := range map[string]struct{ env, args []string }{
		"of-the-file":        {},
		"of-the-environment": {env: []string{"TOMBOLO_NETWORK=of-the-environment"}},
		"of-a-flag":          {[]string{"TOMBOLO_NETWORK=of-the-environment"}, []string{"--network", "of-a-flag"}},
	} {
		dir := t.TempDir()
		configured(t, dir, "network = \"of-the-file\"\n\nlisten = [\"/ip4/127.0.0.1/tcp/0\", \"/ip4/127.0.0.1/udp/0/quic-v1\"]\nno-mdns = true\nmap-ports = false\nidle-timeout = \"1h\"\n")
		p := commandtest.Start(t, c.env, binary, append([]string{"up", "--data-dir", dir}, c.args...)...)
		p.Line("id ")
		p.Line("listening /ip4/127.0.0.1/tcp/")
		p.Line("listening /ip4/127.0.0.1/udp/")
		assert.Len(t, p.Lines(), 3, "both of the list, and no more")
		d := &peerProcess{Process: p, t: t, dir: dir}
		client, err := control.NewClient(dir)
		require.NoError(t, err)
		status, err := control.VerbStatus.Call(testContext(t), client, control.None{})
		require.NoError(t, err)
		client.Close()
		assert.Equal(t, want, status.Network)
		assert.Contains(t, d.runs("", "doctor").stdout, "network "+want)
	}
}

func TestAConfigurationElsewhereIsNamed(t *testing.T) {
	path := configured(t, t.TempDir(), `listen = "/ip4/127.0.0.1/tcp/0"`)
	p := start(t, "up", "--data-dir", t.TempDir(), "--config", path)
	p.Line("listening /ip4/127.0.0.1/tcp/")
	p = commandtest.Start(t, []string{"TOMBOLO_CONFIG=" + path}, binary, "up", "--data-dir", t.TempDir())
	p.Line("listening /ip4/127.0.0.1/tcp/")
	failsWith(t, 2, []string{"read the configuration", path + "x"}, "up", "--data-dir", t.TempDir(), "--config", path+"x")
}

func TestAConfigurationThatIsWrongIsNamedWithItsLine(t *testing.T) {
	dir := t.TempDir()
	for content, want := range map[string]string{
		"network = \"a\"\n\nnonsense = 1\n":    `line 3: there is no "nonsense"`,
		"\n\nlisten = [\"127.0.0.1:0\"\nx = 1": "line 4",
		"network = a":                          "line 1",
		"network = \"a\"\nnetwork = \"b\"":     "network",
		"network = \"a\"\n[listen]\ntcp = 1":   `line 2: "listen" is a table`,
		"[[relay]]\nx = 1":                     `line 1: "relay" is a table`,
		"listen.tcp = 1":                       `line 1: "listen" is a table`,
		"data-dir = \"/\"":                     `there is no "data-dir"`,
		"config = \"/\"":                       `there is no "config"`,
		"listen = [\"nonsense\"]":              `line 1: listen: "nonsense" is neither`,
		"map-ports = \"maybe\"":                "line 1: map-ports: bool value",
		"open-timeout = 5":                     "line 1: open-timeout: ",
	} {
		path := configured(t, dir, content)
		failsWith(t, 2, []string{"the configuration " + path, want}, "up", "--data-dir", dir)
	}
	assert.NoFileExists(t, filepath.Join(dir, "identity.key"), "nothing was begun")
}
