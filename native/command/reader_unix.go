//go:build unix

package command

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// readerCheck is how long the watch of WhileRead may outlive its context, in
// milliseconds. A reader that goes is noticed at once.
const readerCheck = 1000

// WhileRead returns a context that ends with ctx, or when standard output is a
// pipe or socket that nobody reads any more. A program that only writes now and
// then would learn that with its next line, which may never come; tail -f does
// the same. Call OutliveReaders, too, or the next line may come first.
func WhileRead(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		out := []unix.PollFd{{Fd: int32(os.Stdout.Fd())}}
		for ctx.Err() == nil {
			_, err := unix.Poll(out, readerCheck)
			switch {
			case err != nil && !errors.Is(err, unix.EINTR), out[0].Revents&unix.POLLNVAL != 0:
				return // it is nothing that can be watched
			case out[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0:
				cancel()
			}
		}
	}()
	return ctx, cancel
}
