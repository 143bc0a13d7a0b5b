package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/tombolo-net/tombolo/native/command"
	"github.com/tombolo-net/tombolo/native/datadir"
	"github.com/tombolo-net/tombolo/relay"
)

// tokenCLI makes a token, whether or not the relay runs.
type tokenCLI struct {
	DataDir string        `help:"Data directory of the relay that signs it. Default: ${default}." default:"~/.tombolo-relay" type:"path" placeholder:"DIR"`
	Expires time.Duration `help:"How long it is valid." default:"24h" placeholder:"TIME"`
	Holder  string        `help:"Whom it is for, to know it by; at most 64 bytes." placeholder:"NAME"`
}

func tokenProgram() command.Program {
	return command.Program{
		Name:        "tombolo-relay token",
		Description: "Make a token that admits whoever presents it to a relay with --closed, and to those that have this relay as a --peer, until it expires.",
		EnvPrefix:   "TOMBOLO_RELAY",
		Flags:       &tokenCLI{},
	}
}

func (c *tokenCLI) Run(context.Context) error {
	if c.Expires <= 0 {
		return &command.UsageError{Err: fmt.Errorf("--expires %s is over already", c.Expires)}
	}
	path := filepath.Join(c.DataDir, "identity.key")
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("make token: there is no relay in %s (start it once, or pass its --data-dir)", c.DataDir)
	}
	key, err := datadir.ReadKey(c.DataDir)
	if err != nil {
		return fmt.Errorf("make token: %w", err)
	}
	token, err := relay.Token(key, c.Holder, time.Now().Add(c.Expires))
	if err != nil {
		return err
	}
	_, err = fmt.Println(token)
	return err
}
