package gateway_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/native/gateway"
)

func TestTheLandingPageListsWhatPeersAnnounce(t *testing.T) {
	w := newWorld(t, nil)
	expose(t, w.there, "/x/site/http", site(t, say("")), bridge.Announce(`a <script>alert(1)</script> & "site"`))
	expose(t, w.there, "/x/ssh", site(t, say("")), bridge.Announce("a shell"))
	expose(t, w.there, "/x/hidden/http", site(t, say("")))
	expose(t, w.there, "/x/private/http", site(t, say("")), bridge.Announce("private"), bridge.Deny(w.here.ID()))

	res, body := w.get(t, "/", "Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	assert.Equal(t, "text/html; charset=utf-8", res.Header.Get("Content-Type"))
	assert.Contains(t, body, w.here.ID().String())
	assert.Contains(t, body, w.there.ID().String())
	assert.Regexp(t, `<a href="http://[0-9a-f]{32}\.localhost:\d+`+regexp.QuoteMeta(w.prefix)+`/">`, body, "a host name of its own")
	assert.Contains(t, body, "a &lt;script&gt;alert(1)&lt;/script&gt; &amp; &#34;site&#34;")
	assert.NotContains(t, body, "<script")
	assert.Contains(t, body, "a shell")
	assert.NotContains(t, body, `href="`+w.path("/x/ssh"))
	assert.NotContains(t, body, "/x/hidden")
	assert.NotContains(t, body, "/x/private")

	assert.Equal(t, "nosniff", res.Header.Get("X-Content-Type-Options"))
	policy := res.Header.Get("Content-Security-Policy")
	assert.Contains(t, policy, "default-src 'none'")
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(body)
	require.NotNil(t, style)
	sum := sha256.Sum256([]byte(style[1]))
	assert.Contains(t, policy, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'", "the page's own style is allowed")

	res, body = w.get(t, "/", "Accept", "application/json")
	assert.Equal(t, "application/json", res.Header.Get("Content-Type"))
	var list struct {
		ID    string
		Peers []struct {
			ID, Transport, Agent string
			Services             []struct{ Protocol, Description, Link string }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(body), &list))
	assert.Equal(t, w.here.ID().String(), list.ID)
	require.Len(t, list.Peers, 1)
	assert.Equal(t, w.there.ID().String(), list.Peers[0].ID)
	assert.Equal(t, "tcp", list.Peers[0].Transport)
	require.Len(t, list.Peers[0].Services, 2)
	assert.Equal(t, w.prefix+"/", list.Peers[0].Services[0].Link)
	assert.Empty(t, list.Peers[0].Services[1].Link)

	res = w.do(t, http.MethodHead, "/", nil)
	assert.Equal(t, http.StatusOK, res.StatusCode)
	res = w.do(t, http.MethodPost, "/", strings.NewReader(""))
	assert.Equal(t, http.StatusMethodNotAllowed, res.StatusCode)
	assert.Equal(t, "GET, HEAD", res.Header.Get("Allow"))
}

func TestWhatAPeerSaysIsHarmlessInATerminal(t *testing.T) {
	w := newWorld(t, nil)
	require.NoError(t, w.here.Host().Peerstore().Put(w.there.ID(), "AgentVersion", "red\x1b[31m\u202e\u009b2J"))
	for _, kind := range []string{"text/html", "application/json"} {
		_, body := w.get(t, "/", "Accept", kind)
		assert.Contains(t, body, "red", kind)
		assert.NotContains(t, body, "\x1b", kind)
		assert.NotContains(t, body, "\u202e", kind)
		assert.NotContains(t, body, "\u009b", kind)
	}
}

func TestAPeerThatDoesNotAnswerDoesNotHoldUpTheLandingPage(t *testing.T) {
	w := newWorld(t, nil)
	mute := newNode(t)
	mute.Host().SetStreamHandler(bridge.Protocol, func(s network.Stream) {
		<-t.Context().Done() // cancelled before the cleanups run
		_ = s.Reset()
	})
	connect(t, w.here, mute)
	expose(t, w.there, "/x/site/http", site(t, say("")), bridge.Announce("site"))
	begun := time.Now()
	_, body := w.get(t, "/")
	assert.Less(t, time.Since(begun), 10*time.Second)
	assert.Contains(t, body, "did not answer in time")
	assert.Regexp(t, `<a href="http://[0-9a-f]{32}\.localhost:\d+`+regexp.QuoteMeta(w.prefix)+`/">`, body, "a host name of its own")
	assert.Less(t, strings.Index(body, w.there.ID().String()), strings.Index(body, mute.ID().String()), "a peer that offers something comes first")
}

func TestALandingPageWithoutPeersSaysHowToGetSome(t *testing.T) {
	base, _ := serve(t, newNode(t), gateway.Options{})
	res, err := newClient(t).Get(base)
	require.NoError(t, err)
	defer res.Body.Close()
	assert.Contains(t, read(t, res), "tombolo connect")
}
