package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// files returns how many files a process has open.
func files(t *testing.T, d *daemon) int {
	t.Helper()
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", d.PID()))
	require.NoError(t, err)
	return len(open)
}

// inParallel calls f with 0 to n-1, atOnce calls at a time.
func inParallel(n, atOnce int, f func(i int)) {
	var all sync.WaitGroup
	var next atomic.Int64
	for range atOnce {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	all.Wait()
}

// goroutines ends a daemon and returns the stack of each of its goroutines.
func goroutines(d *daemon) []string {
	d.t.Helper()
	d.Signal(syscall.SIGQUIT)
	_, dump := d.Wait()
	var all []string
	for _, part := range strings.Split(dump, "\n\n") {
		if strings.HasPrefix(part, "goroutine ") {
			all = append(all, part)
		}
	}
	return all
}

func TestConnectionsThatCameAndWentLeaveNothing(t *testing.T) {
	t.Parallel()
	s := newService(t)
	here, there := direct(t, onlyTCP)
	there.listen("/x/service", s.addr)
	addr := here.forward("/x/service", there)
	require.True(t, works(t, addr))
	settled := func() bool { return len(here.streams()) == 0 && len(there.streams()) == 0 }
	eventually(t, settled, "the first stream ends")
	before := [2]int{files(t, here), files(t, there)}

	var failed atomic.Int64
	inParallel(2000, 50, func(i int) {
		c, err := net.DialTimeout("tcp4", addr, patience)
		if err != nil {
			failed.Add(1)
			return
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		switch i % 4 {
		case 0: // sends nothing
		case 1: // resets while a reply is on its way
			_, _ = c.Write([]byte{askPull})
			_ = c.(*net.TCPConn).SetLinger(0)
		case 2: // resets in the middle of its own upload
			_, _ = c.Write([]byte{askPush, 1, 2, 3})
			_ = c.(*net.TCPConn).SetLinger(0)
		case 3:
			if !echoes(c) {
				failed.Add(1)
			}
		}
	})
	assert.Zero(t, failed.Load())
	eventually(t, settled, "all streams end")
	for i, d := range []*daemon{here, there} {
		eventually(t, func() bool { return files(t, d) <= before[i]+8 }, "of %d open files some are left", before[i])
	}
	f := here.list().Forwards[0]
	assert.EqualValues(t, 2001, f.Total)
	assert.Zero(t, f.Live)
	assert.Zero(t, there.list().Listeners[0].Live)
	require.True(t, works(t, addr))

	for _, d := range []*daemon{here, there} {
		all := goroutines(d)
		assert.Greater(t, len(all), 10, "it dumps its goroutines")
		assert.Less(t, len(all), 250)
		left := 0
		for _, g := range all {
			if strings.Contains(g, "bridge.(*Forward).carry") || strings.Contains(g, "bridge.(*Listener).handle") {
				left++
			}
		}
		assert.Less(t, left, 10, "no goroutine of a stream is left, except the last ones as they end")
	}
}

// few starts a daemon that may open no more than 256 files.
func few(t *testing.T) *daemon {
	t.Helper()
	return upWith(t, t.TempDir(), []string{"/bin/sh", "-c", `ulimit -n 256 && exec "$0" "$@"`, tombolo}, anywhere)
}

// crowd connects many times and holds all connections at once, until each is
// answered or two seconds have passed, and then drops them. It returns how many
// were answered.
func crowd(addr string, answered func(net.Conn) bool) int {
	var many atomic.Int64
	var mu sync.Mutex
	var held []net.Conn
	inParallel(400, 400, func(int) {
		c, err := net.DialTimeout("tcp4", addr, 2*time.Second)
		if err != nil {
			return
		}
		mu.Lock()
		held = append(held, c)
		mu.Unlock()
		_ = c.SetDeadline(time.Now().Add(2 * time.Second))
		if answered(c) {
			many.Add(1)
		}
	})
	for _, c := range held {
		c.Close()
	}
	return int(many.Load())
}

// silent sends nothing, and waits for an answer until the deadline.
func silent(c net.Conn) bool {
	_, err := c.Read(make([]byte, 1))
	return err == nil
}

// tcpAt returns the host:port of the TCP listener for peers.
func (d *daemon) tcpAt() string {
	parts := strings.Split(d.addr("/tcp/"), "/")
	return net.JoinHostPort(parts[2], parts[4])
}

func TestADaemonOutOfFilesWorksOnWhenTheyComeBack(t *testing.T) {
	t.Parallel()
	s := newService(t)
	t.Run("where connections come in", func(t *testing.T) {
		there, here := up(t, onlyTCP), few(t)
		here.do("connect", there.addr("/"))
		there.listen("/x/service", s.addr)
		addr := here.forward("/x/service", there)
		t.Log("answered at once:", crowd(addr, echoes))
		stillWorks(t, here, addr)
	})
	t.Run("where connections go out", func(t *testing.T) {
		there, here := few(t), up(t, onlyTCP)
		here.do("connect", there.addr("/tcp/"))
		there.listen("/x/service", s.addr)
		addr := here.forward("/x/service", there)
		t.Log("answered at once:", crowd(addr, echoes))
		stillWorks(t, there, addr)
	})
	t.Run("where peers come in", func(t *testing.T) {
		there, here := few(t), up(t, onlyTCP)
		here.do("connect", there.addr("/tcp/"))
		there.listen("/x/service", s.addr)
		addr := here.forward("/x/service", there)
		crowd(there.tcpAt(), silent)
		stillWorks(t, there, addr)
	})
	t.Run("on all sides at once", func(t *testing.T) {
		there, here := up(t, onlyTCP), few(t)
		here.do("connect", there.addr("/"))
		there.listen("/x/service", s.addr)
		addr := here.forward("/x/service", there)
		var all sync.WaitGroup
		all.Go(func() { crowd(addr, echoes) })
		all.Go(func() { crowd(here.tcpAt(), silent) })
		var held []net.Conn
		socket, err := filepath.Glob(filepath.Join(here.dir, "*.sock"))
		require.NoError(t, err)
		require.Len(t, socket, 1)
		for range 300 { // without a limit, because the socket is the owner's
			if c, err := net.DialTimeout("unix", socket[0], time.Second); err == nil {
				held = append(held, c)
			}
		}
		most, over := 0, make(chan struct{})
		go func() { all.Wait(); close(over) }()
		for watching := true; watching; most = max(most, files(t, here)) {
			select {
			case <-over:
				watching = false
			case <-time.After(50 * time.Millisecond):
			}
		}
		for _, c := range held {
			c.Close()
		}
		t.Log("open files at the most:", most)
		stillWorks(t, here, addr)
	})
}

// stillWorks checks that a daemon that was short of files accepts commands and peers, and
// that a tunnel through it works every time.
func stillWorks(t *testing.T, d *daemon, addr string) {
	t.Helper()
	eventually(t, func() bool { return len(d.streams()) == 0 }, "the streams end")
	var failed atomic.Int64
	inParallel(40, 8, func(int) {
		if !works(t, addr) {
			failed.Add(1)
		}
	})
	assert.Zero(t, failed.Load(), "of 40 later connections")
	for _, part := range []string{"/tcp/", "/ws/", "/quic-v1/p2p", "/webtransport/"} {
		other := up(t, onlyTCP)
		eventually(t, func() bool {
			code, _, _ := other.try("connect", d.addr(part))
			return code == 0
		}, "a peer connects by %s", part)
		other.Stop()
	}
}
