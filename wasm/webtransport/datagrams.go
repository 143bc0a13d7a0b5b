//go:build js

package webtransport

import (
	"context"
	"fmt"
	"math"
	"sync"
	"syscall/js"

	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

// datagrams sends and receives the datagrams of a session, for package datagram.
type datagrams struct {
	conn   *conn
	js     js.Value
	once   sync.Once
	err    error // set if the browser does not support them
	reader js.Value
	writer js.Value
}

// open takes the browser's streams of datagrams at the first use. Until then the browser
// keeps the newest that arrive, and drops the rest.
func (d *datagrams) open() error {
	d.once.Do(func() {
		_, d.err = jsio.Try(func() js.Value {
			d.js = d.conn.js.Get("datagrams")
			d.reader = d.js.Get("readable").Call("getReader")
			d.writer = writable(d.js).Call("getWriter")
			return js.Undefined()
		})
	})
	return d.err
}

// writable returns the stream that datagrams are written to. In the newer form of the
// standard, a function makes it.
func writable(datagrams js.Value) js.Value {
	if create := datagrams.Get("createWritable"); create.Type() == js.TypeFunction {
		return datagrams.Call("createWritable")
	}
	return datagrams.Get("writable")
}

// SendDatagram waits until the browser has taken the datagram. It fails for a datagram
// that is too large, which the browser would drop silently.
func (d *datagrams) SendDatagram(data []byte) error {
	if most := d.js.Get("maxDatagramSize"); most.Type() == js.TypeNumber && len(data) > most.Int() {
		return fmt.Errorf("send a datagram of %d bytes: the browser takes at most %d", len(data), most.Int())
	}
	p, err := jsio.Try(func() js.Value { return d.writer.Call("write", jsio.Uint8Array(data)) })
	if err == nil {
		_, err = jsio.Await(context.Background(), p)
	}
	if err != nil {
		return fmt.Errorf("send a datagram: %w", d.conn.explain(err))
	}
	return nil
}

// ReceiveDatagram waits for the next datagram.
func (d *datagrams) ReceiveDatagram(ctx context.Context) ([]byte, error) {
	p, err := jsio.Try(func() js.Value { return d.reader.Call("read") })
	var r js.Value
	if err == nil {
		r, err = jsio.Await(ctx, p)
	}
	if err != nil {
		return nil, fmt.Errorf("receive a datagram: %w", d.conn.explain(err))
	}
	if done, err := jsio.Get(r, "done"); err != nil || done.Truthy() {
		<-d.conn.closed
		return nil, d.conn.reason()
	}
	value, err := jsio.Get(r, "value")
	if err != nil {
		return nil, err
	}
	return jsio.Bytes(value, math.MaxUint16)
}
