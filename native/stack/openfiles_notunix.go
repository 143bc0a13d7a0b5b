//go:build !unix

package stack

import "math"

// openFiles returns how many files and sockets this process may have open; on this system
// there is no limit to ask for.
func openFiles() int { return math.MaxInt32 }
