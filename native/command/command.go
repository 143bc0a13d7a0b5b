// Package command is shared by Tombolo's programs. It defines how flags, environment
// variables, errors, exit codes, signals and logs behave.
//
// A program writes its results to standard output. An error is one line on standard error
// that says what failed, on what, and what to try; the exit code is then 1, or 2 if the
// command line itself was wrong. Text from peers is written only through Line, JSON and
// Data, which make it safe for a terminal.
//
// When the reader of a pipe ends, SIGPIPE ends the program, as usual. A daemon keeps
// running, because it calls OutliveReaders.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"math"
	"net"
	"os"
	"os/signal"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/gologshim"

	"github.com/tombolo-net/tombolo/core"
)

// Exit codes.
const (
	ExitOK    = 0
	ExitError = 1
	ExitUsage = 2

	ExitInterrupted = 130 // as a shell reports Ctrl-C
)

// ErrInterrupted is returned by a command that a signal ended in the middle of something
// that must not pass for complete. The program then prints nothing: whoever sent the
// signal knows.
var ErrInterrupted = errors.New("interrupted")

// closeTime is how long a program may take to close after SIGINT or SIGTERM. Anything
// still open then ends with the process.
const closeTime = 4 * time.Second

// Program is one of Tombolo's programs.
type Program struct {
	Name        string            // of the binary
	Description string            // one sentence
	EnvPrefix   string            // each flag's variable is <EnvPrefix>_<FLAG>
	Flags       any               // pointer to a struct with kong's tags
	Vars        map[string]string // values of ${name} in the flags' tags
	Endings     []os.Signal       // signals that end ctx; if nil, Endings()
}

// parser returns a parser of the program's command line. kong exits by itself after
// --help and --version.
func (p Program) parser() (*kong.Kong, error) {
	return kong.New(p.Flags,
		kong.Name(p.Name),
		kong.Description(p.Description),
		kong.DefaultEnvars(p.EnvPrefix),
		kong.Vars(p.Vars),
		kong.Vars{"version": Version(p.Name)},
		kong.ValueFormatter(withDefault),
		kong.KindMapper(reflect.Slice, withoutEmpty{builtin.ForType(reflect.TypeFor[[]string]())}),
		kong.TypeMapper(reflect.TypeFor[time.Duration](), notNegative{builtin.ForType(reflect.TypeFor[time.Duration]())}),
	)
}

// Parse parses a command line into p.Flags, and runs nothing.
func (p Program) Parse(args []string) error {
	parser, err := p.parser()
	if err == nil {
		_, err = parser.Parse(args)
	}
	return err
}

// Main runs the command that args choose, by the Run method of its struct. The method can
// take a context.Context, which ends at the signals of p.Endings. Main returns the exit
// code.
func (p Program) Main(args []string) int {
	parser, err := p.parser()
	if err != nil {
		return p.fail(err, ExitUsage)
	}
	chosen, err := parser.Parse(args)
	if err != nil {
		return p.fail(fmt.Errorf("%w (see %s --help)", err, p.Name), ExitUsage)
	}
	endings := p.Endings
	if endings == nil {
		endings = Endings()
	}
	ctx, stop := signal.NotifyContext(context.Background(), endings...)
	defer stop()
	chosen.BindTo(ctx, (*context.Context)(nil))
	if err := chosen.Run(); err != nil {
		var usage *UsageError
		if errors.Is(err, ErrInterrupted) {
			return ExitInterrupted
		}
		if errors.As(err, &usage) {
			return p.fail(fmt.Errorf("%w (see %s --help)", err, p.Name), ExitUsage)
		}
		return p.fail(err, ExitError)
	}
	return ExitOK
}

// Version returns the line that a program prints for --version: its name, the versions of
// this build and of Go, and the platform.
func Version(name string) string {
	return fmt.Sprintf("%s %s %s %s/%s", name, core.Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// withDefault adds the default to a flag's help, unless the help or the placeholder shows
// it.
func withDefault(v *kong.Value) string {
	shown := v.Tag.PlaceHolder == "" && !v.IsBool()
	if v.Flag != nil && v.HasDefault && !shown && !strings.Contains(v.Help, "Default:") && !strings.Contains(v.OrigHelp, "${default}") {
		described := *v
		described.Help += " Default: " + v.Default + "."
		v = &described
	}
	return kong.DefaultHelpValueFormatter(v)
}

// Endings returns the signals that ask a program to end. SIGHUP, which a closed terminal
// sends, is one of them, unless the program runs under nohup.
func Endings() []os.Signal {
	list := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		list = append(list, syscall.SIGHUP)
	}
	return list
}

// HungUp reports whether SIGHUP ended a command's context.
func HungUp(ctx context.Context) bool {
	return ctx.Err() != nil && strings.HasPrefix(context.Cause(ctx).Error(), syscall.SIGHUP.String()+" ")
}

func (p Program) fail(err error, code int) int {
	text := strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ")
	_ = Line(os.Stderr, "%s: %s", p.Name, text)
	return code
}

// UsageError is an error of the command line that is found only when the command runs.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

// CloseInTime closes c at the end of a program. It waits at most four seconds, so that
// the process can exit within five. A second signal ends the process at once.
func CloseInTime(c io.Closer, log *slog.Logger) error {
	again := make(chan os.Signal, 1)
	signal.Notify(again, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(again)
	closed := make(chan error, 1)
	go func() { closed <- c.Close() }()
	select {
	case err := <-closed:
		return err
	case <-time.After(closeTime):
		log.Info("not everything closed in time", "for", closeTime)
	case <-again:
		log.Info("interrupted while closing")
	}
	return nil
}

// Ready tells systemd that a service of Type=notify has started. It does nothing if
// systemd did not start the program.
func Ready() { notify("READY=1") }

// Watchdog tells systemd until ctx ends that the service is alive, unless held reports
// that something has been held up for half of the unit's WatchdogSec. Systemd ends a
// service that falls silent. Without WatchdogSec, Watchdog does nothing.
func Watchdog(ctx context.Context, held func() time.Duration) {
	most := watchdogTime()
	if most == 0 {
		return
	}
	ticker := time.NewTicker(most / 4)
	defer ticker.Stop()
	for {
		if held() < most/2 {
			notify("WATCHDOG=1")
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// watchdogTime returns after how much silence systemd ends this process; zero: never. See
// sd_watchdog_enabled(3).
func watchdogTime() time.Duration {
	if pid := os.Getenv("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0 // it is meant for another one
	}
	us, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || us < 4 || us > math.MaxInt64/int64(time.Microsecond) {
		return 0
	}
	return time.Duration(us) * time.Microsecond
}

// notify implements sd_notify(3).
func notify(state string) {
	addr := os.Getenv("NOTIFY_SOCKET")
	if addr == "" {
		return
	}
	if c, err := net.Dial("unixgram", addr); err == nil {
		_, _ = io.WriteString(c, state)
		_ = c.Close()
	}
}

// LogFlags are the flags that choose what is logged.
type LogFlags struct {
	LogLevel slog.Level `help:"Lowest level to log: debug, info, warn or error." default:"warn" placeholder:"LEVEL"`
}

// Logger returns a logger that writes to standard error. It also redirects go-libp2p's
// logs there, whose warnings are shown only from level info on: much of what libp2p warns
// about is the peer's doing.
func (f LogFlags) Logger() *slog.Logger {
	log, _ := f.LevelledLogger()
	return log
}

// LevelledLogger returns the same as Logger, and a function that changes the level.
func (f LogFlags) LevelledLogger() (log *slog.Logger, set func(slog.Level)) {
	level, theirs := new(slog.LevelVar), new(slog.LevelVar)
	set = func(to slog.Level) {
		level.Set(to)
		if to == slog.LevelWarn {
			to = slog.LevelError
		}
		theirs.Set(to)
	}
	set(f.LogLevel)
	gologshim.SetDefaultHandler(noClosedListeners{slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: theirs})})
	// Some libraries write to the standard log regardless of their caller, for example that
	// of mDNS on a machine without IPv6.
	handler := slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})
	standard := slog.NewLogLogger(handler, slog.LevelDebug)
	stdlog.SetFlags(standard.Flags())
	stdlog.SetOutput(standard.Writer())
	return slog.New(handler), set
}

// noClosedListeners drops an error that is of no interest: libp2p has closed a listener,
// and reports it by the text of transport.ErrListenerClosed instead of the error itself.
type noClosedListeners struct{ slog.Handler }

func (h noClosedListeners) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "swarm listener accept error" {
		closed := false
		r.Attrs(func(a slog.Attr) bool {
			closed = closed || a.Key == "err" && a.Value.String() == transport.ErrListenerClosed.Error()
			return true
		})
		if closed {
			return nil
		}
	}
	return h.Handler.Handle(ctx, r)
}

func (h noClosedListeners) WithAttrs(attrs []slog.Attr) slog.Handler {
	return noClosedListeners{h.Handler.WithAttrs(attrs)}
}

func (h noClosedListeners) WithGroup(name string) slog.Handler {
	return noClosedListeners{h.Handler.WithGroup(name)}
}
