//go:build !unix

package command

import "context"

// WhileRead returns a context that ends with ctx. On this system, the end of the reader
// is noticed only when the next line is written.
func WhileRead(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithCancel(ctx)
}
