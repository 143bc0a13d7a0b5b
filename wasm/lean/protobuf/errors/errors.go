// Package errors stands in for google.golang.org/protobuf/internal/errors, for package
// protowire.
package errors

import "fmt"

// New formats an error of protobuf.
func New(format string, args ...any) error { return fmt.Errorf("proto: "+format, args...) }
