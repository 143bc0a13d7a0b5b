//go:build !unix

package datadir

import "testing"

const checksModes = false

func withUmask(t *testing.T, _ int) { t.Skip("this platform has no umask") }
