package main

import (
	"errors"
	"fmt"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/native/stack"
)

// relayFlag is a flag for a relay: a multiaddr that ends in /p2p/<id>, or the URL of its
// page.
type relayFlag string

// UnmarshalText implements encoding.TextUnmarshaler.
func (f *relayFlag) UnmarshalText(text []byte) error {
	*f = relayFlag(text)
	_, _, err := core.ParseRelays([]string{string(text)})
	return err
}

// explain adds what to try to errors at the start.
func explain(err error) error {
	var inUse *stack.InUseError
	if errors.As(err, &inUse) {
		return fmt.Errorf("%w; choose another with --listen", err)
	}
	return err
}
