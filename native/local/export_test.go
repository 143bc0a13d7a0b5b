package local

import (
	"time"

	"github.com/tombolo-net/tombolo/core/bridge"
)

// LimitFiles limits the sockets and served files of this package to n until the returned function is called.
func LimitFiles(n int) (restore func()) {
	before := files
	files = budget{make(chan struct{}, n)}
	return func() { files = before }
}

// FilesOpen returns how many sockets and served files are counted as open.
func FilesOpen() int { return len(files.slots) }

// LimitStall changes how long a reader of an HTTP target may take nothing.
func LimitStall(t bridge.Target, d time.Duration) { t.(*httpTarget).stall = d }
