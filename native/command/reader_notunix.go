//go:build !unix

package command

import "context"

// WhileRead is the context itself here: the reader's end is seen with the next
// line that is written.
func WhileRead(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithCancel(ctx)
}
