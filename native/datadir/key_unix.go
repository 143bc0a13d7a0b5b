//go:build unix

package datadir

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

func checkOwner(path string, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("identity %s: cannot tell who owns it", path)
	}
	if uid := os.Geteuid(); int(st.Uid) != uid {
		return fmt.Errorf("identity %s belongs to user %d, and this process runs as user %d: run it as that user; chown the data directory only if no other program uses it", path, st.Uid, uid)
	}
	return nil
}

func tooOpen(mode fs.FileMode) bool { return mode.Perm()&0o077 != 0 }

// syncDir makes a new name in dir survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
