// Command tombolo is a Tombolo peer for the shell.
package main

import (
	"fmt"
	"os"
	"runtime"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/native/command"
)

// cli is the command line. Each command is a struct with a Run method in a file
// of its own.
type cli struct {
	Up      upCmd      `cmd:"" help:"Run a peer in the foreground until interrupted."`
	ID      idCmd      `cmd:"" name:"id" help:"Print the peer id of a data directory."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

func main() {
	program := command.Program{
		Name:        "tombolo",
		Description: "A peer of a Tombolo mesh, which browser tabs and native programs join alike.",
		EnvPrefix:   "TOMBOLO",
		Flags:       &cli{},
		Vars:        map[string]string{"network": core.DefaultNetwork},
	}
	os.Exit(program.Main(os.Args[1:]))
}

type versionCmd struct{}

func (versionCmd) Run() error {
	fmt.Printf("tombolo %s %s %s/%s\n", core.Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}
