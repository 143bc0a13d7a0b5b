// Package web holds the page, the npm package @tombolo/node and the tests that
// run in a browser; all of that is TypeScript. As a Go package it only embeds
// the page as built into dist/site, for the relay to serve.
package web

import (
	"embed"
	"errors"
	"io/fs"
)

// dist/site is there in a fresh clone too, with nothing but its .gitignore.
//
//go:embed all:dist/site
var dist embed.FS

// ErrNotBuilt is returned by Site from a program that was built before the
// page was.
var ErrNotBuilt = errors.New("this binary was built without the page: `make build` builds both")

// Site is the built page, with index.html at its root.
//
// Beside each file of more than 1 KiB lie its compressed forms, name.br and
// name.gz. tombolo.wasm is there in these forms only. The names under assets/
// contain a hash of their content. The only other files are index.html,
// gateway-sw.js with gateway.html, which the gateway expects at these names,
// shell-sw.js, by which the page opens offline, and manifest.webmanifest with
// its icons, by which it is installed.
func Site() (fs.FS, error) {
	site, err := fs.Sub(dist, "dist/site")
	if err != nil {
		return nil, err
	}
	if _, err := fs.Stat(site, "index.html"); err != nil {
		return nil, ErrNotBuilt
	}
	return site, nil
}
