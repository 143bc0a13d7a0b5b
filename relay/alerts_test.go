package relay_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/native"
	"github.com/tombolo-net/tombolo/relay"
)

func TestTheAlertsAndTheDashboardAreOfMetricsThatThereAre(t *testing.T) {
	path := filepath.Join("..", "docs", "tombolo-relay-alerts.yml")
	rules, err := os.ReadFile(path)
	require.NoError(t, err)
	registry := prometheus.NewRegistry()
	r := newRelay(t, relay.Options{Limits: relay.Limits{Peers: 2, PeersPerAddress: 2}, Registry: registry})
	newReserved(t, r)
	caller, called := newPair(t, r)
	info := r.Node().Host().Peerstore().PeerInfo(r.Node().ID())
	require.Error(t, failure(t, newNode(t, native.Options{}), info)) // makes the metrics of refusals appear
	_, err = caller.Echo(testContext(t), called.ID(), []byte("x"))
	require.NoError(t, err)
	families, err := registry.Gather()
	require.NoError(t, err)
	names := []string{"process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "go_memstats_heap_inuse_bytes", "go_goroutines"} // metrics of the process, only with --metrics
	for _, f := range families {
		names = append(names, f.GetName())
	}
	var exprs []string
	for _, p := range dashboard(t) {
		for _, target := range p.Targets {
			exprs = append(exprs, target.Expr)
		}
	}
	for _, name := range regexp.MustCompile(`\b(tombolo|libp2p|process|go)_\w+`).FindAllString(string(rules)+strings.Join(exprs, "\n"), -1) {
		assert.Contains(t, names, name)
	}
}

func TestPrometheusTakesTheAlerts(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed (it is in Debian's package prometheus): the rules are not checked")
	}
	out, err := exec.Command(promtool, "check", "rules", filepath.Join("..", "docs", "tombolo-relay-alerts.yml")).CombinedOutput()
	assert.NoError(t, err, "%s", out)
}

type panel struct {
	ID      int
	Title   string
	Targets []struct{ Expr string }
}

func dashboard(t *testing.T) []panel {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "docs", "tombolo-relay-dashboard.json"))
	require.NoError(t, err)
	var d struct{ Panels []panel }
	require.NoError(t, json.Unmarshal(b, &d))
	ids := make(map[int]bool)
	for _, p := range d.Panels {
		assert.NotEmpty(t, p.Title)
		assert.False(t, ids[p.ID], "Grafana wants panels with IDs of their own")
		ids[p.ID] = true
	}
	require.NotEmpty(t, ids)
	return d.Panels
}
