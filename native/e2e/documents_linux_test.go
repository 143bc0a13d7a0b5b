package e2e

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/native/command/commandtest"
	"github.com/tombolo-net/tombolo/native/internal/namespace"
	"github.com/tombolo-net/tombolo/native/socket/sockettest"
)

// Peers that the documents name. A command gets the ID of the real peer instead.
const (
	serverInDocuments = "12D3KooWDU78xikYC3tf4vMyprye3XW1DH2X3tPrry89EsBNcaDp"
	laptopInDocuments = "12D3KooWLrTrtpy76hgkDDqZiaVjdzCqJSHQerk6emSq3VVfQ86Y"
)

// block is a block of commands in a document, with the output that it shows.
type block struct {
	line     int
	section  string
	commands []command
	skipped  bool // for the reason in the comment above it
}

type command struct {
	machine, text string
	prints        []string
}

var (
	fence  = regexp.MustCompile("^```(console|sh)$")
	notRun = regexp.MustCompile(`^<!-- not run: .{10,} -->$`)
	prompt = regexp.MustCompile(`^([a-z]*)[$#] (.+)$`)
)

// commandsOf reads the blocks of commands in a document. In an sh block every line is a
// command. In a console block the lines with a prompt are commands, and the rest is their
// output.
func commandsOf(t *testing.T, path string) (blocks []block) {
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var in *block
	kind, before, section := "", "", ""
	for i, line := range strings.Split(string(text), "\n") {
		opens := fence.FindStringSubmatch(line)
		switch {
		case in == nil && strings.HasPrefix(line, "##"):
			section = line
		case in == nil && opens != nil:
			kind = opens[1]
			in = &block{line: i + 1, section: section, skipped: notRun.MatchString(before)}
		case in != nil && line == "```":
			blocks = append(blocks, *in)
			in = nil
		case in != nil && kind == "sh":
			in.commands = append(in.commands, command{text: line})
		case in != nil:
			if c := prompt.FindStringSubmatch(line); c != nil {
				in.commands = append(in.commands, command{machine: c[1], text: c[2]})
				break
			}
			require.NotEmpty(t, in.commands, "%s:%d: output of no command", path, i+1)
			last := &in.commands[len(in.commands)-1]
			last.prints = append(last.prints, line)
		}
		before = line
	}
	return blocks
}

// goesOn matches the commands that run until they are interrupted.
var goesOn = regexp.MustCompile(`^tombolo (up|subscribe|room (host|join|bots|offer|standby|top)|streams watch)\b|^tombolo room ls --watch|^tombolo-relay |^tombolo (listen|forward) -f`)

// world is where the commands of a document run: a relay and two machines with a daemon,
// in a network of their own.
type world struct {
	t       *testing.T
	bin     string
	homes   map[string]string // by the name of the machine
	ids     *strings.Replacer
	running []*shell
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, bin: t.TempDir(), homes: make(map[string]string)}
	for name, program := range map[string]string{"tombolo": tombolo, "tombolo-relay": tomboloRelay} {
		require.NoError(t, os.Symlink(program, filepath.Join(w.bin, name)))
	}
	t.Cleanup(w.clear)
	relay := commandtest.Start(t, nil, tomboloRelay, "--data-dir", t.TempDir(), "--listen", "127.0.0.1:18080", "--no-map-ports")
	relay.Line("page ")
	daemon := func(machine string, listen string) string {
		d := upIn(t, filepath.Join(w.home(machine), ".tombolo"), listen, "--relay", "http://127.0.0.1:18080")
		d.Line("reserved ")
		return d.id
	}
	server, laptop := daemon("server", "127.0.0.1:4001"), daemon("laptop", "127.0.0.1:4002")
	w.ids = strings.NewReplacer(serverInDocuments, server, laptopInDocuments, laptop,
		"https://relay.example/", "http://127.0.0.1:18080/", "https://relay.example ", "http://127.0.0.1:18080 ", "/var/lib/", t.TempDir()+"/")
	return w
}

// clear stops the commands that a document has started.
func (w *world) clear() {
	for _, s := range w.running {
		s.stop()
	}
	w.running = nil
}

// home returns the home directory of a machine. It has the folders that the documents share.
func (w *world) home(machine string) string {
	machine = cmp.Or(machine, "server")
	if w.homes[machine] == "" {
		dir := w.t.TempDir()
		for _, folder := range []string{"site", "public", "photos"} {
			require.NoError(w.t, os.Mkdir(filepath.Join(dir, folder), 0o755))
			require.NoError(w.t, os.WriteFile(filepath.Join(dir, folder, "index.html"), []byte("<h1>hello</h1>\n"), 0o644))
		}
		w.homes[machine] = dir
	}
	return w.homes[machine]
}

// run runs a command until it ends or, if it keeps running, has printed its first line. It
// runs the command again if the daemon is still closing a room of the section before.
func (w *world) run(c command) *shell {
	for until := time.Now().Add(patience); ; {
		s := w.start(c)
		if !s.over() || !strings.Contains(s.String(), "hosts a room of this name already") || time.Now().After(until) {
			return s
		}
	}
}

func (w *world) start(c command) *shell {
	text := strings.TrimSuffix(w.ids.Replace(c.text+" "), " ")
	cmd := exec.Command("sh", "-c", text)
	cmd.Dir = w.home(c.machine)
	cmd.Env = []string{"PATH=" + w.bin + ":" + os.Getenv("PATH"), "HOME=" + cmd.Dir, "TOMBOLO_NO_MDNS=true", "TOMBOLO_MAP_PORTS=false",
		"TOMBOLO_RELAY_MAP_PORTS=false", "TOMBOLO_DATA_DIR=" + cmd.Dir + "/.tombolo"}
	if strings.HasPrefix(c.text, "tombolo up") {
		cmd.Env = append(cmd.Env, "TOMBOLO_DATA_DIR="+w.t.TempDir()) // the machine's own daemon runs already
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	s := &shell{cmd: cmd, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = s, s
	require.NoError(w.t, cmd.Start())
	go func() {
		_ = cmd.Wait()
		close(s.ended)
	}()
	w.running = append(w.running, s)
	first := slices.IndexFunc(c.prints, func(line string) bool { return line != "…" })
	if goesOn.MatchString(c.text) && first >= 0 {
		eventually(w.t, func() bool { return s.has(c.prints[:first+1]) || s.over() }, "%s: prints %q", c.text, c.prints[first])
	}
	if !goesOn.MatchString(c.text) {
		select {
		case <-s.ended:
		case <-time.After(patience):
			assert.Fail(w.t, "the command does not end", "%s: %s", c.text, s)
		}
	}
	return s
}

// shell is a running command.
type shell struct {
	cmd   *exec.Cmd
	ended chan struct{}
	mu    sync.Mutex
	said  bytes.Buffer
}

func (s *shell) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said.Write(p)
}

func (s *shell) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said.String()
}

func (s *shell) over() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

func (s *shell) stop() {
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	<-s.ended
}

// has reports whether lines like these were printed, in this order.
func (s *shell) has(lines []string) bool {
	said := strings.Split(s.String(), "\n")
	for _, line := range lines {
		if line == "…" {
			continue // any lines
		}
		like := likeness(line)
		for {
			if len(said) == 0 {
				return false
			}
			found := like.MatchString(said[0])
			said = said[1:]
			if found {
				break
			}
		}
	}
	return true
}

var (
	spaces    = regexp.MustCompile(` +`)
	peerID    = regexp.MustCompile(`12D3KooW(?:[1-9A-HJ-NP-Za-km-z]+|…)`)
	number    = regexp.MustCompile(`[0-9]+(?:\\\.[0-9]+)?`)
	duration  = regexp.MustCompile("\x02(?:h|m|s|ms|µs|ns)\\b")
	homePath  = regexp.MustCompile(`/home/[a-z]+/`)
	transport = regexp.MustCompile(`via (?:circuit|quic|tcp|websocket|webtransport)`)
	tokenID   = regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{16}\b`)
	// unlike replaces the control characters that likeness puts for these with patterns.
	unlike = strings.NewReplacer("\x01", "12D3KooW[0-9A-Za-z]+", "\x02", "[0-9.]+", "\x03", "/.*/", "\x04", "(?:[0-9.]+(?:h|m|s|ms|µs|ns))+",
		"\x05", "via [a-z]+", "\x06", "[0-9a-f]{8}-[0-9a-f]{16}", "…", ".*")
)

// likeness returns a pattern for the lines that differ from one of a document only in
// numbers, times, peers, transports, IDs of tokens, folders and the width of columns.
func likeness(line string) *regexp.Regexp {
	p := regexp.QuoteMeta(strings.TrimRight(line, " "))
	p = peerID.ReplaceAllString(p, "\x01")
	p = homePath.ReplaceAllString(p, "\x03")
	p = tokenID.ReplaceAllString(p, "\x06")
	p = number.ReplaceAllString(p, "\x02")
	p = duration.ReplaceAllString(p, "\x04")
	p = transport.ReplaceAllString(p, "\x05")
	p = spaces.ReplaceAllString(p, " +")
	return regexp.MustCompile("^" + unlike.Replace(p) + " *$")
}

// TestTheCommandsOfTheDocumentsPrintWhatTheyShow runs every command of the documents,
// except those with a comment above them that says why not.
func TestTheCommandsOfTheDocumentsPrintWhatTheyShow(t *testing.T) {
	t.Parallel()
	if !namespace.In(t, "ip link set lo up") {
		return
	}
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("needs curl")
	}
	w := newWorld(t)
	documents, err := filepath.Glob("../../docs/*.md")
	require.NoError(t, err)
	for _, document := range append(documents, "../../README.md", "../../CONTRIBUTING.md") {
		blocks := commandsOf(t, document)
		t.Run(filepath.Base(document), func(t *testing.T) {
			defer w.clear()
			w.t = t
			w.run(command{"server", "tombolo close -a", nil})
			w.run(command{"laptop", "tombolo close -a", nil})
			section := ""
			for _, b := range blocks {
				if b.skipped {
					continue
				}
				if b.section != section {
					w.clear()
					section = b.section
				}
				var said []*shell
				for _, c := range b.commands {
					said = append(said, w.run(c))
				}
				for i, c := range b.commands {
					eventually(t, func() bool { return said[i].has(c.prints) || said[i].over() }, "%s:%d: %s", document, b.line, c.text)
					assert.True(t, said[i].has(c.prints), "%s:%d: %s\nshould print\n%s\nand printed\n%s", document, b.line, c.text, strings.Join(c.prints, "\n"), said[i])
				}
			}
		})
	}
}

// TestNginxAsTheDocumentHasItKeepsThePort runs nginx with the configuration of
// docs/relay.md, on a port of its own, before a relay.
func TestNginxAsTheDocumentHasItKeepsThePort(t *testing.T) {
	nginx, openssl, curl := program(t, "nginx", "nginx"), program(t, "openssl", "openssl"), program(t, "curl", "curl")
	text, err := os.ReadFile("../../docs/relay.md")
	require.NoError(t, err)
	_, server, _ := strings.Cut(string(text), "```nginx\n")
	server, _, found := strings.Cut(server, "```")
	require.True(t, found)

	relay := commandtest.Start(t, nil, tomboloRelay, "--data-dir", t.TempDir(), "--listen", anywhere, "--no-map-ports")
	_, at, _ := strings.Cut(strings.TrimSuffix(relay.Line("page "), "/"), "//localhost")
	dir, port := t.TempDir(), sockettest.Port(t)
	runs(t, openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj", "/CN=relay.example",
		"-keyout", filepath.Join(dir, "privkey.pem"), "-out", filepath.Join(dir, "fullchain.pem"))
	server = strings.NewReplacer("listen 443 ssl", "listen 127.0.0.1:"+port+" ssl", "127.0.0.1:8080", "127.0.0.1"+at,
		"/etc/letsencrypt/live/relay.example", dir).Replace(server)
	config := filepath.Join(dir, "nginx.conf")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `daemon off; worker_processes 1; pid %[1]s/pid; error_log stderr;
events { worker_connections 64; }
http {
	access_log off;
	client_body_temp_path %[1]s/1; proxy_temp_path %[1]s/2; fastcgi_temp_path %[1]s/3; uwsgi_temp_path %[1]s/4; scgi_temp_path %[1]s/5;
	%[2]s
}`, dir, server), 0o600))
	serves(t, syscall.SIGTERM, nginx, "-p", dir, "-c", config, "-e", "stderr")
	answers(t, "tcp4", "127.0.0.1:"+port)
	said := runs(t, curl, "--silent", "--insecure", "--resolve", "relay.example:"+port+":127.0.0.1", "https://relay.example:"+port+"/.well-known/tombolo")
	assert.Contains(t, said, "/dns/relay.example/tcp/"+port+"/tls/ws/p2p/")
}
