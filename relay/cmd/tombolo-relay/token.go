package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tombolo-net/tombolo/native/command"
	"github.com/tombolo-net/tombolo/native/datadir"
	"github.com/tombolo-net/tombolo/relay"
)

// tokenCLI is the command line of the commands about tokens.
type tokenCLI struct {
	operated

	Make    makeTokenCmd `cmd:"" default:"withargs" help:"Make a token, whether or not the relay runs."`
	Revoke  revokeCmd    `cmd:"" help:"Refuse a token from now on, and close the connections of those that the relay has let in with it."`
	Revoked revokedCmd   `cmd:"" help:"List the tokens that are revoked and have not expired."`
}

func tokenProgram() command.Program {
	return command.Program{
		Name:        "tombolo-relay token",
		Description: "Make a token that admits whoever presents it to a relay with --closed, and to those that have this relay as a --peer, until it expires or is revoked there.",
		EnvPrefix:   "TOMBOLO_RELAY",
		Flags:       &tokenCLI{},
	}
}

// makeTokenCmd makes a token. It prints the token on standard output, and its ID on
// standard error.
type makeTokenCmd struct {
	Expires time.Duration `help:"How long it is valid." default:"24h" placeholder:"TIME"`
	Holder  string        `help:"Whom it is for, to know it by; at most 64 bytes." placeholder:"NAME"`
}

func (c *makeTokenCmd) Run(_ context.Context, t *tokenCLI) error {
	if c.Expires <= 0 {
		return &command.UsageError{Err: fmt.Errorf("--expires %s is over already", c.Expires)}
	}
	path := filepath.Join(t.DataDir, "identity.key")
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("make token: there is no relay in %s (start it once, or pass its --data-dir)", t.DataDir)
	}
	key, err := datadir.ReadKey(t.DataDir)
	if err != nil {
		return fmt.Errorf("make token: %w", err)
	}
	expires := time.Now().Add(c.Expires)
	token, err := relay.Token(key, c.Holder, expires)
	if err != nil {
		return err
	}
	id, err := relay.TokenID(token)
	if err != nil {
		return err
	}
	if _, err = fmt.Println(token); err != nil {
		return err
	}
	return command.Line(os.Stderr, "id %s, expires %s; to take it back: tombolo-relay token revoke %s", id, expires.UTC().Format(time.RFC3339), id)
}

// revokeCmd revokes a token.
type revokeCmd struct {
	ID string `arg:"" help:"ID of the token, or the token itself."`
}

func (c *revokeCmd) Run(ctx context.Context, t *tokenCLI) error {
	id := c.ID
	if strings.HasPrefix(id, "tr1.") {
		var err error
		if id, err = relay.TokenID(id); err != nil {
			return fmt.Errorf("revoke token: %w", err)
		}
	}
	_, err := t.ask(ctx, http.MethodPost, "revoke", url.Values{"who": {id}})
	return err
}

// revokedCmd lists the revoked tokens.
type revokedCmd struct{ listing }

func (c *revokedCmd) Run(ctx context.Context, t *tokenCLI) error {
	body, err := t.ask(ctx, http.MethodGet, "revoked", nil)
	if err != nil {
		return err
	}
	return print(c.listing, body, "TOKEN\tEXPIRES", nil, func(r relay.RevokedToken) string {
		return fmt.Sprintf("%s\t%s", r.ID, r.Expires.UTC().Format(time.RFC3339))
	})
}
