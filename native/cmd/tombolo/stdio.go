package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tombolo-net/tombolo/native/command"
	"github.com/tombolo-net/tombolo/native/control"
)

// absolute makes paths independent of the command's working directory, because the daemon
// has another one.
func absolute(addr string) (string, error) {
	for _, scheme := range []string{"file:", "unix:"} {
		if path, ok := strings.CutPrefix(addr, scheme); ok {
			if path == "" {
				return "", fmt.Errorf("%q has no path: write one like %s/path", addr, scheme)
			}
			if path == "~" || strings.HasPrefix(path, "~/") { // the shell replaces it only at the beginning of a word
				home, err := os.UserHomeDir()
				if err != nil {
					return "", fmt.Errorf("%q: %w", addr, err)
				}
				path = home + path[1:]
			}
			path, err := filepath.Abs(path)
			return scheme + path, err
		}
	}
	return addr, nil
}

// joinStdio connects standard input and output to a peer's service, as ssh's ProxyCommand
// requires. It returns when the service has ended its side.
func joinStdio(ctx context.Context, f clientFlags, q control.DialCall) error {
	client, err := control.NewClient(f.DataDir)
	if err != nil {
		return err
	}
	defer client.Close()
	opening, cancel := context.WithTimeout(ctx, f.Timeout)
	conn, id, err := client.Dial(opening, q)
	cancel()
	if err != nil {
		return about("forward", err)
	}
	failed := make(chan error, 1)
	sent := make(chan struct{})
	go func() { // ends with the process: reading a terminal cannot be interrupted
		defer close(sent)
		if err := send(conn, os.Stdin); err != nil {
			failed <- err
			_ = conn.Close() // ends the other direction, too
		}
	}()
	hungUp := func() { // ssh sends SIGHUP to its ProxyCommand, and then closes the pipes
		select {
		case <-sent:
		case <-time.After(hangUpTime):
		}
	}
	stop := context.AfterFunc(ctx, func() {
		if command.HungUp(ctx) {
			hungUp()
		}
		_ = conn.Close()
	})
	defer stop()
	_, err = io.Copy(os.Stdout, conn)
	switch {
	case command.HungUp(ctx):
		hungUp()
		fallthrough
	case ctx.Err() != nil:
		return command.ErrInterrupted
	}
	select {
	case err := <-failed:
		return about("forward", err)
	default:
	}
	if why := endOf(client, id); why != nil {
		return about("forward", why)
	}
	return about("forward", err)
}

// hangUpTime is how long standard input may take to end after SIGHUP. If it does not end,
// the stream is reset.
const hangUpTime = 2 * time.Second

// send sends all of from, and then the end. It returns an error only if from failed; if
// the stream fails, its other direction reports that.
func send(conn *control.Dialled, from io.Reader) error {
	in := &input{Reader: from}
	_, err := io.Copy(conn, in)
	if in.err != nil {
		return fmt.Errorf("read standard input: %w", in.err)
	}
	if err == nil {
		_ = conn.CloseWrite()
	}
	return nil
}

// input remembers the error of a reader. io.Copy does not say which end failed.
type input struct {
	io.Reader
	err error
}

func (i *input) Read(b []byte) (int, error) {
	n, err := i.Reader.Read(b)
	if err != io.EOF {
		i.err = err
	}
	return n, err
}

// endOf returns the reason why a stream ended; nil if it ended well.
func endOf(client *control.Client, id uint64) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		streams, err := control.VerbStreams.Call(ctx, client, control.StreamsCall{ID: &id})
		if err != nil {
			return fmt.Errorf("why the stream ended cannot be learned: %w", err)
		}
		s := streams[0]
		switch {
		case s.Reason != "":
			return errors.New(s.Error)
		case !s.Ended.IsZero():
			return nil
		}
		time.Sleep(10 * time.Millisecond) // its other half is just ending
	}
	return nil
}
