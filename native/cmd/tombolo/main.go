// Command tombolo is a Tombolo peer for the shell.
package main

import (
	"os"
	"runtime"

	"github.com/alecthomas/kong"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/native/command"
)

// cli is the command line. Each command is a struct with a Run method, in its own file.
type cli struct {
	Up      upCmd      `cmd:"" help:"Run a peer in the foreground until interrupted: the daemon that the other commands talk to."`
	ID      idCmd      `cmd:"" name:"id" help:"Print the peer ID of a data directory."`
	Doctor  doctorCmd  `cmd:"" help:"Check that the peer works and can be reached, and suggest fixes."`
	Version versionCmd `cmd:"" help:"Print the version."`

	Peers      peersCmd      `cmd:"" group:"Peers" help:"List the connected peers."`
	Connect    connectCmd    `cmd:"" group:"Peers" help:"Connect to a peer."`
	Disconnect disconnectCmd `cmd:"" group:"Peers" help:"Close the connections to a peer."`
	Ping       pingCmd       `cmd:"" group:"Peers" help:"Measure round trips to a peer."`
	Pair       pairCmd       `cmd:"" group:"Peers" help:"Meet a peer by a code that one of you shows and the other types, here or on the relay's page."`
	Bench      benchCmd      `cmd:"" group:"Peers" help:"Measure round trip and throughput to a peer."`

	Listen   listenCmd   `cmd:"" group:"Services" help:"Offer a local service to peers."`
	Forward  forwardCmd  `cmd:"" group:"Services" help:"Forward a local port to a peer's service."`
	Ls       lsCmd       `cmd:"" group:"Services" help:"List listeners and forwards."`
	Close    closeCmd    `cmd:"" group:"Services" help:"Close listeners and forwards. Their open streams stay open."`
	Access   accessCmd   `cmd:"" group:"Services" help:"Change the access list and the limits of a listener."`
	Streams  streamsCmd  `cmd:"" group:"Services" help:"List and close streams."`
	Services servicesCmd `cmd:"" group:"Services" help:"List the services that peers announce."`

	Send      sendCmd      `cmd:"" group:"Messages" help:"Send a message to one peer."`
	Request   requestCmd   `cmd:"" group:"Messages" help:"Send a request to a peer and print the reply: byte for byte to a pipe or file, with control characters escaped to a terminal."`
	Broadcast broadcastCmd `cmd:"" group:"Messages" help:"Send a message to all subscribers of its type."`
	Subscribe subscribeCmd `cmd:"" group:"Messages" help:"Print messages as they arrive, one per line. Data that is not plain text is quoted."`

	Room roomCmd `cmd:"" group:"Rooms" help:"List, host and join rooms, in which many players share a world."`

	VersionFlag kong.VersionFlag `name:"version" help:"Print the version and exit." env:"-"`

	Completion completionCmd `cmd:"" help:"Print the completion script for a shell."`
	Complete   completeCmd   `cmd:"" hidden:"" help:"Print completions (called by the completion scripts)."`
}

func main() {
	program := command.Program{
		Name:        "tombolo",
		Description: "A peer in a mesh of browser tabs and native programs.",
		EnvPrefix:   "TOMBOLO",
		Flags:       &cli{},
		Vars: map[string]string{
			"network":       core.DefaultNetwork,
			"openTimeout":   bridge.DefaultOpenTimeout.String(),
			"targetTimeout": bridge.DefaultTargetTimeout.String(),
			"drainTimeout":  bridge.DefaultDrain.String(),
		},
	}
	os.Exit(program.Main(os.Args[1:]))
}

type versionCmd struct{ outputFlags }

// programVersion is the output of tombolo version --json.
type programVersion struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func (c *versionCmd) Run() error {
	v := programVersion{core.Version(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
	return say(c.outputFlags, v, "%s", command.Version("tombolo"))
}
