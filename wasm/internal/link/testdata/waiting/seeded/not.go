//go:build !snapshot

package seeded

// Again says whether the program is seeded anew.
const Again = false
