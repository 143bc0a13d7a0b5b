//go:build !unix

package stack

import "math"

// openFiles is how many files and sockets this process may have open; here
// there is no limit to ask for.
func openFiles() int { return math.MaxInt32 }
