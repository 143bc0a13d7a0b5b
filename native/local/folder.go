package local

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/native/plainfile"
)

// Folder is a target that serves the files of a folder over HTTP, read-only, with
// types and ranges, and an index.html for a folder that has one. Nothing outside
// of it can be reached, not by links either. What is neither a regular file nor a
// folder is answered with 403: to open a named pipe or a device could take for
// ever.
func Folder(dir string) (bridge.Target, error) {
	if dir == "" {
		return nil, errors.New("target file: names no folder: write one like file:/path")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("target file:%s: %w", dir, err)
	}
	if err := isFolder(abs); err != nil {
		return nil, fmt.Errorf("target file:%s: %w", dir, err)
	}
	return HTTP("file:"+abs, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Opened for each request, so that the folder may be replaced.
		root, err := openFolder(abs)
		if err != nil {
			http.Error(w, "the folder is gone", http.StatusNotFound)
			return
		}
		defer root.Close()
		w.Header().Set("X-Content-Type-Options", "nosniff")
		files := folder{root}
		if !files.serves(r.URL.Path) {
			http.Error(w, "it is neither a file nor a folder", http.StatusForbidden)
			return
		}
		http.FileServerFS(files).ServeHTTP(w, r)
	})), nil
}

func isFolder(path string) error {
	info, err := os.Stat(path)
	if err == nil && !info.IsDir() {
		err = errors.New("it is not a folder")
	}
	return err
}

func openFolder(path string) (*os.Root, error) {
	if err := isFolder(path); err != nil { // os.OpenRoot would wait for a named pipe
		return nil, err
	}
	return os.OpenRoot(path)
}

// folder is the regular files and the folders below a root.
type folder struct{ root *os.Root }

var _ fs.StatFS = folder{}

// serves says whether a path of a request leads to what may be served, or to
// nothing. A folder is not listed in place of an index.html that may not.
func (f folder) serves(request string) bool {
	name := path.Clean("/" + request)[1:]
	for _, name := range []string{name, path.Join(name, "index.html")} {
		info, err := f.Stat(path.Clean(name))
		if errors.Is(err, fs.ErrPermission) || err == nil && !plainfile.Served(info.Mode()) {
			return false
		}
	}
	return true
}

// Stat implements fs.StatFS.
func (f folder) Stat(name string) (fs.FileInfo, error) {
	if !fs.ValidPath(name) || !filepath.IsLocal(filepath.FromSlash(name)) {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrInvalid}
	}
	info, err := f.root.Stat(name)
	return info, leadsAway(err)
}

// leadsAway makes the error of a link that leads out of the folder, or round in a
// circle, one of permission. The first is not the system's, but os.Root's.
func leadsAway(err error) error {
	var system syscall.Errno
	if err != nil && (!errors.As(err, &system) || system == syscall.ELOOP) {
		return fmt.Errorf("%w: %w", fs.ErrPermission, err)
	}
	return err
}

// Open implements fs.FS. It inspects the opened file, because the file of that name may
// have been replaced since the request came.
func (f folder) Open(name string) (fs.File, error) {
	if _, err := f.Stat(name); err != nil {
		return nil, err
	}
	file, err := f.root.OpenFile(name, os.O_RDONLY|plainfile.NoWait, 0)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !plainfile.Served(info.Mode()) {
		err = &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return servedFile{file}, nil
}

// servedFile lists only what is served. A symbolic link is listed, whatever it
// leads to.
type servedFile struct{ *os.File }

var _ fs.ReadDirFile = servedFile{}

// ReadDir implements fs.ReadDirFile.
func (f servedFile) ReadDir(n int) ([]fs.DirEntry, error) {
	entries, err := f.File.ReadDir(n)
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
		return e.Type()&fs.ModeSymlink == 0 && !plainfile.Served(e.Type())
	}), err
}
