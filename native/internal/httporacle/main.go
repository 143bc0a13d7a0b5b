// Command httporacle reports how Go's net/http parses a request: the differential fuzz
// test of web/test/unit compares it with web/src/http. It prints its port, and ends with
// its standard input.
package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
)

func main() {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		log.Fatalf("httporacle: listen on 127.0.0.1: %v", err)
	}
	fmt.Println(l.Addr().(*net.TCPAddr).Port)
	server := &http.Server{Handler: http.HandlerFunc(tell), ErrorLog: log.New(io.Discard, "", 0)}
	go func() { log.Fatalf("httporacle: %v", server.Serve(l)) }()
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// tell responds with the parts of the request: its method, target and body.
func tell(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.Header().Set("Connection", "close")
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	said := fmt.Sprintf("@@%s %s %s@@", r.Method, hex.EncodeToString([]byte(r.RequestURI)), hex.EncodeToString(body))
	w.Header().Set("Content-Length", fmt.Sprint(len(said)))
	_, _ = io.WriteString(w, said)
}
