// Command testpeer is a peer for tests that cannot start a native peer themselves: those that run in a browser, or in Node.js with
// GOOS=js. It is stock go-libp2p, so to Tombolo it is a peer of another implementation. Only its datagrams are those of Tombolo.
//
// It prints "control http://127.0.0.1:PORT" on standard output when it is ready. It ends, with every peer it started, when standard
// input closes or at SIGINT or SIGTERM. Any origin may call the control API (CORS). Answers are JSON; a malformed request gets a 4xx
// status and {"error": "…"}.
//
// # Peers
//
//	POST /peer?listen=ws,webtransport,webrtc-direct,tcp,quic   starts a host on 127.0.0.1 -> {"n":1,"peerId":"…",
//	                        "addrs":["/ip4/…/p2p/…"]}
//	     &ip6=1             also listens on ::1
//	     &wss=1             also listens on /tls/ws, with a self-signed certificate that nobody trusts
//	     &identity=WORD     always the same key, so the same peer ID and certificate hashes; otherwise a new key
//	     &process=1         runs in a separate process, so that it can be killed
//	     &relay=1           is a circuit v2 relay: no limits, 64 KiB buffers, private addresses in reservations
//	     &relayTTL=30s      how long the relay's reservations last; an hour by default
//	     &relayData=N       resets a circuit after N bytes each way, which also makes its connections "limited"
//	POST /peer/{n}/close    closes the host in the regular way
//	POST /peer/{n}/kill     SIGKILL; process=1 only
//	GET  /peer/{n}          the answer of POST /peer again, with the current addresses
//	GET  /peer/{n}/stats    {"connections","streams","goroutines","rssBytes","heapBytes","conns":[…]}; goroutines and memory of the
//	                        whole process, so exact only for process=1; &gc=1 collects garbage first
//
// kind:port makes a listener use a fixed port ("ws:4001"); quic and webtransport may share one. Resource limits are off.
//
// # Protocols that each peer serves
//
//	/test/echo/1, /tombolo/echo/1.0.0   sends everything back until the end, then ends
//	/test/sink/1        reads to the end, answers with the count (8 bytes, big endian) and the SHA-256 (32 bytes), ends
//	/test/source/1      reads N (8 bytes, big endian), sends N bytes of the pattern, ends
//	/test/stall/1       reads nothing until released, then acts as a sink
//	/test/reset/1       resets as soon as it has read one byte
//	/test/closeread/1   closes its reading side at once; when released, writes "still here" and ends
//	/test/wait/1        reads one byte, then neither reads, writes nor ends
//	/test/observe/1     reads to the end and records how the stream ended
//	/test/datagrams/1   sends back the datagrams of lane 7 until the stream ends; see package core/datagram
//
// Byte i of the pattern is i mod 251. When go-libp2p opens a stream, it sends the protocol's name with the first byte or when it
// starts to read: until then, the handler here has not started.
//
//	POST /peer/{n}/release    releases the stall and closeread streams that wait now, or else the first that comes within
//	                          10 s -> {"released":1}
//	GET  /peer/{n}/observed   the oldest record not returned before; waits up to 10 s for one: {"how":"eof"|"reset"|"error"|
//	                          "timeout","bytes","error","peer"}
//
// # Actions of a peer
//
// Each call takes to=MULTIADDR/p2p/ID (circuit addresses, too; a bare /p2p/ID uses an existing connection) and &timeout=30s. An
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
//	                                writes N bytes of the pattern, reads M bytes, then ends the stream as given; closewrite
//	                                (the default) also reads to the end -> "received", "sha256", "how"; hold keeps the stream
//	                                open -> "stream"
//	POST /peer/{n}/stream/{id}?bytes=N&read=M&end=…    continues with a held stream
//	POST /peer/{n}/reserve?to=      makes a reservation on that relay -> "circuit", "circuits", "expires", "limitBytes"
//
// # Servers that misbehave
//
// All answer {"n","peerId","addrs"}; the peer ID is valid and, for mutes, belongs to nobody. GET /server/{n} -> {"accepted","open",
// "streams","secured"}, counting connections (for WebTransport: sessions, or requests for one); POST /server/{n}/close ends it.
//
//	POST /mute?kind=tcp                    accepts and sends nothing; the first address is /ws, the second plain TCP
//	POST /mute?kind=ws                     upgrades to WebSocket, then sends nothing
//	POST /mute?kind=webtransport           grants the session, accepts streams, never speaks Noise
//	POST /mute?kind=webtransport-session   speaks HTTP/3, never answers the request for a session
//	POST /rogue?kind=missing-certhash      correct Noise, but its early data has another certificate hash than its address
//	POST /rogue?kind=second-certhash       its address has two hashes, its early data only the one in use
//	POST /rogue?kind=no-certhash           its early data has no hash
//	POST /rogue?kind=garbage               grants the session and answers Noise with bytes that are not a handshake
//	POST /rogue?kind=reset                 grants the session and resets the first stream
//	POST /rogue?kind=close                 correct Noise, then closes with code 2^32-1 and the longest reason
//	POST /rogue?kind=flood                 correct Noise, then streams of both kinds and datagrams, as many as it may
//	POST /intruder?to=MULTIADDR/p2p/ID&bytes=HEX   forwards the data to and from that peer, over /ws, and inserts the bytes
//	     &after=K          after K WebSocket frames of the peer; 0, the default, is after the HTTP response, and -1 in its place
//	     &times=N          N times
//	     &then=end|hold    then closes the TCP connection, or sends nothing more; without it, the peer's data follows
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
