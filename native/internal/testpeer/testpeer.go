// Command testpeer is the peer of tests that run where they cannot start a native peer themselves: in a browser, or in Node with
// GOOS=js. It consists of stock go-libp2p and imports nothing of Tombolo, so to Tombolo it is a peer of another implementation.
//
// It prints "control http://127.0.0.1:PORT" on standard output once ready and ends when standard input closes, or at SIGINT or
// SIGTERM, taking every peer it started with it. Any origin may call the control API (CORS). Answers are JSON; a request that
// cannot be understood gets a 4xx status and {"error": "…"}.
//
// # Peers
//
//	POST /peer?listen=ws,webtransport,tcp,quic   starts a host on 127.0.0.1 -> {"n":1,"peerId":"…","addrs":["/ip4/…/p2p/…"]}
//	     &ip6=1             listens on ::1 too
//	     &wss=1             listens on /tls/ws too, with a self-signed certificate that nobody trusts
//	     &identity=WORD     the same key, and so the same peer ID and certificate hashes, each time; otherwise a fresh one
//	     &process=1         runs in a process of its own, so that it can be killed
//	     &relay=1           is a circuit v2 relay: no limits, 64 KiB buffers, private addresses in reservations
//	     &relayTTL=30s      how long the relay's reservations last; an hour if absent
//	     &relayData=N       resets a circuit after N bytes each way, which also makes its connections "limited"
//	POST /peer/{n}/close    closes the host, and says goodbye
//	POST /peer/{n}/kill     SIGKILL; process=1 only
//	GET  /peer/{n}          the answer of POST /peer again, with the addresses of now
//	GET  /peer/{n}/stats    {"connections","streams","goroutines","rssBytes","heapBytes","conns":[…]}; of the whole process,
//	                        so exact for process=1; &gc=1 collects garbage first
//
// A listener takes a fixed port as kind:port ("ws:4001"); quic and webtransport may share one. Resource limits are off.
//
// # Protocols that each peer serves
//
//	/test/echo/1, /tombolo/echo/1.0.0   sends back what comes until the end, then ends
//	/test/sink/1        reads to the end, answers the count (8 bytes, big endian) and the SHA-256 (32 bytes), ends
//	/test/source/1      reads N (8 bytes, big endian), sends N bytes of the pattern, ends
//	/test/stall/1       reads nothing until released, then is a sink
//	/test/reset/1       resets as soon as it has read one byte
//	/test/closeread/1   closes its reading side at once; when released writes "still here" and ends
//	/test/wait/1        reads one byte, then neither reads, writes nor ends
//	/test/observe/1     reads to the end and records how that was
//
// Byte i of the pattern is i mod 251. A go-libp2p that opens a stream sends the protocol's name with its first byte, or when it
// starts to read: until then the handler here has not begun.
//
//	POST /peer/{n}/release    lets go the stall and closeread streams that wait now, or the first that comes within
//	                          10 s -> {"released":1}
//	GET  /peer/{n}/observed   the oldest record not yet given out, waiting up to 10 s for one: {"how":"eof"|"reset"|"error"|
//	                          "timeout","bytes","error","peer"}
//
// # What a peer does when told
//
// Each call takes to=MULTIADDR/p2p/ID (circuit addresses too; a bare /p2p/ID uses an existing connection) and &timeout=30s. An
// existing connection is used, whatever its address; &fresh=1 closes it first. Answers contain "ok", "error", "ms" (without the
// dial), "dialMs", "transport", "relayed", "limited" and "addr".
//
//	POST /peer/{n}/connect?to=      dials
//	POST /peer/{n}/disconnect?to=   closes every connection to that peer
//	POST /peer/{n}/echo?to=&protocol=/tombolo/echo/1.0.0&bytes=N&repeat=K
//	                                sends random bytes while it reads them back, ends, compares -> "bytes", "sha256"
//	POST /peer/{n}/ping?to=         -> "rttMs"
//	POST /peer/{n}/identify?to=     -> "agent", "protocolVersion", "protocols", "addrs", "observed"
//	POST /peer/{n}/open?to=&protocol=&bytes=N&read=M&end=closewrite|close|reset|hold
//	                                writes N bytes of the pattern, reads M bytes, then ends so; closewrite (the default)
//	                                reads to the end -> "received", "sha256", "how"; hold keeps the stream -> "stream"
//	POST /peer/{n}/stream/{id}?bytes=N&read=M&end=…    goes on with a held stream
//	POST /peer/{n}/reserve?to=      reserves a slot on that relay -> "circuit", "circuits", "expires", "limitBytes"
//
// # Servers that misbehave
//
// All answer {"n","peerId","addrs"}; the peer ID is valid and, for mutes, nobody's. GET /server/{n} -> {"accepted","open",
// "streams","secured"}, counting connections (for WebTransport: sessions, or requests for one); POST /server/{n}/close ends it.
//
//	POST /mute?kind=tcp                    accepts and says nothing; the first address is /ws, the second plain TCP
//	POST /mute?kind=ws                     upgrades to WebSocket, then says nothing
//	POST /mute?kind=webtransport           grants the session, accepts streams, never speaks Noise
//	POST /mute?kind=webtransport-session   speaks HTTP/3, never answers the request for a session
//	POST /rogue?kind=missing-certhash      correct Noise, but its early data names another certificate hash than its address
//	POST /rogue?kind=second-certhash       its address names two hashes, its early data only the one in use
//	POST /rogue?kind=no-certhash           its early data names none
//	POST /rogue?kind=garbage               grants the session, and answers Noise with bytes that are no handshake
//	POST /rogue?kind=reset                 grants the session, and resets the first stream
//	POST /rogue?kind=close                 correct Noise, then closes with code 2^32-1 and the longest reason
//	POST /rogue?kind=flood                 correct Noise, then streams of both kinds and datagrams, as many as it may
//	POST /intruder?to=MULTIADDR/p2p/ID&bytes=HEX   passes on what goes to and from that peer, over /ws, and sends the bytes too
//	     &after=K          after K WebSocket frames of the peer; 0, the default, is after the HTTP response, and -1 in its place
//	     &times=N          so many times
//	     &then=end|hold    then closes the TCP connection, or says no more; without it, the peer is heard on
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "testpeer:", err)
		os.Exit(1)
	}
}

// run serves the control API until ctx is done or in ends, then closes every peer.
func run(ctx context.Context, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // ends with the process at the latest: a read of standard input cannot be interrupted
		io.Copy(io.Discard, in)
		cancel()
	}()

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen for the control API: %w", err)
	}
	c := newControl()
	defer c.close()
	srv := &http.Server{Handler: c}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	fmt.Fprintf(out, "control http://%s\n", l.Addr())

	select {
	case <-ctx.Done():
		srv.Close()
		<-served
		return nil
	case err := <-served:
		return fmt.Errorf("serve the control API: %w", err)
	}
}
