package main

import (
	"context"
	"strconv"

	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/native/control"
)

type streamsCmd struct {
	Ls    streamsLsCmd    `cmd:"" default:"withargs" help:"List open or ended streams (the default command)."`
	Close streamsCloseCmd `cmd:"" help:"Reset streams at both ends."`
	Watch streamsWatchCmd `cmd:"" help:"Print each change of streams, listeners and forwards, one JSON object per line."`
}

type streamsLsCmd struct {
	clientFlags
	outputFlags
	Ended   bool `help:"List the last 256 streams that have ended, with the reason."`
	Verbose bool `short:"v" help:"The same as -o wide."`
}

// Run lists streams.
func (c *streamsLsCmd) Run(ctx context.Context) error {
	streams, err := call(ctx, c.clientFlags, control.VerbStreams, control.StreamsCall{Ended: c.Ended})
	if err != nil {
		return err
	}
	if c.Verbose {
		c.Output = "wide"
	}
	type s = bridge.StreamInfo
	return show(c.outputFlags, streams, []column[s]{
		{"id", false, func(s s) string { return strconv.FormatUint(s.ID, 10) }},
		{"protocol", false, func(s s) string { return string(s.Protocol) }},
		{"origin", false, func(s s) string { return s.Origin }},
		{"target", false, func(s s) string { return s.Target }},
		{"transport", false, func(s s) string { return s.Transport }},
		{"sent", false, func(s s) string { return amount(s.Sent) }},
		{"received", false, func(s s) string { return amount(s.Received) }},
		{"age", false, func(s s) string { return age(s.Opened) }},
		{"last active", true, func(s s) string { return age(s.LastActive) }},
		{"relay", true, func(s s) string { return orDash(s.Relay.String()) }},
		{"ended", !c.Ended, func(s s) string { return orDash(age(s.Ended)) }},
		{"why", !c.Ended, func(s s) string { return why(s) }},
	})
}

func why(s bridge.StreamInfo) string {
	switch {
	case s.Ended.IsZero():
		return "-"
	case s.Reason == "":
		return "complete"
	case s.Error != "":
		return s.Error
	}
	return string(s.Reason)
}

type streamsCloseCmd struct {
	clientFlags
	outputFlags
	All bool     `short:"a" help:"Close every open stream."`
	IDs []uint64 `arg:"" optional:"" name:"id" help:"IDs of open streams."`
}

// Run resets streams.
func (c *streamsCloseCmd) Run(ctx context.Context) error {
	closed, err := call(ctx, c.clientFlags, control.VerbCloseStreams, control.CloseStreamsCall{All: c.All, IDs: c.IDs})
	if err != nil {
		return err
	}
	return say(c.outputFlags, closed, "closed %d", closed.Closed)
}

type streamsWatchCmd struct{ clientFlags }

// Run prints changes until it is interrupted, or the reader of standard output has ended.
func (c *streamsWatchCmd) Run(ctx context.Context) error {
	_, err := follow(ctx, c.clientFlags, control.VerbWatch, "watch", control.None{}, func(change bridge.Change) error { return printLine(change) })
	return err
}

type servicesCmd struct {
	clientFlags
	outputFlags
	Peer string `arg:"" optional:"" help:"Peer whose services to list. Default: all connected peers."`
}

// Run lists the services that peers offer to this node.
func (c *servicesCmd) Run(ctx context.Context) error {
	offers, err := call(ctx, c.clientFlags, control.VerbServices, control.PeerCall{Peer: c.Peer})
	if err != nil {
		return err
	}
	return show(c.outputFlags, offers, []column[control.Offer]{
		{"peer", false, func(o control.Offer) string { return o.Peer.String() }},
		{"protocol", false, func(o control.Offer) string { return string(o.Protocol) }},
		{"description", false, func(o control.Offer) string { return o.Description }},
	})
}
