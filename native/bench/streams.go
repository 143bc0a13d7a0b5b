package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

const (
	streamsBytes    = 512 << 20 // of one transfer
	streamsWarm     = 64 << 20
	streamsConns    = 4
	streamsEchoes   = 2000 // on one connection
	streamsConnects = 100
)

// errSkipped is wrapped by the error of a contender that is not installed.
var errSkipped = errors.New("skipped")

// tunnel forwards connections to addr to the service.
type tunnel struct {
	addr      string
	processes []*process // only the tunnel's; none for a plain connection
	dir       string     // the folder of its files
	made      string     // a system folder that had to be made
}

func (t *tunnel) stop() {
	stopAll(t.processes)
	t.clean()
}

func (t *tunnel) clean() {
	if t.dir != "" {
		_ = os.RemoveAll(t.dir)
	}
	if t.made != "" {
		_ = os.Remove(t.made)
	}
}

// told stops the programs and adds their output on stderr to the error.
func (t *tunnel) told(err error) error {
	stopAll(t.processes)
	for _, p := range t.processes {
		if s := strings.TrimSpace(p.said.String()); s != "" {
			err = fmt.Errorf("%w; %s", err, s)
		}
	}
	t.processes = nil
	return err
}

func findProgram(name string) (string, error) {
	for _, try := range []string{name, "/usr/sbin/" + name} {
		if path, err := exec.LookPath(try); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%w: %s is not installed", errSkipped, name)
}

func listens(port int) bool {
	c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

type streamContender struct {
	name  string
	start func(ctx context.Context, target, transport string) (*tunnel, error)
}

var streamContenders = []streamContender{
	{"ours", startOurs},
	{"raw-tcp", func(_ context.Context, target, _ string) (*tunnel, error) { return &tunnel{addr: target}, nil }},
	{"stock", startStock},
	{"ssh", startSSH},
	{"stunnel", startStunnel},
}

// streamFigures are the figures of a tunnel.
type streamFigures struct {
	push, pull, push4, pull4, p50, p99, connect, cpu, rss *figure
}

func newStreamFigures(area string, names []string) *streamFigures {
	f := func(name, unit string, more bool) *figure {
		n := newFigure(area+"/"+name, unit, names...)
		n.more = more
		return n
	}
	s := &streamFigures{
		f("push", "MiB/s", true), f("pull", "MiB/s", true), f("push-4", "MiB/s", true), f("pull-4", "MiB/s", true),
		f("rtt-p50", "us", false), f("rtt-p99", "us", false), f("connect", "us", false),
		f("cpu", "cpu-s/GiB", false), f("rss", "MiB", false),
	}
	for _, f := range []*figure{s.cpu, s.rss} { // a plain connection has no tunnel to measure
		f.order = slices.DeleteFunc(slices.Clone(f.order), func(c string) bool { return c == "raw-tcp" })
	}
	return s
}

func (s *streamFigures) all() []*figure {
	return []*figure{s.push, s.pull, s.push4, s.pull4, s.p50, s.p99, s.connect, s.cpu, s.rss}
}

// streamsOver measures a TCP service through tunnels. The client, the service, both ends of
// the tunnel and its relay, if any, are processes that share the machine.
func streamsOver(transport string) func(rounds int) ([]*figure, error) {
	return func(rounds int) (_ []*figure, err error) {
		contenders := streamContenders
		if transport != "tcp" { // the others support only TCP
			contenders = slices.DeleteFunc(slices.Clone(contenders), func(c streamContender) bool { return c.name == "ssh" || c.name == "stunnel" })
		}
		var names []string
		for _, c := range contenders {
			names = append(names, c.name)
		}
		figures := newStreamFigures("streams-"+transport, names)
		ctx := context.Background()
		target, stop, err := startService(ctx)
		if err != nil {
			return nil, err
		}
		defer stop()
		tunnels := make(map[string]*tunnel)
		defer func() {
			for _, t := range tunnels {
				t.stop()
			}
		}()
		for _, c := range contenders {
			t, err := c.start(ctx, target, transport)
			if errors.Is(err, errSkipped) {
				fmt.Fprintf(os.Stderr, "bench: streams-%s: %v\n", transport, err)
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			tunnels[c.name] = t
			if _, err := transfer(t.addr, push, 1, streamsWarm); err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
		}
		for round := range rounds {
			for i := range contenders {
				name := contenders[(i+round)%len(contenders)].name
				if t := tunnels[name]; t != nil {
					if err := figures.measure(name, t); err != nil {
						return figures.all(), fmt.Errorf("%s: %w", name, err)
					}
				}
			}
		}
		return figures.all(), nil
	}
}

// measure measures one turn of a contender.
func (s *streamFigures) measure(name string, t *tunnel) error {
	before := cpuOf(t.processes)
	var moved float64 // GiB
	for _, m := range []struct {
		f     *figure
		what  byte
		conns int
	}{{s.push, push, 1}, {s.pull, pull, 1}, {s.push4, push, streamsConns}, {s.pull4, pull, streamsConns}} {
		took, err := transfer(t.addr, m.what, m.conns, streamsBytes)
		if err != nil {
			return fmt.Errorf("%s: %w", m.f.name, err)
		}
		m.f.add(name, streamsBytes/(1<<20)/took.Seconds())
		moved += float64(streamsBytes) / (1 << 30)
	}
	if len(t.processes) > 0 {
		s.cpu.add(name, (cpuOf(t.processes)-before).Seconds()/moved)
		s.rss.add(name, float64(rssOf(t.processes))/(1<<20))
	}
	took, err := roundTrips(t.addr, streamsEchoes)
	if err != nil {
		return fmt.Errorf("%s: %w", s.p50.name, err)
	}
	s.p50.add(name, us(took[len(took)/2]))
	s.p99.add(name, us(took[len(took)*99/100]))
	if took, err = connects(t.addr, streamsConnects); err != nil {
		return fmt.Errorf("%s: %w", s.connect.name, err)
	}
	s.connect.add(name, us(took[len(took)/2]))
	return nil
}

func us(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
