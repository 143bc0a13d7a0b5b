//go:build js

package jsapi

import (
	"errors"
	"fmt"
	"log/slog"
	"syscall/js"

	"github.com/libp2p/go-libp2p/core/crypto"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/direct"
	"github.com/tombolo-net/tombolo/wasm"
	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
	"github.com/tombolo-net/tombolo/wasm/webrtc"
)

// optionNames are the options of createNode.
var optionNames = []string{"direct", "histories", "identity", "log", "network", "relays", "token", "transports"}

// optionError adds the name of the option to err.
func optionError(name string, err error) error { return fmt.Errorf("option %s: %w", name, err) }

// kept says which parts of a node are stored in IndexedDB.
type kept struct{ identity, histories bool }

// parseOptions reads the argument of createNode. An error names the option.
func parseOptions(raw js.Value) (opts wasm.Options, keep kept, err error) {
	o, err := readOptions(raw, optionNames...)
	if err != nil {
		return opts, keep, err
	}
	if opts.Identity, keep.identity, err = parseIdentity(o); err != nil {
		return opts, keep, err
	}
	if keep.histories, err = parseHistories(o); err != nil {
		return opts, keep, err
	}
	if keep.histories && !keep.identity {
		return opts, keep, optionError("histories", errors.New(`they can be "persistent" where the identity is, too`))
	}
	if opts.Logger, err = parseLog(o); err != nil {
		return opts, keep, err
	}
	if opts.Network, err = o.words("network", "a name"); err != nil {
		return opts, keep, err
	}
	if opts.Token, err = o.words("token", "a token of the relays' operator"); err != nil {
		return opts, keep, err
	}
	if opts.Direct, err = parseDirect(o); err != nil {
		return opts, keep, err
	}
	relays, err := o.strings("relays", relaysWanted)
	if err != nil {
		return opts, keep, err
	}
	if opts.Relays, opts.RelayURLs, err = core.ParseRelays(relays); err != nil {
		return opts, keep, optionError("relays", err)
	}
	if opts.Transports, err = o.strings("transports", `an array of "webtransport", "websocket" and "webrtc-direct"`); err != nil {
		return opts, keep, err
	}
	if err := wasm.CheckTransports(opts.Transports); err != nil {
		return opts, keep, optionError("transports", err)
	}
	return opts, keep, nil
}

const relaysWanted = "an array of URLs and multiaddrs"

// maxKey bounds a private key, in bytes: an RSA key of 8192 bits has 5 KB.
const maxKey = 64 << 10

func parseIdentity(o options) (key crypto.PrivKey, persistent bool, err error) {
	switch name, _ := jsio.Text(o["identity"]); {
	case !o.given("identity"), name == "ephemeral":
		return nil, false, nil
	case name == "persistent":
		return nil, true, nil
	}
	b, err := bytesArgument(o["identity"], "option identity", `"persistent", "ephemeral" or a Uint8Array with a libp2p private key`, maxKey)
	if err != nil {
		return nil, false, err
	}
	if key, err = crypto.UnmarshalPrivateKey(b); err != nil {
		return nil, false, optionError("identity", fmt.Errorf("not a libp2p private key: %w", err))
	}
	return key, false, nil
}

func parseHistories(o options) (persistent bool, err error) {
	switch name, _ := jsio.Text(o["histories"]); {
	case !o.given("histories"), name == "memory":
		return false, nil
	case name == "persistent":
		return true, nil
	}
	return false, o.bad("histories", `"persistent" or "memory"`)
}

func parseDirect(o options) (auto bool, err error) {
	if o.given("direct") {
		name, _ := jsio.Text(o["direct"])
		if auto, err = direct.ParseMode(name); err != nil || name == "" {
			return false, o.bad("direct", `"auto" or "never"`)
		}
	}
	return auto && webrtc.Available(), nil // without WebRTC, connections stay on the relay
}

func parseLog(o options) (*slog.Logger, error) {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	name := "warn"
	if o.given("log") {
		name, _ = jsio.Text(o["log"])
	}
	if name == "off" {
		return slog.New(slog.DiscardHandler), nil
	}
	if level, ok := levels[name]; ok {
		return slog.New(NewConsoleHandler(level)), nil
	}
	return nil, o.bad("log", `"debug", "info", "warn", "error" or "off"`)
}
