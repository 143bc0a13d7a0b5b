package tunnels

import (
	"errors"
	"fmt"
	"slices"

	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/native/local"
)

// Errors of an invalid Match.
var (
	ErrNoMatching = errors.New("no matching options given")
	ErrAllAndMore = errors.New("can't combine --all with other matching options")
)

// Match selects the tunnels that match every field given. Listen matches forwards only.
// Listen and Target may be written in any form that is accepted when a tunnel is made, and
// as they were given then: with the name of a host that has been resolved since.
type Match struct {
	All      bool        `json:"all,omitempty"`
	Protocol protocol.ID `json:"protocol,omitempty"`
	Listen   string      `json:"listen,omitempty"`
	Target   string      `json:"target,omitempty"`
	// ID selects one tunnel, by the ID in the lists.
	ID uint64 `json:"id,omitempty"`
}

func (m Match) check() error {
	some := m.Protocol != "" || m.Listen != "" || m.Target != "" || m.ID != 0
	switch {
	case m.All && some:
		return ErrAllAndMore
	case !m.All && !some:
		return ErrNoMatching
	}
	return nil
}

// picks reports whether a tunnel matches. A forward has two addresses on each side: the
// real one, and the one that was given.
func (m Match) picks(id uint64, proto protocol.ID, listen, target []string) bool {
	return m.All || (m.ID == 0 || m.ID == id) && (m.Protocol == "" || m.Protocol == proto) && same(m.Listen, listen) && same(m.Target, target)
}

// same reports whether an address is one of a tunnel's, in whatever form they are written.
// An empty wanted one matches any.
func same(wanted string, is []string) bool {
	return wanted == "" || slices.ContainsFunc(is, func(is string) bool { return wanted == is || place(wanted) == place(is) })
}

// place returns an address or a peer as the lists write it.
func place(s string) string {
	if p, err := core.ParsePeer(s); err == nil {
		return "/p2p/" + p.ID.String()
	}
	if t, err := local.Target(s); err == nil {
		return t.String()
	}
	return s
}

// CloseMatching closes the tunnels that match and returns their number; open streams stay
// open. If the file cannot be written, the tunnels are closed all the same, but a restart
// restores them.
func (t *Tunnels) CloseMatching(m Match) (closed int, err error) {
	if err := m.check(); err != nil {
		return 0, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var errs []error
	ephemeral := true
	t.listeners = slices.DeleteFunc(t.listeners, func(l *listener) bool {
		info := l.info(t)
		if m.Listen != "" || !m.picks(info.ID, info.Protocol, nil, []string{info.Target}) {
			return false
		}
		if l.live != nil {
			errs = append(errs, l.live.Close())
		}
		close(l.gone)
		closed++
		ephemeral = ephemeral && l.spec.Ephemeral
		return true
	})
	t.forwards = slices.DeleteFunc(t.forwards, func(f *forward) bool {
		info := f.info()
		if !m.picks(info.ID, info.Protocol, []string{info.Listen, f.spec.Listen}, []string{info.Target, f.peer}) {
			return false
		}
		if f.live != nil {
			errs = append(errs, f.live.Close())
		}
		close(f.gone)
		closed++
		ephemeral = ephemeral && f.spec.Ephemeral
		return true
	})
	if err := t.save(ephemeral || closed == 0); err != nil {
		errs = append(errs, fmt.Errorf("closed %d, but a restart will restore them: %w", closed, err))
	}
	return closed, errors.Join(errs...)
}
