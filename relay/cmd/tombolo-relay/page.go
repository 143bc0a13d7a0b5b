package main

import (
	"io/fs"
	"log/slog"

	"github.com/tombolo-net/tombolo/web"
)

// page is the site to serve; nil if this binary was built without it.
func page(log *slog.Logger) fs.FS {
	site, err := web.Site()
	if err != nil {
		log.Warn("there is no page to serve", "error", err)
		return nil
	}
	return site
}
