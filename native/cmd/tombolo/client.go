package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/message"
	"github.com/tombolo-net/tombolo/native/command"
	"github.com/tombolo-net/tombolo/native/control"
	"github.com/tombolo-net/tombolo/native/printable"
)

// clientFlags are the flags of every command that talks to a running daemon.
type clientFlags struct {
	dataDirFlag
	Timeout time.Duration `help:"Time that the daemon may take to answer." default:"60s" placeholder:"TIME"`
}

// call calls a verb of the daemon.
func call[Q, A any](ctx context.Context, f clientFlags, verb control.Verb[Q, A], q Q) (a A, err error) {
	client, err := control.NewClient(f.DataDir)
	if err != nil {
		return a, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, f.Timeout)
	defer cancel()
	a, err = verb.Call(ctx, client, q)
	if errors.Is(err, context.DeadlineExceeded) {
		return a, fmt.Errorf("%s: the daemon did not answer within %s; more time is given with --timeout", verb, f.Timeout)
	}
	return a, about(strings.ReplaceAll(string(verb), "/", " "), err)
}

// about names the command in an error that does not.
func about(verb string, err error) error {
	if err == nil || strings.HasPrefix(err.Error(), verb) || errors.Is(err, control.ErrNoDaemon) {
		return err // it needs no prefix
	}
	return fmt.Errorf("%s: %w", verb, err)
}

// errEnough is returned by a print function when no more lines are wanted.
var errEnough = errors.New("enough")

// follow calls a continuing verb and prints each line, until ctx ends, the reader of
// standard output has ended, or print returns errEnough. ended reports that none of these
// came first: the call was ended elsewhere, or the daemon has ended. name is the command,
// for errors.
func follow[Q, A any](ctx context.Context, f clientFlags, verb control.ContinuingVerb[Q, A], name string, q Q, print func(A) error) (ended bool, err error) {
	client, err := control.NewClient(f.DataDir)
	if err != nil {
		return false, err
	}
	defer client.Close()
	command.OutliveReaders()
	ctx, cancel := command.WhileRead(ctx)
	defer cancel()
	for line, err := range verb.Follow(ctx, client, q) {
		if err != nil {
			return false, interrupted(ctx, about(name, err))
		}
		switch err := print(line); {
		case errors.Is(err, errEnough):
			return false, nil
		case err != nil:
			return false, command.ReaderGone(err)
		}
	}
	return ctx.Err() == nil, nil
}

// outputFlags choose the format of a listing.
type outputFlags struct {
	JSON   bool   `help:"Print JSON; the same as -o json."`
	Output string `short:"o" help:"Output format: table, wide (all columns) or json." enum:"table,wide,json" default:"table" placeholder:"FORM"`
}

func (f outputFlags) json() bool { return f.JSON || f.Output == "json" }

// column is a column of a table. A wide one is shown only with -o wide.
type column[T any] struct {
	name string
	wide bool
	of   func(T) string
}

// show prints rows as JSON or as a table.
func show[T any](f outputFlags, rows []T, columns []column[T]) error {
	if f.json() {
		if rows == nil {
			rows = []T{}
		}
		return printJSON(rows)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	line := func(of func(column[T]) string) {
		var cells []string
		for _, c := range columns {
			if !c.wide || f.Output == "wide" {
				cells = append(cells, of(c))
			}
		}
		fmt.Fprintln(w, strings.TrimRight(strings.Join(cells, "\t"), "\t"))
	}
	line(func(c column[T]) string { return strings.ToUpper(c.name) })
	for _, row := range rows {
		line(func(c column[T]) string { return printable.Cell(c.of(row)) }) // escaped before it is measured
	}
	return w.Flush()
}

func printJSON(v any) error { return command.JSON(os.Stdout, "  ", v) }

// printLine prints JSON on one line, for continuing output.
func printLine(v any) error { return command.JSON(os.Stdout, "", v) }

// say prints v if JSON is wanted, otherwise the text.
func say(f outputFlags, v any, format string, args ...any) error {
	if f.json() {
		return printJSON(v)
	}
	return command.Line(os.Stdout, format, args...)
}

// peerFlag is a flag for a peer: a peer ID, or a multiaddr that ends in one.
type peerFlag struct{ peer.ID }

// UnmarshalText implements encoding.TextUnmarshaler.
func (f *peerFlag) UnmarshalText(text []byte) error {
	info, err := core.ParsePeer(string(text))
	f.ID = info.ID
	return err
}

func ids(flags []peerFlag) []peer.ID {
	var list []peer.ID
	for _, f := range flags {
		list = append(list, f.ID)
	}
	return list
}

// age formats how long ago t was: in seconds, minutes, hours or days.
func age(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	d := time.Since(t)
	switch {
	case d < time.Minute:
		return d.Round(time.Second).String()
	case d < time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	case d < 48*time.Hour:
		return strings.TrimSuffix(d.Round(time.Hour).String(), "0m0s")
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

// amount formats a number of bytes for a person.
func amount(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, i := float64(n), 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}

// messageData returns the data to send: the argument, or standard input if the argument
// is - or missing. From an input that is too long, or endless, it reads just enough to
// find that out.
func messageData(verb string, arg *string) ([]byte, error) {
	if arg != nil && *arg != "-" {
		return []byte(*arg), nil
	}
	b, err := io.ReadAll(io.LimitReader(os.Stdin, message.MaxData+1))
	if err != nil {
		return nil, fmt.Errorf("%s: read standard input: %w", verb, err)
	}
	if len(b) > message.MaxData {
		return nil, fmt.Errorf("%s: standard input is too large: a message has at most %d bytes (1 MiB) of data; give more through a stream, with tombolo listen and forward", verb, message.MaxData)
	}
	return b, nil
}
