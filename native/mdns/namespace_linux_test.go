package mdns

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// inNamespace runs the test again, in a process with a network of its own that
// the shell commands have set up, and says whether this is that process.
func inNamespace(t *testing.T, setup string) bool {
	t.Helper()
	const mark = "TOMBOLO_TEST_NAMESPACE"
	if os.Getenv(mark) == t.Name() {
		out, err := exec.Command("sh", "-ec", setup).CombinedOutput()
		require.NoError(t, err, "%s", out)
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

func TestALinkWithoutIPv6Suffices(t *testing.T) {
	if !inNamespace(t, `echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
		ip link set lo up multicast on; ip addr add 10.1.1.1/24 dev lo; ip route add 224.0.0.0/4 dev lo`) {
		return
	}
	var log logged
	a, b := newHost(t, everywhere), newHost(t, everywhere)
	find(t, a, Options{Network: "x", Logger: log.logger()})
	find(t, b, Options{Network: "x", Logger: log.logger()})
	require.Eventually(t, connected(a, b), limit, 10*time.Millisecond)
	assert.Empty(t, log.String())
}

func TestNoMulticastIsAWarningUntilThereIsSome(t *testing.T) {
	if !inNamespace(t, `ip link set lo up`) {
		return
	}
	var log logged
	a, b := newHost(t, everywhere), newHost(t, everywhere)
	find(t, a, Options{Network: "x", Logger: log.logger()})
	f := find(t, b, Options{Network: "x", Logger: log.logger()})
	require.Eventually(t, func() bool { return strings.Count(log.String(), "level=WARN") == 2 }, limit, 10*time.Millisecond)
	assert.Contains(t, log.String(), "peers on the local link are not looked for")

	// A cable is plugged in. The kernel may know no other interface than lo.
	out, err := exec.Command("sh", "-ec", `ip link set lo multicast on; ip addr add 10.1.1.1/24 dev lo; ip route add 224.0.0.0/4 dev lo`).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Eventually(t, connected(a, b), limit, 10*time.Millisecond)
	assert.Equal(t, 2, strings.Count(log.String(), "level=WARN"), "it is said once")
	require.NoError(t, f.Close())
}
