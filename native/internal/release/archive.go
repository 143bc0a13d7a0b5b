package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
)

// tarball writes a .tar.gz.
func (r release) tarball(name string, files []file) error {
	b, err := r.tarGz(strings.TrimSuffix(name, ".tar.gz")+"/", files)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, name), b, 0o644)
}

// tarGz returns a .tar.gz of files below a folder, with the folders that contain them.
func (r release) tarGz(folder string, files []file) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b) // without a name or a time
	t := tar.NewWriter(z)
	made := map[string]bool{"./": true, "": true}
	var makeFolder func(string) error
	makeFolder = func(dir string) error {
		if made[dir] {
			return nil
		}
		made[dir] = true
		if err := makeFolder(parent(strings.TrimSuffix(dir, "/"))); err != nil {
			return err
		}
		return t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755, ModTime: r.when, Uname: "root", Gname: "root"})
	}
	for _, f := range files {
		name := folder + f.name
		if err := makeFolder(parent(name)); err != nil {
			return nil, err
		}
		if err := t.WriteHeader(&tar.Header{Name: name, Mode: f.mode, Size: int64(len(f.data)), ModTime: r.when, Uname: "root", Gname: "root"}); err != nil {
			return nil, err
		}
		if _, err := t.Write(f.data); err != nil {
			return nil, err
		}
	}
	if err := t.Close(); err != nil {
		return nil, err
	}
	err := z.Close()
	return b.Bytes(), err
}

// parent returns the folder of a path, with its slash. Unlike path.Dir it keeps a leading
// ./.
func parent(name string) string { return name[:strings.LastIndexByte(name, '/')+1] }

// zip writes a .zip.
func (r release) zip(name string, files []file) error {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, f := range files {
		h := &zip.FileHeader{Name: strings.TrimSuffix(name, ".zip") + "/" + f.name, Method: zip.Deflate, Modified: r.when}
		h.SetMode(os.FileMode(f.mode))
		w, err := z.CreateHeader(h)
		if err != nil {
			return err
		}
		if _, err := w.Write(f.data); err != nil {
			return err
		}
	}
	if err := z.Close(); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, name), b.Bytes(), 0o644)
}
