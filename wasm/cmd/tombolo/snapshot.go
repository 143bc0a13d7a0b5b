//go:build js && snapshot

package main

import _ "github.com/tombolo-net/tombolo/wasm/internal/reseed"
