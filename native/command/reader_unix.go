//go:build unix

package command

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// readerCheck is how long the watch of WhileRead may outlive its context, in
// milliseconds. The end of the reader is noticed at once.
const readerCheck = 1000

// WhileRead returns a context that ends with ctx, or when standard output is a pipe or
// socket whose reader has ended. A program that writes only now and then would otherwise
// notice that with its next line, which may never come; tail -f does the same. Call
// OutliveReaders, too: otherwise SIGPIPE may come first.
func WhileRead(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		out := []unix.PollFd{{Fd: int32(os.Stdout.Fd())}}
		for ctx.Err() == nil {
			_, err := unix.Poll(out, readerCheck)
			switch {
			case err != nil && !errors.Is(err, unix.EINTR), out[0].Revents&unix.POLLNVAL != 0:
				return // standard output cannot be watched
			case out[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0:
				cancel()
			}
		}
	}()
	return ctx, cancel
}
