package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/native/command/commandtest"
)

// TestTheLastReleaseAndThisUnderstandEachOther mixes daemons and relays of both versions.
// TOMBOLO_LAST_RELEASE is the folder of the unpacked archive.
func TestTheLastReleaseAndThisUnderstandEachOther(t *testing.T) {
	last := os.Getenv("TOMBOLO_LAST_RELEASE")
	if last == "" {
		t.Skip("needs the programs of the last release: TOMBOLO_LAST_RELEASE names their folder")
	}
	type version struct{ daemon, relay string }
	both := map[string]version{"this": {tombolo, tomboloRelay}, "last": {filepath.Join(last, "tombolo"), filepath.Join(last, "tombolo-relay")}}
	for relayName, relay := range both {
		for hereName, here := range both {
			for thereName, there := range both {
				if relayName == hereName && hereName == thereName {
					continue // the other tests cover this
				}
				t.Run(hereName+" to "+thereName+" through "+relayName, func(t *testing.T) {
					r := commandtest.Start(t, nil, relay.relay, "--data-dir", t.TempDir(), "--listen", anywhere, "--no-map-ports")
					url := r.Line("page ")
					start := func(program string) *daemon {
						d := upWith(t, t.TempDir(), []string{program}, anywhere, "--relay", url)
						d.Line("reserved ")
						return d
					}
					a, b := start(here.daemon), start(there.daemon)
					b.listen("/x/service", newService(t).addr)
					pushes(t, a.forward("/x/service", b))

					heard := commandtest.Start(t, []string{"TOMBOLO_DATA_DIR=" + b.dir}, there.daemon, "subscribe", "chat")
					eventually(t, func() bool {
						code, _, _ := a.try("broadcast", "chat", "to all")
						return code == 0 && len(heard.Lines()) > 0
					}, "the broadcast arrives")
					require.Equal(t, "to all", heard.Line(a.id+" chat "))
					a.do("send", b.id, "chat", "to one")
					heard.Line(a.id + " chat to one")
				})
			}
		}
	}
}
