package main

import (
	"io/fs"
	"log/slog"
)

// page is the site to serve; nil while there is none.
func page(*slog.Logger) fs.FS { return nil }
