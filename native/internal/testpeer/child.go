package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"
)

// childEnv is set for child processes, so that a test binary, too, runs the program and not the tests.
const childEnv = "TESTPEER_CHILD"

// child is a peer in a separate process: this program, started again to run one peer, and controlled through its API.
type child struct {
	cmd    *exec.Cmd
	stdin  io.Closer // closing it ends the child
	exited chan struct{}
	proxy  *httputil.ReverseProxy
	first  info
}

var _ backend = (*child)(nil)

func startChild(q url.Values) (backend, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childEnv+"=1")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a child process: %w", err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n') // all that the child ever prints
	ch := &child{cmd: cmd, stdin: stdin, exited: make(chan struct{})}
	go func() {
		cmd.Wait()
		close(ch.exited)
	}()
	if err == nil {
		err = ch.begin(strings.TrimSpace(strings.TrimPrefix(line, "control ")), q)
	}
	if err != nil {
		ch.kill()
		return nil, fmt.Errorf("child process: %w", err)
	}
	return ch, nil
}

// begin asks the child for its only peer, number 1.
func (ch *child) begin(control string, q url.Values) error {
	base, err := url.Parse(control + "/peer/1")
	if err != nil {
		return err
	}
	q = maps.Clone(q)
	q.Del("process")
	resp, err := http.Post(control+"/peer?"+q.Encode(), "", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		var msg struct{ Error string }
		json.NewDecoder(resp.Body).Decode(&msg)
		return errors.New(msg.Error)
	}
	if err := json.NewDecoder(resp.Body).Decode(&ch.first); err != nil {
		return err
	}
	ch.proxy = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(base)
		},
		ModifyResponse: func(r *http.Response) error {
			r.Header.Del("Access-Control-Allow-Origin") // this process sets it, and twice is an error
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			fail(w, http.StatusBadGateway, fmt.Errorf("the peer's process does not answer: %w", err))
		},
	}
	return nil
}

func (ch *child) ServeHTTP(w http.ResponseWriter, r *http.Request) { ch.proxy.ServeHTTP(w, r) }

func (ch *child) info() info { return ch.first }

// close lets the child close its host and end by itself. If it has not ended after 5 s, close kills it.
func (ch *child) close() error {
	ch.stdin.Close()
	select {
	case <-ch.exited:
		return nil
	case <-time.After(5 * time.Second):
		ch.kill()
		return errors.New("the child did not end within 5 s and was killed")
	}
}

func (ch *child) kill() error {
	ch.cmd.Process.Kill()
	<-ch.exited
	ch.stdin.Close()
	return nil
}
