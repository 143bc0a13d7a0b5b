package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/tombolo-net/tombolo/native/command"
	"github.com/tombolo-net/tombolo/native/control"
)

type pairCmd struct {
	clientFlags
	JSON bool   `help:"Print one JSON object per line."`
	Code string `arg:"" optional:"" help:"Code that the other peer shows; - reads it from standard input, which other users of this machine cannot see. Default: show a code and wait until the other peer has used it, at most ten minutes."`
}

// Run meets a peer by a code.
func (c *pairCmd) Run(ctx context.Context) error {
	switch c.Code {
	case "":
		return c.show(ctx)
	case "-":
		line, err := bufio.NewReader(io.LimitReader(os.Stdin, 1<<10)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("pair: read standard input: %w", err)
		}
		c.Code = strings.TrimSpace(line)
	}
	met, err := call(ctx, c.clientFlags, control.VerbPair, control.PairCall{Code: c.Code})
	if err != nil {
		return interrupted(ctx, err)
	}
	if c.JSON {
		return printLine(met)
	}
	if err := command.Line(os.Stdout, "paired with %s", met.Peer); err != nil || met.Protocol == "" {
		return err
	}
	return command.Line(os.Stdout, "it shares %s: run tombolo forward %s 127.0.0.1:8080 %s", met.Protocol, met.Protocol, met.Peer)
}

func (c *pairCmd) show(ctx context.Context) error {
	ended, err := follow(ctx, c.clientFlags, control.VerbPairShow, "pair", control.None{}, func(p control.Pairing) error {
		print := printPairing
		if c.JSON {
			print = func(p control.Pairing) error { return printLine(p) }
		}
		if err := print(p); err != nil {
			return err
		}
		if p.Peer != "" {
			return errEnough
		}
		return nil
	})
	if ended {
		return errors.New("pair: the daemon ended")
	}
	return err
}

func printPairing(p control.Pairing) error {
	if p.Peer != "" {
		return command.Line(os.Stdout, "paired with %s", p.Peer)
	}
	return command.Line(os.Stdout, "code %s until %s: on the other machine, run tombolo pair %s, or type the code on the relay's page", p.Code, p.Expires.Local().Format(time.TimeOnly), p.Code)
}
