//go:build snapshot

// Package seeded has the program seeded anew.
package seeded

import _ "github.com/tombolo-net/tombolo/wasm/internal/reseed"

// Again says whether it is.
const Again = true
