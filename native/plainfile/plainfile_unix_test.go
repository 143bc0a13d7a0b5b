//go:build unix

package plainfile_test

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/native/plainfile"
)

func TestAPipeThatNobodyWritesToIsAnErrorAndNotWaitedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(path, 0o600))
	_, err := plainfile.Read(path, 10)
	assert.ErrorContains(t, err, path+": it is a named pipe, and nobody writes to it")
}

func TestAPipeIsReadToItsEnd(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	_, err = w.WriteString("whole")
	require.NoError(t, err)
	require.NoError(t, w.Close())
	b, err := plainfile.Read(fmt.Sprintf("/dev/fd/%d", r.Fd()), 10) // as the shell names <(command)
	require.NoError(t, err)
	assert.Equal(t, "whole", string(b))
}

func TestMoreThanTheLimitIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path, []byte("12345"), 0o600))
	b, err := plainfile.Read(path, 5)
	require.NoError(t, err)
	assert.Equal(t, "12345", string(b))
	_, err = plainfile.Read(path, 4)
	assert.ErrorContains(t, err, path+": it has more than 4 bytes")
	_, err = plainfile.Read("/dev/zero", 1000)
	assert.ErrorContains(t, err, "more than 1000 bytes")
	b, err = plainfile.Read("/dev/null", 1000)
	require.NoError(t, err)
	assert.Empty(t, b)
}
