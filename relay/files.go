package relay

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"
)

// files serves a site whose files may be stored compressed, as name.br and name.gz; large
// ones may be stored only so. Each is sent as it is stored: decompressing the page's
// program for a single request would cost 0.15 s.
type files struct {
	fs    fs.FS
	known map[string]*file // by path, without a leading slash; nil if there is no site
}

// file is one resource, in each form that is stored.
type file struct {
	contentType  string
	cacheControl string
	forms        map[string]form // by content coding; "" is the file as it is
}

type form struct {
	path     string
	size     int64
	modified time.Time
	etag     string
}

const indexFile = "index.html"

// A client that does not read writeStep bytes within writeStepTime has left, or is
// hostile.
const (
	writeStep     = 64 << 10
	writeStepTime = 30 * time.Second
)

func newFiles(site fs.FS) (*files, error) {
	f := &files{fs: site}
	if site == nil {
		return f, nil
	}
	f.known = make(map[string]*file)
	err := fs.WalkDir(site, ".", func(p string, d fs.DirEntry, err error) error {
		switch hidden := strings.HasPrefix(d.Name(), ".") && p != "."; {
		case err != nil:
			return err
		case hidden && d.IsDir(): // .git
			return fs.SkipDir
		case hidden || d.IsDir():
			return nil
		}
		return f.add(p)
	})
	if err == nil && f.known[indexFile] == nil {
		err = errors.New("it has no " + indexFile)
	}
	return f, err
}

func (f *files) add(p string) error {
	info, err := fs.Stat(f.fs, p)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return nil // reading a named pipe would block
	}
	sum, err := hash(f.fs, p)
	if err != nil {
		return err
	}
	name, coding := p, ""
	switch path.Ext(p) {
	case ".br":
		name, coding = strings.TrimSuffix(p, ".br"), "br"
	case ".gz":
		name, coding = strings.TrimSuffix(p, ".gz"), "gzip"
	}
	known := f.known[name]
	if known == nil {
		known = &file{contentType: contentType(name), cacheControl: cacheControl(name), forms: make(map[string]form)}
		f.known[name] = known
	}
	known.forms[coding] = form{path: p, size: info.Size(), modified: info.ModTime(), etag: `"` + sum + `"`}
	return nil
}

func hash(site fs.FS, p string) (string, error) {
	r, err := site.Open(p)
	if err != nil {
		return "", err
	}
	defer r.Close()
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:15]), nil
}

// contentType depends on the name alone, and not on the machine's MIME types.
func contentType(name string) string {
	types := map[string]string{
		".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".mjs": "text/javascript; charset=utf-8",
		".css": "text/css; charset=utf-8", ".json": "application/json", ".map": "application/json",
		".webmanifest": "application/manifest+json", ".wasm": "application/wasm", ".svg": "image/svg+xml",
		".png": "image/png", ".webp": "image/webp", ".ico": "image/x-icon", ".woff2": "font/woff2",
		".txt": "text/plain; charset=utf-8", ".ts": "text/plain; charset=utf-8", ".md": "text/plain; charset=utf-8",
	}
	if t := types[path.Ext(name)]; t != "" {
		return t
	}
	return "application/octet-stream"
}

// cacheControl returns the Cache-Control of a file. Names under assets/ contain a hash of
// the content; all other files are revalidated, and answered with 304 if nothing changed.
func cacheControl(name string) string {
	if strings.HasPrefix(name, "assets/") {
		return "public, max-age=31536000, immutable"
	}
	return "no-cache"
}

func (f *files) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, http.StatusMethodNotAllowed, "only GET and HEAD are answered here")
		return
	}
	if f.known == nil {
		refuse(w, http.StatusNotFound, "this relay serves no page: it was started with --no-page, or built without the page (make build builds both)")
		return
	}
	name := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
	if name == "" || name == "." {
		name = indexFile
	}
	if index := f.known[name+"/"+indexFile]; index != nil {
		if !strings.HasSuffix(r.URL.Path, "/") {
			w.Header().Set("Location", path.Base(name)+"/") // relative: a proxy may have cut off a prefix
			w.WriteHeader(http.StatusMovedPermanently)
			return
		}
		name += "/" + indexFile
	}
	known := f.known[name]
	if known == nil {
		refuse(w, http.StatusNotFound, "there is no "+r.URL.Path+" here; the page is at /")
		return
	}
	f.serve(w, r, known)
}

// refuse responds with an error that must not be cached.
func refuse(w http.ResponseWriter, code int, words string) {
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, words, code)
}

func (f *files) serve(w http.ResponseWriter, r *http.Request, known *file) {
	h := w.Header()
	h.Set("Vary", "Accept-Encoding")
	coding, ok := choose(known.forms, r.Header.Values("Accept-Encoding"))
	if !ok {
		refuse(w, http.StatusNotAcceptable, "the file is not here in an encoding that the request accepts: it is here as "+codings(known.forms)+"")
		return
	}
	body, err := f.fs.Open(known.forms[coding].path)
	if err != nil {
		refuse(w, http.StatusInternalServerError, "the file cannot be read")
		return
	}
	defer body.Close()
	chosen := known.forms[coding]
	if info, err := body.Stat(); err != nil || info.Size() != chosen.size || !info.ModTime().Equal(chosen.modified) {
		refuse(w, http.StatusServiceUnavailable, "the file has changed since the relay read it: its operator can run tombolo-relay reload")
		return
	}
	h.Set("Cache-Control", known.cacheControl)
	if coding != "" {
		h.Set("Content-Encoding", coding)
	}
	h.Set("ETag", chosen.etag)
	if matches(r.Header.Values("If-None-Match"), chosen.etag) {
		h.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", known.contentType)
	h.Set("Content-Length", strconv.FormatInt(chosen.size, 10))
	if r.Method == http.MethodHead {
		return
	}
	if err := send(w, body); err != nil {
		panic(http.ErrAbortHandler) // the client must not take the part for the whole file
	}
}

// send copies in steps, each of which the client must read in time.
func send(w http.ResponseWriter, body io.Reader) error {
	control := http.NewResponseController(w)
	defer control.SetWriteDeadline(time.Time{})
	buf := make([]byte, writeStep)
	for {
		n, err := body.Read(buf)
		if n > 0 {
			_ = control.SetWriteDeadline(time.Now().Add(writeStepTime)) // if w supports deadlines
			if _, e := w.Write(buf[:n]); e != nil {
				return e
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
