package main

import (
	"crypto/sha256"
	"encoding/binary"
	"io"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/tombolo-net/tombolo/core/datagram"
)

// bufferSize is how much one stream reads or writes at a time: more than any transport's frame.
const bufferSize = 64 << 10

func (p *testPeer) serveProtocols() {
	for id, serve := range map[protocol.ID]func(network.Stream) error{
		"/test/echo/1":        serveEcho,
		"/tombolo/echo/1.0.0": serveEcho,
		"/test/sink/1":        serveSink,
		"/test/source/1":      serveSource,
		"/test/stall/1":       p.serveStall,
		"/test/closeread/1":   p.serveCloseRead,
		"/test/wait/1":        p.serveWait,
		"/test/observe/1":     p.serveObserve,
		"/test/reset/1":       serveReset,
		"/test/datagrams/1":   serveDatagrams,
	} {
		p.host.SetStreamHandler(id, func(s network.Stream) {
			p.handlers.Add(1)
			defer p.handlers.Done()
			if err := serve(s); err != nil {
				s.Reset()
				return
			}
			s.Close()
		})
	}
}

func serveEcho(s network.Stream) error {
	_, err := copyAll(s, s)
	return err
}

// serveDatagrams echoes the datagrams of lane 7, until the stream ends.
func serveDatagrams(s network.Stream) error {
	came := make(chan []byte, 16)
	lane, err := datagram.Open(s.Conn(), 7, datagram.Opened, func(data []byte) {
		select {
		case came <- data:
		default:
		}
	})
	if err != nil {
		return err
	}
	defer lane.Close()
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, s)
		ended <- err
	}()
	for {
		select {
		case data := <-came:
			if err := lane.Send(data); err != nil {
				return err
			}
		case err := <-ended:
			return err
		}
	}
}

func serveSink(s network.Stream) error {
	sum := sha256.New()
	n, err := copyAll(sum, s)
	if err != nil {
		return err
	}
	_, err = s.Write(sum.Sum(binary.BigEndian.AppendUint64(nil, uint64(n))))
	return err
}

func serveSource(s network.Stream) error {
	var head [8]byte
	if _, err := io.ReadFull(s, head[:]); err != nil {
		return err
	}
	return writePattern(s, int64(binary.BigEndian.Uint64(head[:])))
}

func (p *testPeer) serveStall(s network.Stream) error {
	if !p.gate.wait(p.done) {
		return network.ErrReset
	}
	return serveSink(s)
}

func (p *testPeer) serveCloseRead(s network.Stream) error {
	if err := s.CloseRead(); err != nil {
		return err
	}
	if !p.gate.wait(p.done) {
		return network.ErrReset
	}
	_, err := s.Write([]byte("still here"))
	return err
}

func (p *testPeer) serveWait(s network.Stream) error {
	if _, err := io.ReadFull(s, make([]byte, 1)); err != nil {
		return err
	}
	<-p.done
	return network.ErrReset
}

func serveReset(s network.Stream) error {
	if _, err := io.ReadFull(s, make([]byte, 1)); err != nil {
		return err
	}
	return network.ErrReset
}

func (p *testPeer) serveObserve(s network.Stream) error {
	n, err := copyAll(io.Discard, s)
	p.observed.add(record{How: howEnded(err), Bytes: n, Error: text(err), Peer: s.Conn().RemotePeer().String()})
	return err
}

// copyAll is io.Copy with a buffer of a known size, without the interfaces that would bypass the buffer.
func copyAll(dst io.Writer, src io.Reader) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, make([]byte, bufferSize))
}

// patternPeriod is a prime, so that blocks in the wrong order do not go unnoticed.
const patternPeriod = 251

// pattern is long enough to contain bufferSize bytes of the pattern from any phase.
var pattern = func() []byte {
	b := make([]byte, bufferSize+patternPeriod)
	for i := range b {
		b[i] = byte(i % patternPeriod)
	}
	return b
}()

// writePattern writes n bytes, the i-th of which is i mod 251.
func writePattern(w io.Writer, n int64) error {
	for off := int64(0); off < n; {
		phase := off % patternPeriod
		m := min(n-off, bufferSize)
		if _, err := w.Write(pattern[phase : phase+m]); err != nil {
			return err
		}
		off += m
	}
	return nil
}
