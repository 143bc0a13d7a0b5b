package main

import (
	"context"
	"os"
	"slices"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/tombolo-net/tombolo/native/command"
	"github.com/tombolo-net/tombolo/native/control"
)

type benchCmd struct {
	clientFlags
	outputFlags
	Size   byteSize `help:"Amount to send and get back, for example 64MiB." default:"64MiB" placeholder:"BYTES"`
	Rounds int      `help:"Number of round trips and transfers." default:"20" placeholder:"N"`
	Peer   string   `arg:"" help:"Peer ID, or a multiaddr that ends in /p2p/<id>."`
}

// benchResult is the result of a benchmark.
type benchResult struct {
	Peer      string  `json:"peer"`
	Transport string  `json:"transport"`
	Relayed   bool    `json:"relayed"`
	P50       float64 `json:"rttP50Ms"`
	P99       float64 `json:"rttP99Ms"`
	Bytes     int64   `json:"bytes"`        // both ways
	Rate      float64 `json:"mibPerSecond"` // both ways together
}

// benchPart is how many bytes one echo of the throughput measurement carries: no more
// than the daemon echoes at once.
const benchPart = 16 << 20

// Run measures with the peer's echo service.
func (c *benchCmd) Run(ctx context.Context) error {
	if c.Rounds < 1 || c.Size < 1 {
		return usage("--rounds and --size are at least 1")
	}
	p, err := call(ctx, c.clientFlags, control.VerbConnect, control.PeerCall{Peer: c.Peer})
	if err != nil {
		return err
	}
	bar := progressbar.NewOptions64(int64(c.Rounds)+int64(c.Size), progressbar.OptionSetWriter(os.Stderr),
		progressbar.OptionSetDescription("measuring"), progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetVisibility(command.IsTerminal(os.Stderr) && !c.json()))
	defer func() { _ = bar.Finish() }()
	var trips []float64
	for range c.Rounds {
		pong, err := call(ctx, c.clientFlags, control.VerbPing, control.PeerCall{Peer: p.ID.String()})
		if err != nil {
			return err
		}
		trips = append(trips, pong.RTT)
		_ = bar.Add(1)
	}
	slices.Sort(trips)
	result := benchResult{Peer: p.ID.String(), Transport: p.Transport, Relayed: p.Relay != "",
		P50: trips[len(trips)/2], P99: trips[(len(trips)*99)/100], Bytes: 2 * int64(c.Size)}
	var seconds float64
	for left := int64(c.Size); left > 0; left -= benchPart {
		echoed, err := call(ctx, c.clientFlags, control.VerbEcho, control.EchoCall{Peer: p.ID.String(), Bytes: int(min(left, benchPart))})
		if err != nil {
			return err
		}
		seconds += echoed.Seconds
		_ = bar.Add64(min(left, benchPart))
	}
	_ = bar.Finish()
	result.Rate = float64(result.Bytes) / (1 << 20) / seconds
	return say(c.outputFlags, result, "%s via %s: rtt p50 %s p99 %s, echo of %s at %.0f MiB/s both ways together",
		result.Peer, result.Transport, rtt(result.P50), rtt(result.P99), amount(int64(c.Size)), result.Rate)
}
