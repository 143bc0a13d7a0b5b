// Package tunnels manages the listeners and forwards of a daemon. Those that are not
// ephemeral survive its restart, and its crash, in a file of the data directory.
//
// A tunnel that cannot be set up at a start, for example because its port is taken or its
// folder is missing, stays in the file and in the lists, with the reason, and is retried
// until it succeeds or is closed. An entry of the file that cannot be parsed stays in the
// same way, and is read again at the next start.
package tunnels

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/native/local"
)

// Waits between two attempts to set up tunnels.
const (
	retryFirst = time.Second
	retryLast  = 30 * time.Second
)

// bindTimeout bounds how long the name of a host may take to be looked up, before a
// forward listens there.
const bindTimeout = 10 * time.Second

// ListenSpec is the configuration of a listener, as given and stored.
type ListenSpec struct {
	Protocol protocol.ID `json:"protocol"`
	Target   string      `json:"target"` // see local.Target
	bridge.ListenConfig
	Ephemeral bool `json:"ephemeral,omitempty"` // it is not restored after a restart
}

// ForwardSpec is the configuration of a forward, as given and stored.
type ForwardSpec struct {
	Protocol       protocol.ID `json:"protocol"`
	Listen         string      `json:"listen"` // see local.Listen
	Peer           string      `json:"peer"`   // see ResolvePeer
	CustomProtocol bool        `json:"allowCustomProtocol,omitempty"`
	Ephemeral      bool        `json:"ephemeral,omitempty"` // it is not restored after a restart
}

// Listener is a listener and its state.
type Listener struct {
	bridge.ListenerInfo      // its ID is 0 while it waits
	Ephemeral           bool `json:"ephemeral,omitempty"`
	// Waiting is the reason why the tunnel could not be set up; it is retried.
	Waiting string `json:"waiting,omitempty"`
}

// Forward is a forward and its state.
type Forward struct {
	bridge.ForwardInfo      // its ID is 0 while it waits
	Ephemeral          bool `json:"ephemeral,omitempty"`
	// Waiting is the reason why the tunnel could not be set up; it is retried.
	Waiting string `json:"waiting,omitempty"`
}

// List has every tunnel.
type List struct {
	Listeners []Listener `json:"listeners"`
	Forwards  []Forward  `json:"forwards"`
}

// Tunnels manages the listeners and forwards of a daemon. All methods may be called
// concurrently.
type Tunnels struct {
	node *core.Node
	dir  string
	log  *slog.Logger
	stop context.CancelFunc
	done sync.WaitGroup

	resolve func(context.Context, string) (peer.AddrInfo, error)   // ResolvePeer
	listen  func(context.Context, string) (bridge.Acceptor, error) // local.Listen

	mu        sync.Mutex // held during a change, including its write to the file
	listeners []*listener
	forwards  []*forward
	stuck     chan struct{} // holds a token if a tunnel waits
}

type listener struct {
	spec ListenSpec
	live *bridge.Listener // nil while it waits
	err  error            // why it waits
	gone chan struct{}    // closed when it is
	raw  json.RawMessage  // set if the entry in the file cannot be parsed: it is kept as it is
}

type forward struct {
	spec ForwardSpec
	peer string          // as it was given; empty while it waits
	live *bridge.Forward // nil while it waits
	err  error           // why it waits
	gone chan struct{}   // closed when it is
	raw  json.RawMessage // set if the entry in the file cannot be parsed: it is kept as it is
}

// Open sets up the tunnels of the file in dir on the node. If the file is damaged, the
// error is a *DamagedError: nothing is set up, and the file is not changed.
func Open(ctx context.Context, node *core.Node, dir string, log *slog.Logger) (*Tunnels, error) {
	return open(ctx, node, dir, log, ResolvePeer, local.Listen)
}

func open(ctx context.Context, node *core.Node, dir string, log *slog.Logger,
	resolve func(context.Context, string) (peer.AddrInfo, error), listen func(context.Context, string) (bridge.Acceptor, error),
) (*Tunnels, error) {
	t := &Tunnels{node: node, dir: dir, log: log, resolve: resolve, listen: listen, stuck: make(chan struct{}, 1)}
	var err error
	if t.listeners, t.forwards, err = read(dir); err != nil {
		return nil, err
	}
	for _, l := range t.listeners {
		t.tried(ctx, "listener", l.spec.Protocol, new(error), l.err)
	}
	for _, f := range t.forwards {
		t.tried(ctx, "forward", f.spec.Protocol, new(error), f.err)
	}
	t.setUp(ctx)
	running, stop := context.WithCancel(context.Background())
	t.stop = stop
	t.done.Go(func() { t.retry(running) })
	return t, nil
}

// Close stops the retries. The tunnels themselves end with the node.
func (t *Tunnels) Close() error {
	t.stop()
	t.done.Wait()
	return nil
}

// retry tries at intervals to set up the tunnels that wait.
func (t *Tunnels) retry(ctx context.Context) {
	wait := retryFirst
	for {
		select {
		case <-t.stuck:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		if t.setUp(ctx) {
			wait = retryFirst
		} else {
			wait = min(2*wait, retryLast)
		}
	}
}

// setUp tries every tunnel that waits, and reports whether all succeeded, except those
// whose entry cannot be parsed.
func (t *Tunnels) setUp(ctx context.Context) bool {
	ready := t.prepare(ctx)
	t.mu.Lock()
	defer t.mu.Unlock()
	all := true
	for _, l := range t.listeners {
		if l.live == nil && l.raw == nil {
			err := t.startListener(ctx, l)
			all = t.tried(ctx, "listener", l.spec.Protocol, &l.err, err) && all
		}
	}
	for _, f := range t.forwards {
		if found, ok := ready[f]; ok {
			delete(ready, f)
			err := found.err
			if err == nil {
				err = t.startForward(ctx, f, found)
			}
			all = t.tried(ctx, "forward", f.spec.Protocol, &f.err, err) && all
		}
	}
	for _, found := range ready { // their forwards have been closed meanwhile
		if found.from != nil {
			_ = found.from.Close()
		}
	}
	if !all {
		select {
		case t.stuck <- struct{}{}:
		default:
		}
	}
	return all
}

// found is what a forward needs before it is registered.
type found struct {
	peer peer.AddrInfo
	from bridge.Acceptor
	err  error
}

// prepare resolves the peers of the forwards that wait, and listens for them.
func (t *Tunnels) prepare(ctx context.Context) map[*forward]*found {
	ready := make(map[*forward]*found)
	var lookups sync.WaitGroup
	t.mu.Lock()
	for _, f := range t.forwards {
		if f.live == nil && f.raw == nil {
			spec, result := f.spec, new(found)
			ready[f] = result
			lookups.Go(func() { *result = t.find(ctx, spec) })
		}
	}
	t.mu.Unlock()
	lookups.Wait()
	return ready
}

// find resolves the peer of a forward, and listens. The mutex must not be held, because a
// name server may take long to answer, and access is revoked under the mutex.
func (t *Tunnels) find(ctx context.Context, spec ForwardSpec) (f found) {
	if f.peer, f.err = t.resolve(ctx, spec.Peer); f.err != nil {
		f.err = fmt.Errorf("forward %s: %w", spec.Protocol, f.err)
		return f
	}
	if err := bridge.CheckName(spec.Protocol, spec.CustomProtocol); err != nil {
		f.err = fmt.Errorf("forward: %w", err) // before a port is used
		return f
	}
	ctx, cancel := context.WithTimeout(ctx, bindTimeout)
	defer cancel()
	if f.from, f.err = t.listen(ctx, spec.Listen); f.err != nil {
		f.err = fmt.Errorf("forward %s: %w", spec.Protocol, f.err)
	}
	return f
}

func (t *Tunnels) tried(ctx context.Context, kind string, proto protocol.ID, last *error, err error) bool {
	if err != nil && ctx.Err() == nil && (*last == nil || (*last).Error() != err.Error()) {
		t.log.Warn("a tunnel could not be set up; it is tried again until it can or is closed", "kind", kind, "protocol", proto, "error", err)
	}
	if err == nil && *last != nil {
		t.log.Info("a tunnel could be set up at last", "kind", kind, "protocol", proto)
	}
	*last = err
	return err == nil
}

func (t *Tunnels) startListener(ctx context.Context, l *listener) error {
	target, err := local.Target(l.spec.Target)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", l.spec.Protocol, err)
	}
	l.spec.Target = target.String()
	l.live, err = t.node.Listen(ctx, l.spec.Protocol, target, bridge.With(l.spec.ListenConfig))
	return err
}

// startForward registers a forward. It closes the acceptor if it fails.
func (t *Tunnels) startForward(ctx context.Context, f *forward, found *found) error {
	var opts []bridge.ForwardOption
	if f.spec.CustomProtocol {
		opts = append(opts, bridge.ToCustomProtocol)
	}
	to := found.peer
	live, err := t.node.Forward(ctx, f.spec.Protocol, found.from, to.ID, opts...)
	if err != nil {
		return errors.Join(err, found.from.Close())
	}
	t.node.Host().Peerstore().AddAddrs(to.ID, to.Addrs, peerstore.PermanentAddrTTL)
	f.live = live
	// The name of a host stays, so that close finds the forward by it. A port that the
	// system picked (Target refuses port 0) is the same after a restart.
	if given, err := local.Target(f.spec.Listen); err == nil {
		f.spec.Listen = given.String()
	} else {
		f.spec.Listen = live.Addr()
	}
	f.peer = f.spec.Peer
	if len(to.Addrs) > 0 {
		// And the same peer, even if its name later resolves to another.
		f.spec.Peer = to.Addrs[0].String() + "/p2p/" + to.ID.String()
	}
	return nil
}

// Listen sets up a listener and, unless it is ephemeral, writes it to the file. If either
// fails, there is no listener. gone is closed when the listener has been closed.
func (t *Tunnels) Listen(ctx context.Context, spec ListenSpec) (info Listener, gone <-chan struct{}, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if slices.ContainsFunc(t.listeners, func(l *listener) bool { return l.spec.Protocol == spec.Protocol }) {
		return info, nil, fmt.Errorf("listen on %s: %w", spec.Protocol, bridge.ErrRegistered)
	}
	l := &listener{spec: spec, gone: make(chan struct{})}
	if err := t.startListener(ctx, l); err != nil {
		return info, nil, err
	}
	t.listeners = append(t.listeners, l)
	if err := t.save(spec.Ephemeral); err != nil {
		t.listeners = t.listeners[:len(t.listeners)-1]
		return info, nil, errors.Join(fmt.Errorf("listen on %s: %w", spec.Protocol, err), l.live.Close())
	}
	return l.info(t), l.gone, nil
}

// Forward sets up a forward and, unless it is ephemeral, writes it to the file. If either
// fails, there is no forward. gone is closed when the forward has been closed.
func (t *Tunnels) Forward(ctx context.Context, spec ForwardSpec) (info Forward, gone <-chan struct{}, err error) {
	found := t.find(ctx, spec)
	if found.err != nil {
		return info, nil, found.err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	f := &forward{spec: spec, gone: make(chan struct{})}
	if err := t.startForward(ctx, f, &found); err != nil {
		return info, nil, err
	}
	t.forwards = append(t.forwards, f)
	if err := t.save(spec.Ephemeral); err != nil {
		t.forwards = t.forwards[:len(t.forwards)-1]
		return info, nil, errors.Join(fmt.Errorf("forward %s: %w", spec.Protocol, err), f.live.Close())
	}
	return f.info(), f.gone, nil
}

// ErrNoListener is returned by Update for a protocol without a listener.
var ErrNoListener = errors.New("there is no listener of that protocol")

// Update changes which peers may use a listener, and its limits, from the next stream on.
func (t *Tunnels) Update(proto protocol.ID, f func(*bridge.Access, *bridge.Limits) error) (Listener, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.IndexFunc(t.listeners, func(l *listener) bool { return l.spec.Protocol == proto })
	if i < 0 {
		return Listener{}, fmt.Errorf("%s: %w", proto, ErrNoListener)
	}
	l := t.listeners[i]
	if l.raw != nil {
		return Listener{}, fmt.Errorf("update %s: %w; mend the file, or close the listener", proto, l.err)
	}
	access := bridge.Access{Allow: slices.Clone(l.spec.Access.Allow), Deny: slices.Clone(l.spec.Access.Deny)}
	limits := l.spec.Limits
	if err := f(&access, &limits); err != nil {
		return Listener{}, err
	}
	changed := l.spec.ListenConfig
	changed.Access, changed.Limits = access, limits
	if err := changed.Check(); err != nil { // also for a listener that waits
		return Listener{}, fmt.Errorf("update %s: %w", proto, err)
	}
	before := l.spec
	l.spec.ListenConfig = changed
	// Write the file first: a revoked permission must not return after a restart.
	if err := t.save(l.spec.Ephemeral); err != nil {
		l.spec = before
		return Listener{}, fmt.Errorf("update %s: %w", proto, err)
	}
	if l.live != nil {
		if err := l.live.Update(func(a *bridge.Access, m *bridge.Limits) { *a, *m = access, limits }); err != nil {
			l.spec = before
			return Listener{}, errors.Join(err, t.save(l.spec.Ephemeral))
		}
	}
	return l.info(t), nil
}

// List returns every tunnel: listeners sorted by protocol, forwards oldest first.
func (t *Tunnels) List() List {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := List{Listeners: make([]Listener, 0, len(t.listeners)), Forwards: make([]Forward, 0, len(t.forwards))}
	for _, l := range t.listeners {
		list.Listeners = append(list.Listeners, l.info(t))
	}
	for _, f := range t.forwards {
		list.Forwards = append(list.Forwards, f.info())
	}
	slices.SortFunc(list.Listeners, func(a, b Listener) int { return cmp.Compare(a.Protocol, b.Protocol) })
	return list
}

func (l *listener) info(t *Tunnels) Listener {
	info := Listener{Ephemeral: l.spec.Ephemeral}
	if l.live != nil {
		info.ListenerInfo = l.live.Info()
		return info
	}
	info.ListenerInfo = bridge.ListenerInfo{Protocol: l.spec.Protocol, Listen: "/p2p/" + t.node.ID().String(), Target: l.spec.Target,
		ListenConfig: l.spec.ListenConfig}
	info.Waiting = l.err.Error()
	return info
}

func (f *forward) info() Forward {
	info := Forward{Ephemeral: f.spec.Ephemeral}
	if f.live != nil {
		info.ForwardInfo = f.live.Info()
		return info
	}
	info.ForwardInfo = bridge.ForwardInfo{Protocol: f.spec.Protocol, Listen: f.spec.Listen, Target: f.spec.Peer}
	if to, err := core.ParsePeer(f.spec.Peer); err == nil {
		info.Peer, info.Target = to.ID, "/p2p/"+to.ID.String()
	}
	info.Waiting = f.err.Error()
	return info
}
