package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/tombolo-net/tombolo/native/command/commandtest"
	"github.com/tombolo-net/tombolo/native/control"
	"github.com/tombolo-net/tombolo/native/internal/namespace"
)

// everywhere listens on all addresses of a machine.
const everywhere = "0.0.0.0:0"

// Each daemon knows only the other's ID, and its router lets in no connection from outside.
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
			var relays []string // flags that name the relays
			for _, port := range []string{"8080", "8081"} {
				relays = append(relays, "--relay", relayIn(t, t.TempDir(), "5.0.0.1:"+port).addr)
			}
			behind := func(number int, ports namespace.Ports) *daemon {
				in := namespace.BehindRouter(t, number, ports)
				logged := append(slices.Clone(in), "sh", "-c", `exec "$0" "$@" 2>&1`, tombolo)
				d := upWith(t, t.TempDir(), logged, everywhere, append(relays, "--log-level", "info")...)
				eventually(t, func() bool { return strings.Count(strings.Join(d.Lines(), "\n"), "reserved on ") == 2 }, "both reservations")
				doctor := commandtest.Start(t, []string{"TOMBOLO_DATA_DIR=" + d.dir}, in[0], append(in[1:], tombolo, "doctor")...)
				doctor.Wait()
				assert.Contains(t, strings.Join(doctor.Lines(), "\n"), map[namespace.Ports]string{
					namespace.Kept: "every peer sees the same address, so punching holes can work", namespace.Random: "symmetric, each peer sees another address",
				}[ports])
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
