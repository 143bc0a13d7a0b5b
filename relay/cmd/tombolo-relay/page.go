package main

import (
	"io/fs"
	"os"

	"github.com/tombolo-net/tombolo/web"
)

// site returns the page to serve: nil if there is none, with an error if it is missing.
func (c *cli) site() (fs.FS, error) {
	switch {
	case c.NoPage:
		return nil, nil
	case c.Page != "":
		return folder(c.Page), nil
	}
	return web.Site()
}

// folder returns the directory dir, or nil for "".
func folder(dir string) fs.FS {
	if dir == "" {
		return nil
	}
	return directory(dir)
}

// directory is looked up by its name for each request, so that it may be replaced. Files
// outside it cannot be reached, not even through symbolic links.
type directory string

var _ fs.StatFS = directory("")

func (d directory) Open(name string) (fs.File, error) {
	f, err := os.OpenInRoot(string(d), name)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Stat does not open the file, because that would block on a named pipe.
func (d directory) Stat(name string) (fs.FileInfo, error) {
	root, err := os.OpenRoot(string(d))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.Stat(name)
}
