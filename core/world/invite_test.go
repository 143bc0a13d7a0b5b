package world_test

import (
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/world"
	"github.com/tombolo-net/tombolo/core/world/demo"
	"github.com/tombolo-net/tombolo/core/world/seat"
	"github.com/tombolo-net/tombolo/core/world/wire"
)

func TestWhoHasAnInvitationJoinsAPrivateRoom(t *testing.T) {
	host, player := newHosting(t), newNode(t)
	room, err := host.rooms.Host(&demo.Harbour{}, harbour(world.Options{Name: "a & b#?", Private: true}))
	require.NoError(t, err)
	_, err = host.rooms.Invite("another")
	require.ErrorContains(t, err, "no room of this name")
	invitation, err := host.rooms.Invite(room.Name())
	require.NoError(t, err)
	link, err := invitation.Link("https://example.com/play?x=1#old")
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(link, "https://example.com/play?x=1#room="), link)
	require.True(t, wire.IsInvitation(link))
	got, err := wire.ParseInvitation(link)
	require.NoError(t, err)
	require.Equal(t, room.Name(), got.Room)
	require.Len(t, got.Password, 26, "the password is random")

	// The player knows nothing of the host but the link.
	s, err := seat.Accept(bounded(t), player, got, seat.Options{Version: demo.Version})
	require.NoError(t, err)
	require.Equal(t, host.ID(), s.Host())
	require.NoError(t, s.Leave())
	stranger := newNode(t)
	stranger.connect(t, host.node)
	for _, password := range []string{"", "guessed"} {
		_, err = seat.Join(bounded(t), stranger, room.Name(), seat.Options{Host: host.ID(), Version: demo.Version, Password: password})
		require.ErrorContains(t, err, "password")
	}
	require.Empty(t, host.rooms.Listings(), "nobody finds it")

	own, err := seat.Accept(bounded(t), host.rooms, got, seat.Options{Version: demo.Version})
	require.NoError(t, err)
	require.NoError(t, own.Leave())
}

func TestAnInvitationLeadsToAStandbyWhenTheHostIsGone(t *testing.T) {
	t.Parallel()
	host, room, _, stand, stands := stood(t, 1)
	invitation, err := host.rooms.Invite(room.Name())
	require.NoError(t, err)
	link, err := invitation.Link("https://example.com")
	require.NoError(t, err)
	require.NoError(t, host.Close())
	got, err := wire.ParseInvitation(link)
	require.NoError(t, err)
	s, err := seat.Accept(bounded(t), newNode(t), got, seat.Options{})
	require.NoError(t, err)
	require.Equal(t, stand[0].ID(), s.Host())
	_, err = stands[0].Wait(bounded(t))
	require.NoError(t, err)
	require.NoError(t, s.Leave())
}

func TestALinkThatIsNoInvitationSaysWhy(t *testing.T) {
	const id = "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X"
	for link, why := range map[string]string{
		"":                                  "no fragment",
		"https://example.com":               "no fragment",
		"#":                                 "the name of the room has 0 bytes",
		"#room=a":                           "names no host",
		"#room=a&host=b":                    `the host "b"`,
		"#room=a&host=" + id + "&at=/no/1":  `the address "/no/1"`,
		"#room=a&at=/ip4/1.2.3.4/tcp/1":     "is of no host",
		"#room=%zz":                         "invalid URL escape",
		"#room=a" + strings.Repeat("b", 64): "the name of the room has 65 bytes",
		"#room=a&key=" + strings.Repeat("k", wire.MaxPassword+1) + "&host=" + id: "the password has 257 bytes",
		"#room=a" + strings.Repeat("&host="+id, 10):                              "names 10 hosts",
		"#room=a&" + strings.Repeat("x", 9000):                                   "more than 8192 bytes",
	} {
		_, err := wire.ParseInvitation(link)
		require.ErrorContains(t, err, why, link)
		require.ErrorContains(t, err, "the link is not an invitation")
	}
	_, err := wire.Invitation{Room: "a"}.Link("https://example.com")
	require.ErrorContains(t, err, "no host")
	_, err = wire.ParseInvitation("#later=1&room=a&host=" + id)
	require.NoError(t, err, "a field of a later version is passed over")
}

func TestALinkHasTheAddressesThatLast(t *testing.T) {
	const relay = "/p2p/12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X/p2p-circuit"
	var addrs []ma.Multiaddr
	for _, a := range []string{
		"/ip4/1.2.3.4/udp/1/quic-v1/webtransport/certhash/uEiDDq4_xNyDorZBH3TlGazyJdOWSwvo4PUo5YHFMrvDE8g",
		"/ip4/1.2.3.4/tcp/1", "/ip4/1.2.3.5/tcp/1", "/dns4/relay.example.com/tcp/443/tls/ws" + relay,
	} {
		addrs = append(addrs, ma.StringCast(a))
	}
	id, err := peer.Decode("12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X")
	require.NoError(t, err)
	link, err := wire.Invitation{Room: "a", Hosts: []peer.AddrInfo{{ID: id, Addrs: addrs}}}.Link("")
	require.NoError(t, err)
	require.Less(t, len(link), 300, "it fits a QR code that a phone reads")
	got, err := wire.ParseInvitation(link)
	require.NoError(t, err)
	require.Equal(t, []ma.Multiaddr{addrs[3], addrs[1]}, got.Hosts[0].Addrs)
}
