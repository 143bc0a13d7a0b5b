//go:build unix

package plainfile

import "syscall"

// NoWait is a flag for os.OpenFile. It keeps the call from waiting for the writer of a
// named pipe, and from making a terminal this process's controlling terminal.
const NoWait = syscall.O_NONBLOCK | syscall.O_NOCTTY
