// Package namespace runs tests in a separate network.
package namespace

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// In runs the test again, in a process with a separate network that the shell commands
// have set up, and reports whether this is that process.
func In(t *testing.T, setup string) bool {
	t.Helper()
	const mark = "TOMBOLO_TEST_NAMESPACE"
	if os.Getenv(mark) == t.Name() {
		Do(t, setup)
		return true
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs the ip command")
	}
	isolated := func(path string, args ...string) *exec.Cmd {
		cmd := exec.Command(path, args...)
		cmd.Env = append(os.Environ(), mark+"="+t.Name())
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		}
		return cmd
	}
	if out, err := isolated("sh", "-ec", setup).CombinedOutput(); err != nil {
		t.Skipf("needs network namespaces: %v %s", err, out)
	}
	out, err := isolated(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v").CombinedOutput()
	assert.NoError(t, err, "%s", out)
	assert.Contains(t, string(out), "--- PASS: "+t.Name())
	return false
}

// Do runs shell commands in the network that the test is in.
func Do(t *testing.T, commands string) {
	t.Helper()
	out, err := exec.Command("sh", "-ec", commands).CombinedOutput()
	require.NoError(t, err, "%s", out)
}
