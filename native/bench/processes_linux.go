package main

import (
	"os/exec"
	"syscall"
)

// dieWithUs makes the system kill the program if this one dies without stopping it.
func dieWithUs(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
