//go:build !unix

package stack

import "strings"

// isInUse recognises the error by Windows' texts for WSAEADDRINUSE and WSAEACCES.
func isInUse(err error) bool {
	return strings.Contains(err.Error(), "Only one usage of each socket address") ||
		strings.Contains(err.Error(), "forbidden by its access permissions")
}
