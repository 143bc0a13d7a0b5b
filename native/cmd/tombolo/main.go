// Command tombolo is a Tombolo peer for the shell.
package main

import (
	"os"
	"runtime"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/native/command"
)

// cli is the command line. Each command is a struct with a Run method in a file
// of its own.
type cli struct {
	Up      upCmd      `cmd:"" help:"Run a peer in the foreground until interrupted: the daemon that the other commands speak to."`
	ID      idCmd      `cmd:"" name:"id" help:"Print the peer id of a data directory."`
	Doctor  doctorCmd  `cmd:"" help:"Check that the peer works and can be reached, and say what to do."`
	Version versionCmd `cmd:"" help:"Print the version."`

	Peers      peersCmd      `cmd:"" group:"Peers" help:"List the connected peers."`
	Connect    connectCmd    `cmd:"" group:"Peers" help:"Connect to a peer."`
	Disconnect disconnectCmd `cmd:"" group:"Peers" help:"Close the connections to a peer."`
	Ping       pingCmd       `cmd:"" group:"Peers" help:"Measure round trips to a peer."`
	Bench      benchCmd      `cmd:"" group:"Peers" help:"Measure round trip and throughput to a peer."`

	Listen   listenCmd   `cmd:"" group:"Services" help:"Offer a local service to peers."`
	Forward  forwardCmd  `cmd:"" group:"Services" help:"Lead local connections to a peer's service."`
	Ls       lsCmd       `cmd:"" group:"Services" help:"List listeners and forwards."`
	Close    closeCmd    `cmd:"" group:"Services" help:"Close listeners and forwards; their live streams go on."`
	Access   accessCmd   `cmd:"" group:"Services" help:"Change who may use a listener, and how much."`
	Streams  streamsCmd  `cmd:"" group:"Services" help:"List and close streams."`
	Services servicesCmd `cmd:"" group:"Services" help:"List what peers offer."`

	Send      sendCmd      `cmd:"" group:"Messages" help:"Send a message to one peer."`
	Request   requestCmd   `cmd:"" group:"Messages" help:"Ask a peer and print its reply: to a pipe or file byte for byte, to a terminal with control characters escaped."`
	Broadcast broadcastCmd `cmd:"" group:"Messages" help:"Send a message to all that subscribe to its type."`
	Subscribe subscribeCmd `cmd:"" group:"Messages" help:"Print messages as they come, each on one line; data that is no plain text is quoted."`

	Room roomCmd `cmd:"" group:"Rooms" help:"List, hold and join rooms, in which many play at once."`

	Completion completionCmd `cmd:"" help:"Print the script that completes commands in a shell."`
	Complete   completeCmd   `cmd:"" hidden:"" help:"What the completion scripts call."`
}

func main() {
	program := command.Program{
		Name:        "tombolo",
		Description: "A peer of a Tombolo mesh, which browser tabs and native programs join alike.",
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

// programVersion is what tombolo version --json prints.
type programVersion struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func (c *versionCmd) Run() error {
	v := programVersion{core.Version(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
	return say(c.outputFlags, v, "tombolo %s %s %s", v.Version, v.Go, v.Platform)
}
