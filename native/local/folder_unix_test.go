//go:build unix

package local_test

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOnlyFilesAndFoldersOfAFolderAreServed(t *testing.T) {
	here, there := pair(t)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	require.NoError(t, os.WriteFile(at("file"), []byte("content"), 0o600))
	require.NoError(t, syscall.Mkfifo(at("pipe"), 0o600))
	require.NoError(t, os.Symlink("pipe", at("link")))
	require.NoError(t, os.Symlink("file", at("good")))
	require.NoError(t, os.Symlink("/dev/zero", at("away")))
	require.NoError(t, os.Symlink("round", at("round")))
	require.NoError(t, os.Mkdir(at("sub"), 0o700))
	require.NoError(t, syscall.Mkfifo(at("sub/index.html"), 0o600))
	require.NoError(t, os.Mkdir(at("linked"), 0o700))
	require.NoError(t, os.Symlink("../pipe", at("linked/index.html")))
	l, err := net.Listen("unix", at("socket"))
	require.NoError(t, err)
	defer l.Close()
	refused := []string{"/pipe", "/pipe/", "/link", "/socket", "/sub/", "/linked/", "/sub/../pipe", "/%70ipe", "/sub/index.html", "/away", "/round"}
	if syscall.Mknod(at("device"), syscall.S_IFCHR|0o600, 1<<8|5) == nil { // /dev/zero, as root
		refused = append(refused, "/device")
	}
	offer(t, there, "/x/site/http", "file:"+dir)
	c := client(t, here, there, "/x/site/http")
	for range 40 { // each request would hold a stream and a thread forever
		for _, path := range refused {
			for _, method := range []string{"GET", "HEAD"} {
				status, body, _ := request(t, c, method, path)
				require.Contains(t, []int{403, 301}, status, "%s %s: %s", method, path, body)
			}
		}
	}
	status, _, _ := request(t, c, "GET", "/pipe", "Range", "bytes=0-1")
	assert.Equal(t, 403, status)
	status, _, _ = request(t, c, "GET", "/pipe/below")
	assert.Equal(t, 404, status)
	for _, path := range []string{"/file", "/good"} {
		status, body, _ := request(t, c, "GET", path)
		assert.Equal(t, 200, status)
		assert.Equal(t, "content", body)
	}
	status, body, _ := request(t, c, "GET", "/")
	assert.Equal(t, 200, status)
	assert.Contains(t, body, `"file"`)
	for _, name := range []string{"pipe", "socket", "device"} {
		assert.NotContains(t, body, `"`+name+`"`)
	}
}

func TestAFolderThatBecameAPipeIsGone(t *testing.T) {
	here, there := pair(t)
	dir := filepath.Join(t.TempDir(), "site")
	require.NoError(t, os.Mkdir(dir, 0o700))
	offer(t, there, "/x/site/http", "file:"+dir)
	require.NoError(t, os.Remove(dir))
	require.NoError(t, syscall.Mkfifo(dir, 0o600))
	status, body, _ := request(t, client(t, here, there, "/x/site/http"), "GET", "/")
	assert.Equal(t, 404, status)
	assert.Contains(t, body, "gone")
}

func TestANameThatIsNotUTF8IsServedAsItIsListed(t *testing.T) {
	here, there := pair(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "bad\xffname"), []byte("content"), 0o600); err != nil {
		t.Skip("this file system has only names in UTF-8:", err)
	}
	offer(t, there, "/x/site/http", "file:"+dir)
	c := client(t, here, there, "/x/site/http")
	_, list, _ := request(t, c, "GET", "/")
	link := regexp.MustCompile(`href="([^"]*)"`).FindStringSubmatch(list)
	require.NotNil(t, link, list)
	status, body, _ := request(t, c, "GET", "/"+link[1])
	assert.Equal(t, 200, status, link[1])
	assert.Equal(t, "content", body)
}
