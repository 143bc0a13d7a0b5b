//go:build !linux

package e2e

import "testing"

// fullListener works on Linux only: elsewhere the queue of a listener fills differently.
func fullListener(t *testing.T) string {
	t.Helper()
	t.Skip("a listener whose queue is full is made on Linux only")
	return ""
}
