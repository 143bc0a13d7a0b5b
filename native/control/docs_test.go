package control

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/native/tunnels"
)

// objects are the types of all objects that cross the socket.
var objects = []reflect.Type{
	reflect.TypeFor[Status](), reflect.TypeFor[Reservation](), reflect.TypeFor[Peer](), reflect.TypeFor[PeerCall](), reflect.TypeFor[Pong](),
	reflect.TypeFor[AccessCall](), reflect.TypeFor[Closed](), reflect.TypeFor[StreamsCall](), reflect.TypeFor[CloseStreamsCall](),
	reflect.TypeFor[Offer](), reflect.TypeFor[MessageCall](), reflect.TypeFor[Reply](), reflect.TypeFor[SubscribeCall](),
	reflect.TypeFor[Message](), reflect.TypeFor[DialCall](), reflect.TypeFor[DialEndCall](), reflect.TypeFor[EchoCall](), reflect.TypeFor[Echoed](), reflect.TypeFor[Error](),
	reflect.TypeFor[PairCall](), reflect.TypeFor[Paired](), reflect.TypeFor[Pairing](),
	reflect.TypeFor[tunnels.ListenSpec](), reflect.TypeFor[tunnels.ForwardSpec](), reflect.TypeFor[tunnels.Listener](),
	reflect.TypeFor[tunnels.Forward](), reflect.TypeFor[tunnels.List](), reflect.TypeFor[tunnels.Match](),
	reflect.TypeFor[bridge.Access](), reflect.TypeFor[bridge.Limits](), reflect.TypeFor[bridge.StreamInfo](), reflect.TypeFor[bridge.Change](),
}

// jsonFields returns the names that encoding/json gives a struct's fields.
func jsonFields(t reflect.Type) (names []string) {
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous || name == "-" {
			continue
		}
		names = append(names, name)
	}
	return names
}

var row = regexp.MustCompile("^\\| `([A-Za-z]+)` \\|")

func TestTheDocumentNamesEveryFieldOfEveryObject(t *testing.T) {
	b, err := os.ReadFile("../../docs/control.md")
	require.NoError(t, err)
	documented := make(map[string][]string)
	section := ""
	for line := range strings.Lines(string(b)) {
		if name, ok := strings.CutPrefix(line, "### "); ok {
			section = strings.TrimSpace(name)
		} else if strings.HasPrefix(line, "#") {
			section = ""
		} else if m := row.FindStringSubmatch(line); m != nil && section != "" {
			documented[section] = append(documented[section], m[1])
		}
	}
	for _, object := range objects {
		assert.ElementsMatch(t, jsonFields(object), documented[object.Name()], "docs/control.md, %s", object.Name())
		delete(documented, object.Name())
	}
	assert.Empty(t, documented, "the document describes no other objects")
}

func TestTheDocumentNamesEveryCallAndReason(t *testing.T) {
	b, err := os.ReadFile("../../docs/control.md")
	require.NoError(t, err)
	source, err := os.ReadFile("verbs.go")
	require.NoError(t, err)
	verbs := regexp.MustCompile(`(?m)^\tVerb.* = "([a-z/]+)"`).FindAllStringSubmatch(string(source), -1)
	require.Greater(t, len(verbs), 15)
	for _, verb := range verbs {
		assert.Contains(t, string(b), "\n| `"+verb[1]+"` |")
	}
	for _, r := range []bridge.Reason{bridge.NotAllowed, bridge.NoSuchProtocol, bridge.TargetRefused, bridge.TargetTimedOut, bridge.TooMany, bridge.TargetFailed,
		bridge.ClientFailed, bridge.PeerAway, bridge.PeerLost, bridge.PeerReset, bridge.TimedOut, bridge.ClosedByHand, bridge.Shutdown} {
		assert.Contains(t, string(b), "`"+string(r)+"`")
	}
}
