package reservation_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	pbv2 "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/pb"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/internal/hosttest"
	"github.com/tombolo-net/tombolo/core/reservation"
)

const page = "https://relay.example"

// answers returns a Get that gives one answer after the other, then repeats the last one. An
// error is an answer, too.
func answers(t *testing.T, list ...any) reservation.Get {
	asked := make(chan any, len(list))
	for _, a := range list[:len(list)-1] {
		asked <- a
	}
	return func(ctx context.Context, url string, most int) ([]byte, error) {
		assert.Equal(t, page+"/.well-known/tombolo", url)
		assert.Equal(t, 64<<10, most)
		answer := list[len(list)-1]
		select {
		case answer = <-asked:
		default:
		}
		if err, failed := answer.(error); failed {
			return nil, err
		}
		return []byte(answer.(string)), ctx.Err()
	}
}

// says returns the answer of a relay's page.
func says(id peer.ID, addrs ...ma.Multiaddr) string {
	whole := make([]string, len(addrs))
	for i, a := range addrs {
		whole[i] = fmt.Sprintf("%s/p2p/%s", a, id)
	}
	b, _ := json.Marshal(map[string]any{"peerId": id.String(), "network": "mesh", "addrs": whole})
	return string(b)
}

// follow starts a keeper for the relay of the page and for others.
func follow(t *testing.T, get reservation.Get, others ...peer.AddrInfo) (*reservation.Keeper, host.Host, <-chan news) {
	t.Helper()
	k, h, told := keep(t, reservation.Options{Get: get, Network: "mesh", MinBackoff: time.Millisecond, MaxBackoff: time.Second}, others...)
	require.NoError(t, k.AddURLs([]string{page + "/"}))
	return k, h, told
}

func TestARelayIsReservedOnThroughItsPage(t *testing.T) {
	r, _ := granting(t, func(int32) *pbv2.Reservation { return until(in(time.Hour)) })
	k, _, told := follow(t, answers(t, says(r.ID(), r.Addrs()...)))
	made := wait(t, told)
	require.NoError(t, made.lost)
	assert.Equal(t, []any{r.ID(), page}, []any{made.Relay, made.URL})
	assert.Empty(t, k.Unanswered())
	assert.Equal(t, []peer.ID{r.ID()}, ids(k))
}

func TestAPageThatDoesNotAnswerIsAskedAgain(t *testing.T) {
	r, _ := granting(t, func(int32) *pbv2.Reservation { return until(in(time.Hour)) })
	k, _, told := follow(t, answers(t, errors.New("nobody there"), "<!doctype html>", says(r.ID(), r.Addrs()...)))
	for _, why := range []string{"nobody there", "does not answer like a relay"} {
		failed := wait(t, told)
		require.ErrorContains(t, failed.lost, "ask relay "+page+" for its addresses: ")
		require.ErrorContains(t, failed.lost, why)
		assert.Equal(t, []any{peer.ID(""), page}, []any{failed.Relay, failed.URL})
	}
	require.NoError(t, wait(t, told).lost)
	assert.Equal(t, []peer.ID{r.ID()}, ids(k))
}

func TestAPageIsAskedAgainWhereTheRelayIsNotAtTheAddressesKnown(t *testing.T) {
	r, _ := granting(t, func(int32) *pbv2.Reservation { return until(in(time.Hour)) })
	nowhere := ma.StringCast("/ip4/127.0.0.1/tcp/1")
	_, _, told := follow(t, answers(t, says(r.ID(), nowhere), says(r.ID(), r.Addrs()...)))
	failed := wait(t, told)
	require.ErrorContains(t, failed.lost, "connect to relay "+r.ID().String())
	assert.Equal(t, []any{r.ID(), page}, []any{failed.Relay, failed.URL})
	require.NoError(t, wait(t, told).lost, "the next attempt asks the page again")
}

func TestAPageMayNameAnotherRelayThanBefore(t *testing.T) {
	r, _ := granting(t, func(int32) *pbv2.Reservation { return until(in(time.Hour)) })
	gone := hosttest.Info(hosttest.New(t, hosttest.Options{Listen: "none"})).ID
	k, _, told := follow(t, answers(t, says(gone, ma.StringCast("/ip4/127.0.0.1/tcp/1")), says(r.ID(), r.Addrs()...)))
	require.Error(t, wait(t, told).lost)
	require.NoError(t, wait(t, told).lost)
	assert.Equal(t, []peer.ID{r.ID()}, ids(k))
}

func TestARelayGivenByItsAddressAndByItsPageIsKeptOnce(t *testing.T) {
	r, asked := granting(t, func(int32) *pbv2.Reservation { return until(in(time.Hour)) })
	k, _, told := follow(t, answers(t, says(r.ID(), ma.StringCast("/ip4/192.0.2.1/tcp/1"))), hosttest.Info(r))
	require.NoError(t, wait(t, told).lost)
	require.Eventually(t, func() bool { return len(k.Unanswered()) == 0 }, limit, time.Millisecond)
	require.Len(t, k.Relays(), 1)
	assert.Contains(t, k.Relays()[0].Addrs, ma.StringCast("/ip4/192.0.2.1/tcp/1"))
	assert.EqualValues(t, 1, asked.Load())
}

func TestOfAPagesAnswerOnlyTheRelaysOwnAddressesAreTaken(t *testing.T) {
	id := hosttest.Info(hosttest.New(t, hosttest.Options{Listen: "none"})).ID
	other := "12D3KooWEYuy4HNCGYsFFePJ1dPAKyUuhtMNpyiMDsZFBMJVHhmA"
	own := ma.StringCast("/dns4/localhost/tcp/1")
	list, _ := json.Marshal([]string{
		"/ip4/127.0.0.1/tcp/1/p2p/" + other, own.String() + "/p2p/" + id.String(), "/of-a-later-version/1/p2p/" + id.String(), "/ip4/127.0.0.1/tcp/1", "",
		"/p2p/" + other + "/p2p-circuit/p2p/" + id.String(), "/p2p/" + id.String(),
	})
	k, _, told := follow(t, answers(t, fmt.Sprintf(`{"peerId":%q,"addrs":%s}`, id, list)))
	require.ErrorContains(t, wait(t, told).lost, "connect to relay")
	require.Len(t, k.Relays(), 1)
	assert.Equal(t, []ma.Multiaddr{own}, k.Relays()[0].Addrs)
}

func TestAnAnswerThatNamesNoAddressOfTheRelayIsAFailure(t *testing.T) {
	other := "12D3KooWEYuy4HNCGYsFFePJ1dPAKyUuhtMNpyiMDsZFBMJVHhmA"
	for answer, why := range map[string]string{
		`{"peerId":"x","addrs":[]}`: "its peer ID is malformed", `null`: "its peer ID is malformed", `[]`: "like a relay", ``: "like a relay",
		`{"peerId":"` + other + `","addrs":["/ip4/127.0.0.1/tcp/1","/ip4/0.0.0.0/tcp/1/p2p/` + other + `"]}`: "no address of its own",
	} {
		_, _, told := follow(t, answers(t, answer))
		require.ErrorContains(t, wait(t, told).lost, why, answer)
	}
}

func TestAPageIsAURLAndReadAsItIsPlainlyMeant(t *testing.T) {
	for s, want := range map[string]string{
		"http://localhost:8080":       "http://localhost:8080",
		"https://relay.example/":      "https://relay.example",
		"HTTPS://relay.example":       "https://relay.example",
		"https://relay.example:":      "https://relay.example",
		"http://[::1]:80/":            "http://[::1]:80",
		"https://b\u00fccher.example": "https://b%C3%BCcher.example",
		"https://xn--bcher-kva.test/": "https://xn--bcher-kva.test",
	} {
		u, err := reservation.ParseURL(s)
		if assert.NoError(t, err, s) {
			assert.Equal(t, want, u.String(), s)
		}
	}
}

func TestAPageThatIsNoneIsRefusedWithAllThatWasGivenWithIt(t *testing.T) {
	k, err := reservation.New(nil, reservation.Options{Get: answers(t, "")})
	require.NoError(t, err)
	require.ErrorContains(t, k.AddURLs([]string{page, "ftp://x"}), `"ftp://x"`)
	assert.Empty(t, k.Unanswered())
	var many []string
	for i := range 257 {
		many = append(many, fmt.Sprintf("https://relay%d.example", i))
	}
	require.ErrorContains(t, k.AddURLs(many), "at most 256 relays")
	require.NoError(t, k.AddURLs(append(many[:256:256], many[0])))
	assert.Len(t, k.Unanswered(), 256)
}

func ids(k *reservation.Keeper) []peer.ID {
	var list []peer.ID
	for _, r := range k.Relays() {
		list = append(list, r.ID)
	}
	return list
}
