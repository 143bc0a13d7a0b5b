package discovery_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tombolo-net/tombolo/core/discovery"
	"github.com/tombolo-net/tombolo/core/internal/hosttest"
)

// newDouble makes a host that answers each question with the bytes that say returns. A
// real server would not lie.
func newDouble(t *testing.T, say func(target peer.ID) []byte) host.Host {
	t.Helper()
	h := hosttest.New(t, hosttest.Options{})
	answerAll(h, say)
	return h
}

func answerAll(h host.Host, say func(target peer.ID) []byte) {
	h.SetStreamHandler(discovery.Protocol(named), func(s network.Stream) {
		defer s.Close()
		target, err := readQuestion(s)
		if err == nil {
			_, err = s.Write(say(target))
		}
		if err != nil {
			_ = s.Reset()
		}
	})
}

// newMute makes a server that takes questions and never answers.
func newMute(t *testing.T) host.Host {
	t.Helper()
	h := hosttest.New(t, hosttest.Options{})
	h.SetStreamHandler(discovery.Protocol(named), func(s network.Stream) { _, _ = io.Copy(io.Discard, s) })
	return h
}

// readQuestion reads a FIND_NODE message and returns the peer ID that it asks for.
func readQuestion(r io.Reader) (peer.ID, error) {
	b := bufio.NewReader(r)
	size, err := binary.ReadUvarint(b)
	if err != nil {
		return "", err
	}
	m := make([]byte, min(size, 4096))
	if _, err := io.ReadFull(b, m); err != nil {
		return "", err
	}
	for len(m) > 0 {
		field, typ, n := protowire.ConsumeField(m)
		if n < 0 {
			return "", protowire.ParseError(n)
		}
		if field == 2 && typ == protowire.BytesType {
			_, _, tag := protowire.ConsumeTag(m)
			key, _ := protowire.ConsumeBytes(m[tag:])
			return peer.ID(key), nil
		}
		m = m[n:]
	}
	return "", errors.New("no key")
}

// answer returns a message that lists the peers, with its length before it.
func answer(peers ...peer.AddrInfo) []byte {
	var m []byte
	for _, p := range peers {
		entry := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), string(p.ID))
		for _, a := range p.Addrs {
			entry = protowire.AppendBytes(protowire.AppendTag(entry, 2, protowire.BytesType), a.Bytes())
		}
		m = protowire.AppendBytes(protowire.AppendTag(m, 8, protowire.BytesType), entry)
	}
	return protowire.AppendBytes(nil, m)
}

// nowhere returns a peer with an address where nobody listens.
func nowhere(t *testing.T) peer.AddrInfo {
	t.Helper()
	h := hosttest.Unmanaged(t, hosttest.Options{})
	info := hosttest.Info(h)
	require.NoError(t, h.Close())
	return info
}

// ask makes a node that knows only the given server, looks with it for a peer that does
// not exist, and returns the error.
func ask(t *testing.T, server host.Host) *discovery.NotFoundError {
	t.Helper()
	a := discover(t, hosttest.New(t, hosttest.Options{Listen: "none"}), discovery.Options{Bootstrap: contacts(server)})
	err := a.mesh.Connect(testContext(t), newID(t))
	require.ErrorIs(t, err, discovery.ErrNotFound)
	require.NoError(t, testContext(t).Err(), "it ended by itself")
	var why *discovery.NotFoundError
	require.ErrorAs(t, err, &why)
	return why
}

func TestLiarsWhoAlwaysKnowSomebodyNearerEndALookup(t *testing.T) {
	// Each answer lists twenty new peers at an address where nobody listens.
	gone := nowhere(t)
	liar := newDouble(t, func(peer.ID) []byte {
		peers := make([]peer.AddrInfo, 20)
		for i := range peers {
			peers[i] = peer.AddrInfo{ID: randomID(), Addrs: gone.Addrs}
		}
		return answer(peers...)
	})
	why := ask(t, liar)
	assert.Equal(t, []peer.ID{liar.ID()}, why.Asked)
	assert.Len(t, why.Silent, 20)
}

func TestALookupAsksNoMoreThan128(t *testing.T) {
	// Each server names only the next nearer one.
	wanted := newID(t)
	nearer := make(map[peer.ID]peer.AddrInfo)
	servers := make([]host.Host, 140)
	for i := range servers {
		var own peer.ID
		servers[i] = newDouble(t, func(peer.ID) []byte { return answer(nearer[own]) })
		own = servers[i].ID()
	}
	farthestFirst(wanted, servers)
	for i, h := range servers[1:] {
		nearer[servers[i].ID()] = hosttest.Info(h)
	}
	a := discover(t, hosttest.New(t, hosttest.Options{Listen: "none"}), discovery.Options{Bootstrap: contacts(servers[0])})
	var why *discovery.NotFoundError
	require.ErrorAs(t, a.mesh.Connect(testContext(t), wanted), &why)
	assert.Len(t, why.Asked, 128)
}

// farthestFirst sorts servers by their distance from the peer, as Kademlia measures it.
func farthestFirst(from peer.ID, servers []host.Host) {
	to := sha256.Sum256([]byte(from))
	far := func(h host.Host) []byte {
		d := sha256.Sum256([]byte(h.ID()))
		subtle.XORBytes(d[:], d[:], to[:])
		return d[:]
	}
	slices.SortFunc(servers, func(a, b host.Host) int { return bytes.Compare(far(b), far(a)) })
}

func randomID() peer.ID {
	b := make([]byte, 32)
	_, _ = rand.Read(b)
	// A multihash of SHA2-256, 32 bytes, like the peer ID of an RSA key.
	return peer.ID(append([]byte{0x12, 0x20}, b...))
}

func TestAddressesThatDoNotAnswerAreTriedOnlySoOften(t *testing.T) {
	gone := nowhere(t)
	var wanted peer.ID
	liars := make([]host.Host, 3)
	for i := range liars {
		liars[i] = newDouble(t, func(target peer.ID) []byte {
			if target != wanted {
				return answer()
			}
			// A thousand addresses of the wanted peer, none of which works.
			peers := make([]peer.AddrInfo, 1000)
			for i := range peers {
				a := ma.StringCast(gone.Addrs[0].String() + "/p2p/" + randomID().String() + "/p2p-circuit")
				peers[i] = peer.AddrInfo{ID: target, Addrs: []ma.Multiaddr{a}}
			}
			return answer(peers...)
		})
	}
	wanted = newID(t)
	a := discover(t, hosttest.New(t, hosttest.Options{Listen: "none"}), discovery.Options{Bootstrap: contacts(liars...)})
	err := a.mesh.Connect(testContext(t), wanted)
	require.ErrorIs(t, err, discovery.ErrNotFound)
	var why *discovery.NotFoundError
	require.ErrorAs(t, err, &why)
	assert.NotEmpty(t, why.Dials)
	assert.LessOrEqual(t, len(why.Dials), 16)
	assert.ErrorContains(t, err, "found, but it answers at no address")
	assert.Zero(t, a.mesh.Stats().Found)
}

func TestGarbageIsNoAnswer(t *testing.T) {
	long := protowire.AppendVarint(nil, 1<<40)
	for name, said := range map[string][]byte{
		"nothing":               nil,
		"a length without end":  {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"a length of 1 TiB":     long,
		"less than announced":   {10, 1, 2},
		"no protobuf":           {3, 0xff, 0xff, 0xff},
		"a peer without an id":  answer(peer.AddrInfo{Addrs: []ma.Multiaddr{ma.StringCast("/ip4/127.0.0.1/tcp/1")}}),
		"an id that is none":    answer(peer.AddrInfo{ID: "nonsense", Addrs: []ma.Multiaddr{ma.StringCast("/ip4/127.0.0.1/tcp/1")}}),
		"a group never closed":  {1, 0x0b},
		"a field past the end":  {2, 0x42, 0x7f},
		"a peer past the end":   {4, 0x42, 2, 0x0a, 0x7f},
		"a varint past the end": {2, 0x08, 0xff},
	} {
		t.Run(name, func(t *testing.T) {
			server := newDouble(t, func(peer.ID) []byte { return said })
			why := ask(t, server)
			assert.Equal(t, []peer.ID{server.ID()}, why.Silent)
			assert.Empty(t, why.Asked)
			assert.ErrorContains(t, why, "1 did not answer")
		})
	}
}

func TestWhatIsNotUnderstoodInAnAnswerIsPassedOver(t *testing.T) {
	// Newer peers may send fields and transports that we do not know, or a peer without
	// addresses.
	real := newDouble(t, func(peer.ID) []byte { return answer() })
	m := protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 7)
	m = protowire.AppendFixed32(protowire.AppendTag(m, 98, protowire.Fixed32Type), 7)
	nobody := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), string(newID(t)))
	m = protowire.AppendBytes(protowire.AppendTag(m, 8, protowire.BytesType), nobody)
	strange := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), string(real.ID()))
	strange = protowire.AppendBytes(protowire.AppendTag(strange, 2, protowire.BytesType), []byte{0xfe, 0xff, 0x7f, 1})
	strange = protowire.AppendBytes(protowire.AppendTag(strange, 2, protowire.BytesType), real.Addrs()[0].Bytes())
	strange = protowire.AppendVarint(protowire.AppendTag(strange, 3, protowire.VarintType), 1)
	m = protowire.AppendBytes(protowire.AppendTag(m, 8, protowire.BytesType), strange)
	said := protowire.AppendBytes(nil, m)

	first := newDouble(t, func(peer.ID) []byte { return said })
	why := ask(t, first)
	assert.ElementsMatch(t, []peer.ID{first.ID(), real.ID()}, why.Asked)
	assert.Empty(t, why.Silent)
}

func TestThoseWhoDoNotAnswerDoNotHoldUpOthers(t *testing.T) {
	// Only the last server to be asked knows the wanted peer; the others do not answer.
	wanted := hosttest.New(t, hosttest.Options{})
	servers := make([]host.Host, 7)
	infos := make([]peer.AddrInfo, len(servers))
	for i := range servers {
		servers[i] = newMute(t)
		infos[i] = hosttest.Info(servers[i])
	}
	farthestFirst(wanted.ID(), servers)
	answerAll(servers[0], func(target peer.ID) []byte {
		if target == wanted.ID() {
			return answer(hosttest.Info(wanted))
		}
		return answer()
	})
	first := newDouble(t, func(peer.ID) []byte { return answer(infos...) })
	a := discover(t, hosttest.New(t, hosttest.Options{Listen: "none"}), discovery.Options{Bootstrap: contacts(first)})
	require.NoError(t, a.mesh.Connect(testContext(t), wanted.ID()))
}
