//go:build !linux

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
)

var errNoNetworks = fmt.Errorf("networks of its own: %w on this system", errors.ErrUnsupported)

func isolate(*exec.Cmd) {}

func inOtherNetwork(func() error) (leave func(), err error) { return nil, errNoNetworks }

func openTUN(_, _ netip.Addr) (*os.File, error) { return nil, errNoNetworks }
