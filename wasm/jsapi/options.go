//go:build js

package jsapi

import (
	"errors"
	"fmt"
	"log/slog"
	"syscall/js"

	"github.com/libp2p/go-libp2p/core/crypto"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/wasm"
	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

// optionNames are all that createNode takes.
var optionNames = []string{"histories", "identity", "log", "network", "relays", "transports"}

// optionError says which option was wrong.
func optionError(name string, err error) error { return fmt.Errorf("option %s: %w", name, err) }

// kept says what a node keeps in IndexedDB.
type kept struct{ identity, histories bool }

// parseOptions reads the argument of createNode. An error names the option.
func parseOptions(raw js.Value) (opts wasm.Options, keep kept, err error) {
	if raw.IsUndefined() {
		raw = js.Global().Get("Object").New()
	}
	if err := checkOptions(raw, optionNames...); err != nil {
		return opts, keep, err
	}
	if opts.Identity, keep.identity, err = parseIdentity(raw.Get("identity")); err != nil {
		return opts, keep, err
	}
	if keep.histories, err = parseHistories(raw.Get("histories")); err != nil {
		return opts, keep, err
	}
	if keep.histories && !keep.identity {
		return opts, keep, optionError("histories", errors.New(`they can be "persistent" where the identity is, too`))
	}
	if opts.Logger, err = parseLog(raw.Get("log")); err != nil {
		return opts, keep, err
	}
	if v := raw.Get("network"); !v.IsUndefined() {
		if v.Type() != js.TypeString || v.String() == "" {
			return opts, keep, &jsio.ArgumentError{Name: "option network", Want: "a name", Got: v}
		}
		opts.Network = v.String()
	}
	relays, err := parseStrings("relays", "an array of multiaddrs", raw.Get("relays"))
	if err != nil {
		return opts, keep, err
	}
	if opts.Relays, err = core.ParsePeers(relays); err != nil {
		return opts, keep, optionError("relays", err)
	}
	if opts.Transports, err = parseStrings("transports", `an array of "webtransport" and "websocket"`, raw.Get("transports")); err != nil {
		return opts, keep, err
	}
	if err := wasm.CheckTransports(opts.Transports); err != nil {
		return opts, keep, optionError("transports", err)
	}
	return opts, keep, nil
}

func parseStrings(name, want string, v js.Value) ([]string, error) {
	if v.IsUndefined() {
		return nil, nil
	}
	bad := func(got js.Value) ([]string, error) {
		return nil, &jsio.ArgumentError{Name: "option " + name, Want: want, Got: got}
	}
	if !isArray(v) {
		return bad(v)
	}
	list := make([]string, v.Length())
	for i := range list {
		item := v.Index(i)
		if item.Type() != js.TypeString {
			return bad(item)
		}
		list[i] = item.String()
	}
	return list, nil
}

func parseIdentity(v js.Value) (key crypto.PrivKey, persistent bool, err error) {
	switch {
	case v.IsUndefined(), v.Type() == js.TypeString && v.String() == "ephemeral":
		return nil, false, nil
	case v.Type() == js.TypeString && v.String() == "persistent":
		return nil, true, nil
	case jsio.IsBytes(v):
		key, err := crypto.UnmarshalPrivateKey(jsio.Bytes(v))
		if err != nil {
			return nil, false, optionError("identity", fmt.Errorf("not a libp2p private key: %w", err))
		}
		return key, false, nil
	}
	return nil, false, &jsio.ArgumentError{Name: "option identity", Want: `"persistent", "ephemeral" or a Uint8Array with a libp2p private key`, Got: v}
}

func parseHistories(v js.Value) (persistent bool, err error) {
	switch {
	case v.IsUndefined(), v.Type() == js.TypeString && v.String() == "memory":
		return false, nil
	case v.Type() == js.TypeString && v.String() == "persistent":
		return true, nil
	}
	return false, &jsio.ArgumentError{Name: "option histories", Want: `"persistent" or "memory"`, Got: v}
}

func parseLog(v js.Value) (*slog.Logger, error) {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	if v.IsUndefined() {
		v = js.ValueOf("warn")
	}
	if v.Type() == js.TypeString {
		if v.String() == "off" {
			return slog.New(slog.DiscardHandler), nil
		}
		if level, ok := levels[v.String()]; ok {
			return slog.New(NewConsoleHandler(level)), nil
		}
	}
	return nil, &jsio.ArgumentError{Name: "option log", Want: `"debug", "info", "warn", "error" or "off"`, Got: v}
}
