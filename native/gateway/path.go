package gateway

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/tombolo-net/tombolo/core/bridge"
)

// pathForm is the form of a service's path.
const pathForm = "/p2p/<peer>/x/<name>/http/<path>"

// target is the service and the path in it that a request is for.
type target struct {
	peer     peer.ID
	protocol protocol.ID
	prefix   string // the escaped path up to and including /http, as the client wrote it
	path     string // the rest, escaped; empty if the slash after /http is missing
}

// parsePath parses an escaped path that begins with /p2p/.
func parsePath(escaped string) (t target, err error) {
	segments := strings.Split(escaped, "/")
	if len(segments) < 4 || segments[0] != "" || segments[1] != "p2p" {
		return t, errors.New("the path is not of the form " + pathForm)
	}
	if t.peer, err = parsePeer(segments[2]); err != nil {
		return t, err
	}
	end := 3 // of the segment "http"
	switch segments[3] {
	case "http":
		t.protocol = "/http"
	case "x":
		if end, err = t.parseName(segments); err != nil {
			return t, err
		}
	default:
		return t, fmt.Errorf("after the peer comes /http/ or /x/<name>/http/, and not %.100q", segments[3])
	}
	t.prefix = strings.Join(segments[:end+1], "/")
	t.path = escaped[len(t.prefix):]
	return t, nil
}

func parsePeer(escaped string) (peer.ID, error) {
	s, err := url.PathUnescape(escaped)
	if err != nil {
		return "", fmt.Errorf("the peer %.100q is badly escaped", escaped)
	}
	if s == "" {
		return "", errors.New("the path names no peer; it has the form " + pathForm)
	}
	p, err := peer.Decode(s)
	if err != nil {
		return "", fmt.Errorf("%.100q is not a peer ID: %w", s, err)
	}
	return p, nil
}

// parseName parses the name that follows /p2p/<peer>/x and returns the index of the
// "http" that ends it.
func (t *target) parseName(segments []string) (end int, err error) {
	const first = 4
	if len(segments) <= first+1 {
		return 0, errors.New("the path ends before the /http/ that follows the service's name; it has the form " + pathForm)
	}
	n := slices.Index(segments[first+1:], "http")
	if n < 0 {
		return 0, errors.New("after the service's name the path has no /http/; it has the form " + pathForm)
	}
	end = first + 1 + n
	name := slices.Clone(segments[first:end])
	for i, s := range name {
		if name[i], err = url.PathUnescape(s); err != nil {
			return 0, fmt.Errorf("the name of the service is badly escaped at %.100q", s)
		}
		if s == "" {
			return 0, errors.New("the name of the service has an empty segment")
		}
	}
	t.protocol = protocol.ID(bridge.Namespace + strings.Join(name, "/") + "/http")
	if err := bridge.CheckName(t.protocol, true); err != nil {
		return 0, err
	}
	return end, nil
}

// link returns the path of a service; ok is false if its protocol is not spoken over
// HTTP.
func link(p peer.ID, proto protocol.ID) (path string, ok bool) {
	if proto == "/http" {
		return "/p2p/" + p.String() + "/http/", true
	}
	rest, inside := strings.CutPrefix(string(proto), bridge.Namespace)
	name, spoken := strings.CutSuffix(rest, "/http")
	if !inside || !spoken || name == "" || name == "." || name == ".." {
		return "", false
	}
	segments := strings.Split(name, "/")
	plain := !slices.ContainsFunc(segments, func(s string) bool { return s == "" || s == "http" || s == "." || s == ".." })
	escaped := url.PathEscape(name)
	if plain {
		escaped = strings.ReplaceAll(escaped, "%2F", "/")
	}
	return "/p2p/" + p.String() + bridge.Namespace + escaped + "/http/", true
}

// within reports whether a path is the prefix or below it.
func within(path, prefix string) bool {
	return strings.HasPrefix(path, prefix) && (len(path) == len(prefix) || strings.ContainsRune("/?#", rune(path[len(prefix)])))
}
