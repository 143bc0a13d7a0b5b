package main

import (
	"os/exec"
	"syscall"
)

// dieWithUs has the system end the program if this one dies without doing so.
func dieWithUs(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
