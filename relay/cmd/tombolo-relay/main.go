// Command tombolo-relay joins browser tabs and native peers: see package relay.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/native/command"
	"github.com/tombolo-net/tombolo/native/stack"
	"github.com/tombolo-net/tombolo/relay"
)

// cli is the command line. A flag with the tag restart, whose value is the flag's name,
// cannot change while the relay runs.
type cli struct {
	DataDir         string              `help:"Directory of the identity and of everything that is kept." default:"~/.tombolo-relay" type:"path" placeholder:"DIR"`
	Port            uint16              `help:"TCP port (page, WebSocket, plain TCP) and UDP port (QUIC, WebTransport, WebRTC-direct) on every interface (0: any free port)." default:"8080" restart:"port"`
	Listen          []command.Listen    `help:"Address to listen on instead: host:port for all transports, or a multiaddr for one. Repeatable." placeholder:"MADDR" restart:"listen"`
	Announce        []command.Multiaddr `help:"Additional address to announce to peers, for example of a proxy. Repeatable." placeholder:"MADDR"`
	Network         string              `help:"Name of the mesh to join." default:"${network}" restart:"network"`
	Peer            []command.Peer      `help:"Another relay to stay connected to, so that both form one mesh: a multiaddr ending in /p2p/<id>. Repeatable." placeholder:"MADDR"`
	Peers           peerCount           `help:"Number of connected peers to size limits for." default:"${peers}"`
	PeersPerAddress uint32              `help:"Maximum number of reservations for one address (0: half of --peers)."`
	CircuitsPerPeer uint32              `help:"Maximum number of circuits that begin or end at one peer." default:"${circuits}"`
	PeerRate        uint32              `help:"Bytes per second that one peer may send through circuits (0: no limit)." default:"${rate}"`
	Rate            uint64              `help:"Bytes per second that all peers together may send through circuits, in equal shares (0: as many as the machine carries without making small messages wait)."`
	BroadcastRate   uint32              `help:"Bytes per second that one peer may broadcast, after 4 MiB at once (0: no limit)." default:"${broadcast}"`
	Topics          uint32              `help:"Maximum number of message types to forward among peers." default:"${topics}" restart:"topics"`
	HistoryBytes    uint32              `help:"Bytes of messages to keep for peers that are offline." default:"${history}" restart:"history-bytes"`
	Closed          bool                `help:"Take only peers that the file access in the data directory allows, peers with a token (see tombolo-relay token --help), and the relays of --peer."`
	Admission       admissionURL        `help:"Ask this http or https URL about each peer that wants a reservation and that neither the file access nor a token lets in. Implies --closed." placeholder:"URL"`
	Domain          []domain            `help:"Host name or IP address to get a certificate for, so that the TCP port speaks https and wss, too: port 443 of it must be the TCP port, or be forwarded to it. Repeatable." placeholder:"NAME" restart:"domain"`
	AutoTLS         bool                `name:"auto-tls" help:"Get a certificate for names of a broker, which the relay's public IP address is part of: for a relay that has no --domain. The broker is the public one of libp2p." restart:"auto-tls"`
	AutoTLSDomain   string              `name:"auto-tls-domain" help:"What the names end in, with a broker of your own." default:"${autotls}" placeholder:"NAME" restart:"auto-tls-domain"`
	AutoTLSBroker   string              `name:"auto-tls-broker" help:"Where to register with the broker. Default: https://registration. and --auto-tls-domain." placeholder:"URL" restart:"auto-tls-broker"`
	AcmeURL         string              `name:"acme-url" help:"Directory of the authority that gives certificates. Default: that of Let's Encrypt." placeholder:"URL" restart:"acme-url"`
	AcmeEmail       string              `name:"acme-email" help:"Where the authority may write to you." placeholder:"ADDR" restart:"acme-email"`
	Cert            string              `help:"PEM file of a certificate and its chain to use instead of --domain. It is read anew when it changes." type:"path" placeholder:"FILE" restart:"cert"`
	Key             string              `help:"PEM file of the key of --cert." type:"path" placeholder:"FILE" restart:"key"`
	Redirect        command.HostPort    `help:"Redirect HTTP requests on this host:port, such as :80, to https. Default: nowhere." placeholder:"ADDR" restart:"redirect"`
	TrustedProxy    []proxyRange        `help:"IP address or range of a proxy before the TCP port, which is believed whom it speaks for, by X-Forwarded-For or the PROXY protocol. Repeatable." placeholder:"RANGE" restart:"trusted-proxy"`
	DrainTime       time.Duration       `help:"How long peers have, after SIGTERM and tombolo-relay drain, to move to another relay (0: none, the relay ends at once)." default:"1m"`
	MapPorts        bool                `help:"Ask the router, by UPnP or NAT-PMP, to forward the ports." default:"true" negatable:"" restart:"map-ports"`
	Page            string              `help:"Folder to serve as the page, instead of the page in this program." placeholder:"DIR" type:"existingdir" xor:"page" restart:"page"`
	NoPage          bool                `help:"Serve no page." xor:"page" restart:"no-page"`
	Docs            string              `help:"Folder to serve under /docs/, such as web/dist/docs. Default: none." placeholder:"DIR" type:"existingdir" restart:"docs"`
	Embed           []string            `help:"Origin whose pages may show the page in a frame, for example https://example.com. Repeatable." placeholder:"ORIGIN" restart:"embed"`
	Metrics         command.HostPort    `help:"Serve Prometheus metrics under /metrics on this host:port. Default: nowhere." placeholder:"ADDR" restart:"metrics"`
	Config          command.ConfigFlag  `help:"TOML file with values for these flags, by their names. Default: config.toml in the data directory, if it exists. SIGHUP and tombolo-relay reload read it anew." placeholder:"FILE" type:"path"`
	Version         kong.VersionFlag    `help:"Print the version and exit." env:"-"`
	command.LogFlags

	file *command.Config // nil if there is none
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "token" {
		os.Exit(tokenProgram().Main(os.Args[2:]))
	}
	if len(os.Args) > 1 && slices.Contains(adminCommands, os.Args[1]) {
		os.Exit(adminProgram().Main(os.Args[1:]))
	}
	os.Exit(program(&cli{}).Main(os.Args[1:]))
}

func program(flags *cli) command.Program {
	return command.Program{
		Name:        "tombolo-relay",
		Description: "A relay that joins browser tabs and native peers to a Tombolo mesh, and serves the page. For its operator: tombolo-relay token, peers, top, limits, rules, kick, ban, unban, allow, disallow, drain, reload; see --help of each.",
		EnvPrefix:   "TOMBOLO_RELAY",
		Flags:       flags,
		Endings:     []os.Signal{os.Interrupt},
		Vars: kong.Vars{
			"network":   core.DefaultNetwork,
			"peers":     strconv.Itoa(relay.DefaultPeers),
			"circuits":  strconv.Itoa(relay.DefaultCircuitsPerPeer),
			"rate":      strconv.Itoa(relay.DefaultPeerRate),
			"broadcast": strconv.Itoa(relay.DefaultBroadcastRate),
			"topics":    strconv.Itoa(relay.DefaultTopics),
			"history":   strconv.Itoa(relay.DefaultHistoryBytes),
			"autotls":   relay.DefaultAutoTLSDomain,
		},
	}
}

// Run runs the relay until interrupted or drained, and prints its addresses on standard
// output.
func (c *cli) Run(ctx context.Context) (err error) {
	command.OutliveReaders()
	log, setLevel := c.LevelledLogger()
	site, noSite := c.site()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, reloading(syscall.SIGTERM)...)
	defer signal.Stop(signals)
	starting, started := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer started()
	o, err := c.options()
	if err != nil {
		return err
	}
	o.Site, o.Logger = site, log
	o.Reread = func(apply func(relay.Options) error) error { return c.reread(apply, setLevel) }
	r, err := relay.New(starting, o)
	if err != nil {
		if starting.Err() != nil {
			return nil
		}
		return c.explain(err)
	}
	var ready string
	for _, a := range r.Node().Addrs() {
		ready += fmt.Sprintln("listening", a)
	}
	if page := r.PageURL(); page != "" && !c.NoPage {
		ready += fmt.Sprintln("page", page)
	}
	if metrics := r.MetricsURL(); metrics != "" {
		ready += fmt.Sprintln("metrics", metrics)
	}
	fmt.Print(ready) // in one piece
	command.Ready()
	if noSite != nil {
		log.Warn("there is no page to serve", "error", noSite)
	}
	wait(ctx, r, signals, log)
	return command.CloseInTime(r, log)
}

// reloading adds the signal that reloads the configuration, unless nohup ignores it.
func reloading(signals ...os.Signal) []os.Signal {
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}

// wait waits until it is time to end. SIGTERM begins a drain, and a second one ends it.
func wait(ctx context.Context, r *relay.Relay, signals <-chan os.Signal, log *slog.Logger) {
	for draining := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-r.Drained():
			return
		case s := <-signals:
			switch {
			case s == syscall.SIGHUP:
				if err := r.Reload(); err != nil {
					log.Error("nothing is reloaded", "error", err)
				} else {
					log.Info("reloaded")
				}
			case draining:
				return
			default:
				draining = true
				r.Drain()
			}
		}
	}
}

// options returns the relay's options from the flags.
func (c *cli) options() (o relay.Options, err error) {
	listen := command.Addrs(c.Listen)
	if len(listen) == 0 {
		listen = stack.DefaultListen(int(c.Port), int(c.Port))
	}
	others, err := command.Peers(c.Peer)
	if err != nil {
		return o, err
	}
	drain := c.DrainTime
	if drain == 0 {
		drain = -1
	}
	return relay.Options{
		DataDir:       c.DataDir,
		Listen:        listen,
		Announce:      command.Multiaddrs(c.Announce),
		Network:       c.Network,
		Peers:         others,
		NoPortMapping: !c.MapPorts,
		Docs:          folder(c.Docs),
		Embedders:     c.Embed,
		Closed:        c.Closed,
		Admission:     string(c.Admission),
		DrainTime:     drain,
		Limits:        c.limits(),
		MetricsListen: string(c.Metrics),
		TLS: relay.TLS{
			Domains: domains(c.Domain), AutoTLS: c.autoTLS(), ACME: relay.ACME{Directory: c.AcmeURL, Email: c.AcmeEmail},
			CertFile: c.Cert, KeyFile: c.Key,
		},
		RedirectListen: string(c.Redirect),
		TrustedProxies: ranges(c.TrustedProxy),
	}, nil
}

func (c *cli) autoTLS() *relay.AutoTLS {
	if !c.AutoTLS {
		return nil
	}
	return &relay.AutoTLS{Domain: c.AutoTLSDomain, Broker: c.AutoTLSBroker}
}

func (c *cli) limits() relay.Limits {
	l := relay.Limits{
		Peers: int(c.Peers), PeersPerAddress: int(c.PeersPerAddress), CircuitsPerPeer: int(c.CircuitsPerPeer), PeerRate: int64(c.PeerRate), Rate: int64(min(c.Rate, math.MaxInt64)),
		BroadcastRate: int(c.BroadcastRate), Topics: int(c.Topics), HistoryBytes: int(c.HistoryBytes),
	}
	if l.PeerRate == 0 {
		l.PeerRate = -1
	}
	if l.BroadcastRate == 0 {
		l.BroadcastRate = -1
	}
	return l
}

// explain adds what to try to an error.
func (c *cli) explain(err error) error {
	var inUse *stack.InUseError
	if !errors.As(err, &inUse) {
		return err
	}
	if len(c.Listen) > 0 {
		return fmt.Errorf("%w; choose another with --listen", err)
	}
	return fmt.Errorf("%w; choose another with --port", err)
}
