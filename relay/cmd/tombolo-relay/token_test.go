package main

import (
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/reservation"
	"github.com/tombolo-net/tombolo/native"
	"github.com/tombolo-net/tombolo/native/command/commandtest"
	"github.com/tombolo-net/tombolo/relay"
)

func TestATokenIsMadeWhileTheRelayRuns(t *testing.T) {
	dir := t.TempDir()
	r := start(t, "--data-dir", dir, "--listen", "127.0.0.1:0", "--closed")
	made := commandtest.Start(t, nil, binary, "token", "--data-dir", dir, "--holder", "alice")
	token := "tr1." + made.Line("tr1.")
	n := newNode(t, native.Options{Token: token, Relays: []peer.AddrInfo{parse(t, r.at(t, "/tcp/"))}})
	require.Eventually(t, func() bool { return len(n.Reservations()) == 1 }, 30*time.Second, 5*time.Millisecond)
	code, stderr := commandtest.Start(t, nil, binary, "token", "--data-dir", t.TempDir()).Wait()
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "--data-dir")
}

func TestATokenThatIsRevokedIsRefusedAtOnceAndAfterARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run := func(args ...string) (said []string, stderr string) {
		p := commandtest.Start(t, nil, binary, append([]string{"token", "--data-dir", dir}, args...)...)
		code, stderr := p.Wait()
		require.Zero(t, code, stderr)
		return p.Lines(), stderr
	}
	r := start(t, "--data-dir", dir, "--listen", "127.0.0.1:0", "--closed")
	at := parse(t, r.at(t, "/tcp/"))
	reserved := func(holder string) (n *core.Node, token, id string) {
		said, stderr := run("--holder", holder)
		found := regexp.MustCompile(`id (\S+), expires 20`).FindStringSubmatch(stderr)
		require.NotNil(t, found, stderr)
		n = newNode(t, native.Options{Token: said[0], Relays: []peer.AddrInfo{at}})
		require.Eventually(t, func() bool { return len(n.Reservations()) == 1 }, 30*time.Second, 5*time.Millisecond)
		return n, said[0], found[1]
	}
	alice, _, id := reserved("alice")
	bob, bobs, _ := reserved("bob")
	news := alice.Events()
	defer news.Close()
	run("revoke", id)
	await := func(want core.EventType) error {
		for {
			ev, err := news.Next(testContext(t))
			require.NoError(t, err)
			if ev.Type == want {
				return ev.Err
			}
		}
	}
	why := "the token " + id + " is revoked"
	for _, event := range []core.EventType{core.ReservationLost, core.ReservationFailed} {
		refused, ok := errors.AsType[*reservation.RefusedError](await(event))
		require.True(t, ok, "%s", event)
		assert.Equal(t, why, refused.Reason)
		assert.Equal(t, "access", refused.Limit)
	}
	assert.Len(t, bob.Reservations(), 1)

	run("revoke", bobs) // by the token itself
	require.Zero(t, r.Stop())
	r = start(t, "--data-dir", dir, "--listen", "127.0.0.1:0", "--closed")
	said, _ := run("revoked", "--json")
	var all []relay.RevokedToken
	require.NoError(t, json.Unmarshal([]byte(strings.Join(said, "")), &all))
	require.Len(t, all, 2)
	assert.Contains(t, []string{all[0].ID, all[1].ID}, id)
	assert.Greater(t, time.Until(all[0].Expires), 23*time.Hour)
	require.NoError(t, alice.AddRelays([]peer.AddrInfo{parse(t, r.at(t, "/tcp/"))}))
	for { // attempts at the previous relay fail, too, but for another reason
		if err := await(core.ReservationFailed); strings.Contains(err.Error(), why) {
			break
		}
	}
	code, stderr := commandtest.Start(t, nil, binary, "token", "--data-dir", dir, "revoke", "alice").Wait()
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "is not the ID of a token")
}
