package relay_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/native"
	"github.com/tombolo-net/tombolo/relay"
)

func TestTheAlertsAreOfMetricsThatThereAre(t *testing.T) {
	path := filepath.Join("..", "docs", "tombolo-relay-alerts.yml")
	rules, err := os.ReadFile(path)
	require.NoError(t, err)
	registry := prometheus.NewRegistry()
	r := newRelay(t, relay.Options{Limits: relay.Limits{Peers: 1}, Registry: registry})
	newReserved(t, r)
	info := r.Node().Host().Peerstore().PeerInfo(r.Node().ID())
	require.Error(t, failure(t, newNode(t, native.Options{}), info)) // so that there are refusals
	families, err := registry.Gather()
	require.NoError(t, err)
	var names []string
	for _, f := range families {
		names = append(names, f.GetName())
	}
	for _, name := range regexp.MustCompile(`tombolo_\w+`).FindAllString(string(rules), -1) {
		assert.Contains(t, names, name)
	}
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Log("promtool is not installed: the rules are not parsed")
		return
	}
	out, err := exec.Command(promtool, "check", "rules", path).CombinedOutput()
	assert.NoError(t, err, "%s", out)
}
