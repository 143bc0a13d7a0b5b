package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"time"
)

// ErrNoDaemon is returned if no daemon runs for a data directory.
var ErrNoDaemon = errors.New("no daemon is running")

// Client calls the daemon of a data directory. Its methods may be called
// concurrently.
type Client struct {
	dir  string
	path string
	http http.Client
}

// NewClient returns a client. It does not connect yet.
func NewClient(dir string) (*Client, error) {
	path, err := SocketPath(dir)
	if err != nil {
		return nil, err
	}
	c := &Client{dir: dir, path: path}
	c.http.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return c.connect(ctx) }}
	return c, nil
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func (c *Client) connect(ctx context.Context) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", c.path)
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w for %s: start one with tombolo up --data-dir %s", ErrNoDaemon, c.dir, c.dir)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("the daemon's socket %s may be opened by its owner only: run this as the user that runs the daemon", c.path)
	}
	return conn, err
}

func (c *Client) post(ctx context.Context, verb string, q any) (*http.Response, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://daemon/v1/"+verb, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, unwrapURL(err)
	}
	if resp.StatusCode >= http.StatusBadRequest {
		defer resp.Body.Close()
		return nil, readError(resp.Body, resp.StatusCode)
	}
	return resp, nil
}

// unwrapURL strips the URL from an error, because it means nothing to a person.
func unwrapURL(err error) error {
	var u interface{ Unwrap() error }
	if errors.As(err, &u) && u.Unwrap() != nil {
		if inner := u.Unwrap(); errors.Is(inner, io.EOF) || errors.Is(inner, io.ErrUnexpectedEOF) {
			return errors.New("the daemon ended while it was asked")
		}
		return u.Unwrap()
	}
	return err
}

func readError(body io.Reader, status int) error {
	var e errorBody
	if err := json.NewDecoder(io.LimitReader(body, maxBody)).Decode(&e); err != nil || e.Error == nil {
		return fmt.Errorf("the daemon answered with status %d and no reason", status)
	}
	e.Error.Status = status
	return e.Error
}

// call calls a verb with q and decodes the answer into a, which may be nil. An error that
// the daemon returned is an *Error.
func (c *Client) call(ctx context.Context, verb string, q, a any) error {
	resp, err := c.post(ctx, verb, q)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if a == nil {
		a = new(json.RawMessage)
	}
	answer := &io.LimitedReader{R: resp.Body, N: maxAnswer}
	err = json.NewDecoder(answer).Decode(a)
	if err != nil && answer.N == 0 {
		return fmt.Errorf("the daemon's answer has more than %d bytes", maxAnswer)
	}
	if err != nil {
		return fmt.Errorf("the daemon's answer is not understood: %w", err)
	}
	return nil
}

// lines calls a continuing verb and yields its answers as they arrive. It ends when the
// daemon ends the call, with an error or without, and when ctx ends.
func lines[A any](ctx context.Context, c *Client, verb string, q any) iter.Seq2[A, error] {
	return func(yield func(A, error) bool) {
		var none A
		resp, err := c.post(ctx, verb, q)
		if err != nil {
			yield(none, err)
			return
		}
		defer resp.Body.Close()
		lines := bufio.NewReader(resp.Body)
		for {
			line, err := readLine(lines)
			if err != nil && ctx.Err() != nil || errors.Is(err, io.EOF) && len(line) == 0 {
				return
			}
			if errors.Is(err, errLongLine) {
				yield(none, err)
				return
			}
			if err != nil {
				yield(none, errors.New("the daemon ended"))
				return
			}
			var failed errorBody
			if json.Unmarshal(line, &failed) == nil && failed.Error != nil {
				yield(none, failed.Error)
				return
			}
			var a A
			if err := json.Unmarshal(line, &a); err != nil {
				yield(none, fmt.Errorf("the daemon's answer is not understood: %w", err))
				return
			}
			if !yield(a, nil) {
				return
			}
		}
	}
}

var errLongLine = fmt.Errorf("a line of the daemon's answer has more than %d bytes", maxBody)

// readLine reads a line of at most maxBody bytes.
func readLine(r *bufio.Reader) (line []byte, err error) {
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxBody:
			return nil, errLongLine
		case !errors.Is(err, bufio.ErrBufferFull):
			return line, err
		}
	}
}

// Dialled is a stream to a peer, as a connection to the daemon. The stream is reset if its
// caller closes it or is killed before CloseWrite, and before the service has ended its
// side.
type Dialled struct {
	*net.UnixConn
	client *Client
	id     uint64
}

// CloseWrite closes the writing half: the service reads EOF after what was written.
func (d *Dialled) CloseWrite() error {
	ctx, cancel := context.WithTimeout(context.Background(), endTime)
	defer cancel()
	_, err := VerbDialEnd.Call(ctx, d.client, DialEndCall{d.id})
	return errors.Join(err, d.UnixConn.CloseWrite())
}

// endTime bounds the call that declares the end of a dialled stream. Its answer waits for
// nothing.
const endTime = 10 * time.Second

// Dial opens a stream to a peer and returns it as a connection with half-close. id is the
// stream's, and can be used to ask how the stream ended.
func (c *Client) Dial(ctx context.Context, q DialCall) (conn *Dialled, id uint64, err error) {
	raw, err := c.connect(ctx)
	if err != nil {
		return nil, 0, err
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer func() {
		if !stop() {
			err = ctx.Err() // other errors are a consequence
		}
		if err != nil {
			_ = raw.Close()
		}
	}()
	q.DeclaresEnd = true // see Dialled.CloseWrite
	body, err := json.Marshal(q)
	if err != nil {
		return nil, 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://daemon/v1/dial", bytes.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", Upgrade)
	if err := req.Write(raw); err != nil {
		return nil, 0, err
	}
	head := bufio.NewReader(oneByte{io.LimitReader(raw, maxBody)}) // the bytes after the head belong to the stream
	resp, err := http.ReadResponse(head, req)
	if err != nil {
		return nil, 0, fmt.Errorf("the daemon's answer is not understood: %w", err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, 0, readError(resp.Body, resp.StatusCode)
	}
	id, err = strconv.ParseUint(resp.Header.Get(streamHeader), 10, 64)
	if err != nil {
		return nil, 0, fmt.Errorf("the daemon's answer is not understood: %w", err)
	}
	return &Dialled{raw.(*net.UnixConn), c, id}, id, nil
}

// oneByte reads one byte at a time, so that a buffered reader takes no more than it
// needs.
type oneByte struct{ io.Reader }

func (r oneByte) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(1, len(p))]) }
