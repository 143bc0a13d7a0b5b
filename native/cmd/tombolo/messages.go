package main

import (
	"context"
	"fmt"
	"os"
	"unicode"
	"unicode/utf8"

	"github.com/tombolo-net/tombolo/native/command"
	"github.com/tombolo-net/tombolo/native/control"
)

type sendCmd struct {
	clientFlags
	Peer string  `arg:"" help:"Peer ID, or a multiaddr that ends in /p2p/<id>."`
	Type string  `arg:"" help:"Type of the message."`
	Data *string `arg:"" optional:"" help:"The message. Default, or -: standard input, up to 1 MiB."`
}

// Run sends a message to one peer.
func (c *sendCmd) Run(ctx context.Context) error {
	data, err := messageData("send", c.Data)
	if err != nil {
		return err
	}
	_, err = call(ctx, c.clientFlags, control.VerbSend, control.MessageCall{Peer: c.Peer, Type: c.Type, Data: data})
	return err
}

type requestCmd struct {
	clientFlags
	outputFlags
	Peer string  `arg:"" help:"Peer ID, or a multiaddr that ends in /p2p/<id>."`
	Type string  `arg:"" help:"Type of the request."`
	Data *string `arg:"" optional:"" help:"The request. Default, or -: standard input, up to 1 MiB."`
}

// Run sends a request to a peer and prints its reply.
func (c *requestCmd) Run(ctx context.Context) error {
	data, err := messageData("request", c.Data)
	if err != nil {
		return err
	}
	reply, err := call(ctx, c.clientFlags, control.VerbRequest, control.MessageCall{Peer: c.Peer, Type: c.Type, Data: data})
	if err != nil {
		return err
	}
	if c.json() {
		return printJSON(reply)
	}
	return command.Data(os.Stdout, reply.Data)
}

type broadcastCmd struct {
	clientFlags
	Wait bool    `help:"If nobody is subscribed, wait for a subscriber, at most --timeout."`
	Type string  `arg:"" help:"Type of the message."`
	Data *string `arg:"" optional:"" help:"The message. Default, or -: standard input, up to 1 MiB."`
}

// Run sends a message to every subscriber of a type.
func (c *broadcastCmd) Run(ctx context.Context) error {
	data, err := messageData("broadcast", c.Data)
	if err != nil {
		return err
	}
	_, err = call(ctx, c.clientFlags, control.VerbBroadcast, control.MessageCall{Type: c.Type, Data: data, Wait: c.Wait})
	return err
}

type subscribeCmd struct {
	clientFlags
	JSON   bool   `help:"Print one JSON object per line, with the data in base64."`
	Buffer int    `help:"Maximum number of messages that wait to be printed." default:"1024" placeholder:"N"`
	Count  int    `short:"c" help:"Number of messages (0: until interrupted). Default: 0." placeholder:"N"`
	Type   string `arg:"" help:"Type of the messages, or for example room/* for all messages sent to this node whose type starts with room/."`
}

// Run prints messages as they arrive, until the reader of standard output has ended.
func (c *subscribeCmd) Run(ctx context.Context) error {
	begun, seen := false, 0
	q := control.SubscribeCall{Type: c.Type, Buffer: c.Buffer}
	ended, err := follow(ctx, c.clientFlags, control.VerbSubscribe, "subscribe", q, func(m control.Message) error {
		if !begun {
			begun = true // the daemon is subscribed from now on
			_ = command.Line(os.Stderr, "subscribed to %s", c.Type)
			return nil
		}
		print := printMessage
		if c.JSON {
			print = func(m control.Message) error { return printLine(m) }
		}
		if err := print(m); err != nil {
			return err
		}
		if seen++; seen == c.Count {
			return errEnough
		}
		return nil
	})
	if ended {
		return fmt.Errorf("subscribe: the daemon ended")
	}
	return err
}

func printMessage(m control.Message) error {
	if m.Missed > 0 {
		_ = command.Line(os.Stderr, "missed %d messages", m.Missed)
	}
	text := string(m.Data)
	if !utf8.Valid(m.Data) || !isText(text) {
		text = fmt.Sprintf("%q", m.Data)
	}
	return command.Line(os.Stdout, "%s %s %s", m.From, m.Type, text)
}

func isText(s string) bool {
	for _, r := range s {
		if !unicode.IsPrint(r) && r != '\t' {
			return false
		}
	}
	return true
}
