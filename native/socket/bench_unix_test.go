//go:build unix

package socket

import (
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkCarry carries 256 MiB through two TCP connections and a splice between them, as
// a bridged service does, and reports the processor time that this process spent, both ends
// included: go test -bench Carry ./native/socket
func BenchmarkCarry(b *testing.B) {
	for name, wrap := range map[string]func(net.Conn) net.Conn{"direct": Wrap, "package net": func(c net.Conn) net.Conn { return c }} {
		b.Run(name, func(b *testing.B) {
			const size = 256 << 20
			begun := processorTime(b)
			for b.Loop() {
				carry(b, wrap, size)
			}
			b.SetBytes(size)
			spent := (processorTime(b) - begun).Seconds()
			b.ReportMetric(spent/(float64(b.N)*size/(1<<30)), "cpu-s/GiB")
		})
	}
}

func carry(b *testing.B, wrap func(net.Conn) net.Conn, size int64) {
	b.Helper()
	source, in := pair(b)
	out, sink := pair(b)
	go func() {
		_, _ = io.CopyBuffer(onlyWriter{source}, io.LimitReader(zeros{}, size), make([]byte, 64<<10))
		_ = source.Close()
	}()
	go func() {
		_, _ = io.CopyBuffer(onlyWriter{wrap(out)}, onlyReader{wrap(in)}, make([]byte, 64<<10))
		_ = out.Close()
	}()
	n, err := io.CopyBuffer(onlyWriter{io.Discard}, onlyReader{sink}, make([]byte, 64<<10))
	require.NoError(b, err)
	require.Equal(b, size, n)
	_, _ = in.Close(), sink.Close()
}

// onlyReader and onlyWriter keep io.Copy from letting the kernel splice, which it cannot do
// for a libp2p stream either, because that is encrypted.
type onlyReader struct{ io.Reader }
type onlyWriter struct{ io.Writer }

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func pair(b *testing.B) (one, other net.Conn) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(b, err)
	defer l.Close()
	one, err = net.Dial("tcp4", l.Addr().String())
	require.NoError(b, err)
	other, err = l.Accept()
	require.NoError(b, err)
	return one, other
}

func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
