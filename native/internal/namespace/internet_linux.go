package namespace

import (
	_ "embed"
	"fmt"
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Internet is a setup for In: a network of public addresses in which the test is at 5.0.0.1
// and other machines can be behind routers.
//
//go:embed internet.sh
var Internet string

//go:embed router.sh
var behindRouter string

// Ports says which ports the peers of a machine behind a router see.
type Ports string

const (
	Kept   Ports = "kept"   // its own
	Random Ports = "random" // another one for each peer: the router is symmetric
)

// BehindRouter makes a network behind its own router to the internet and returns the
// command prefix that runs a program in it. number is used in its addresses; it must be
// unique and at least 2.
func BehindRouter(t *testing.T, number int, ports Ports) (in []string) {
	t.Helper()
	router, machine := hold(t), hold(t)
	Do(t, fmt.Sprintf("N=%d ROUTER=%s MACHINE=%s PORTS=%s\n", number, router, machine, ports)+behindRouter)
	return []string{"nsenter", "-t", machine, "-n"}
}

// hold starts a process that keeps a separate network alive.
func hold(t *testing.T) (pid string) {
	t.Helper()
	cmd := exec.Command("sleep", "infinity")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return strconv.Itoa(cmd.Process.Pid)
}
