package main

import (
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/native/datadir"
)

type idCmd struct {
	dataDirFlag
	outputFlags
}

// Run prints the peer ID. It takes no lock, so it works while a peer runs.
func (c *idCmd) Run() error {
	key, err := datadir.ReadKey(c.DataDir)
	if errors.Is(err, datadir.ErrNoIdentity) {
		return fmt.Errorf("id: %w: run tombolo up --data-dir %s first", err, c.DataDir)
	}
	if err != nil {
		return fmt.Errorf("id: %w", err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return fmt.Errorf("id: %w", err)
	}
	return say(c.outputFlags, map[string]peer.ID{"id": id}, "%s", id)
}

// dataDirFlag is shared by every command that uses a data directory.
type dataDirFlag struct {
	DataDir string `help:"Directory of the identity and of everything that is kept." default:"~/.tombolo" type:"path" placeholder:"DIR"`
}
