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

// Folder returns a target that serves the files of a folder over HTTP, read-only, with
// content types and ranges. A folder that contains an index.html is answered with that
// file. Files outside the folder cannot be reached, not even through symbolic links.
// Anything that is neither a regular file nor a folder is answered with 403, because
// opening a named pipe or a device could block for ever. Methods other than GET and HEAD
// are answered with 405, and OPTIONS with the list of these two. If this process may open
// no more files, the answer is 503.
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
	return HTTP("file:"+abs, site(abs)), nil
}

// filesPerRequest is how many files a request has open at most: the root, a folder, and
// the folder's index.html.
const filesPerRequest = 3

// site answers requests for the files of the folder at this path.
type site string

func (dir site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		refuseMethod(w, r)
		return
	}
	if !files.tryAll(filesPerRequest) {
		http.Error(w, "this peer may open no more files now; try again later", http.StatusServiceUnavailable)
		return
	}
	defer files.putAll(filesPerRequest)
	// Opened for each request, so that the folder may be replaced.
	root, err := openFolder(string(dir))
	if err != nil {
		http.Error(w, "the folder is gone", http.StatusNotFound)
		return
	}
	defer root.Close()
	w.Header().Set("X-Content-Type-Options", "nosniff")
	served := folder{root}
	if !served.serves(r.URL.Path) {
		http.Error(w, "it is neither a file nor a folder", http.StatusForbidden)
		return
	}
	http.FileServerFS(served).ServeHTTP(w, r)
}

// refuseMethod answers a method that would change the folder, and OPTIONS, which asks for
// the methods that are answered.
func refuseMethod(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Allow", "GET, HEAD")
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	http.Error(w, "the folder is read-only: only GET and HEAD are answered here", http.StatusMethodNotAllowed)
}

func isFolder(path string) error {
	info, err := os.Stat(path)
	if err == nil && !info.IsDir() {
		err = errors.New("it is not a folder")
	}
	return err
}

func openFolder(path string) (*os.Root, error) {
	if err := isFolder(path); err != nil { // os.OpenRoot would block on a named pipe
		return nil, err
	}
	return os.OpenRoot(path)
}

// folder is a file system of the regular files and the folders below a root.
type folder struct{ root *os.Root }

var _ fs.StatFS = folder{}

// serves reports whether a request path may be served, or does not exist. A folder whose
// index.html may not be served is not listed instead.
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

// Stat implements fs.StatFS. A name need not be UTF-8, as fs.ValidPath wants: a file may
// have any name that the system allows, and is listed under it.
func (f folder) Stat(name string) (fs.FileInfo, error) {
	if !filepath.IsLocal(filepath.FromSlash(name)) {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
	}
	info, err := f.root.Stat(name)
	return info, sorted(err)
}

// sorted gives an error the class that decides the status of the response. A symbolic
// link that points outside the folder, or to itself, is fs.ErrPermission; the former
// error comes from os.Root, and not from the system. A name that no file can have, such
// as one with a zero byte, is fs.ErrNotExist.
func sorted(err error) error {
	if err == nil {
		return nil
	}
	var system syscall.Errno
	switch isSystem := errors.As(err, &system); {
	case !isSystem || system == syscall.ELOOP:
		return fmt.Errorf("%w: %w", fs.ErrPermission, err)
	case system == syscall.EINVAL || system == syscall.ENAMETOOLONG || system == syscall.EILSEQ:
		return fmt.Errorf("%w: %w", fs.ErrNotExist, err)
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

// servedFile lists only what is served. Symbolic links are listed, whatever they point
// to.
type servedFile struct{ *os.File }

var _ fs.ReadDirFile = servedFile{}

// ReadDir implements fs.ReadDirFile.
func (f servedFile) ReadDir(n int) ([]fs.DirEntry, error) {
	entries, err := f.File.ReadDir(n)
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
		return e.Type()&fs.ModeSymlink == 0 && !plainfile.Served(e.Type())
	}), err
}
