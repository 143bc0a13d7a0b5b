package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/tombolo-net/tombolo/native/control"
	"github.com/tombolo-net/tombolo/native/internal/namespace"
)

// everywhere listens on all addresses of a machine.
const everywhere = "0.0.0.0:0"

// Two daemons that know each other's id alone, each behind a router that lets nobody in.
func TestDaemonsBehindRoutersReachEachOther(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		here, there namespace.Ports
		direct      bool
	}{
		"directly, where both routers keep the ports":      {namespace.Kept, namespace.Kept, true},
		"over the relay, where one router is symmetric":    {namespace.Kept, namespace.Random, false},
		"over the relay, where the other one is symmetric": {namespace.Random, namespace.Kept, false},
		"over the relay, where both are":                   {namespace.Random, namespace.Random, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if !namespace.In(t, namespace.Internet) {
				return
			}
			r := relayIn(t, t.TempDir(), "/ip4/5.0.0.1/tcp/8080")
			behind := func(number int, ports namespace.Ports) *daemon {
				in := append(namespace.BehindRouter(t, number, ports), "sh", "-c", `exec "$0" "$@" 2>&1`, tombolo)
				d := upWith(t, t.TempDir(), in, everywhere, "--relay", r.addr, "--log-level", "info")
				d.Line("reserved on ")
				return d
			}
			here, there := behind(2, c.here), behind(3, c.there)
			here.do("ping", there.id)
			said := func(words string) bool {
				return slices.ContainsFunc(slices.Concat(here.Lines(), there.Lines()), func(l string) bool { return strings.Contains(l, words) })
			}
			relayed := func() bool {
				for _, p := range ask[[]control.Peer](here, "peers") {
					if p.ID.String() == there.id {
						return p.Relay != ""
					}
				}
				return true
			}
			if c.direct {
				eventually(t, func() bool { return !relayed() }, "a direct connection")
			} else {
				eventually(t, func() bool { return said("no direct connection: it goes on over the relay") }, "the routers let nobody through")
				assert.True(t, relayed())
			}
			here.do("ping", there.id)
			there.do("ping", here.id)
		})
	}
}
