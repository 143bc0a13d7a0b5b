//go:build js

package jsio

import (
	"context"
	"fmt"
	"io"
	"syscall/js"
)

// Fetch gets a URL with the platform's fetch, without cookies. A response that is not
// 200, or longer than most bytes, is an error.
func Fetch(ctx context.Context, url string, most int) ([]byte, error) {
	abort := global.Get("AbortController").New()
	stop := context.AfterFunc(ctx, func() { abort.Call("abort") })
	defer stop()
	asked, err := Call(global, "fetch", url, map[string]any{"cache": "no-store", "credentials": "omit", "signal": abort.Get("signal")})
	if err != nil {
		return nil, err
	}
	resp, err := Await(ctx, asked)
	if err != nil {
		return nil, fetchError(err, url)
	}
	status, _ := Get(resp, "status")
	if n, _ := Count(status, 0, 999); n != 200 {
		abort.Call("abort")
		return nil, fmt.Errorf("it answers HTTP %d", n)
	}
	body, err := Get(resp, "body")
	if err != nil || TypeOf(body) != js.TypeObject {
		return nil, fmt.Errorf("its answer has no body")
	}
	reader := NewReader(body, nil)
	defer reader.Cancel("it has been read")
	b, err := io.ReadAll(io.LimitReader(reader, int64(most)+1))
	if err == nil && len(b) > most {
		err = fmt.Errorf("it answers more than %d bytes", most)
	}
	return b, err
}

// fetchError adds a likely cause, because the platform reports only that a fetch failed.
func fetchError(err error, url string) error {
	location, _ := Get(global, "location")
	if protocol, _ := Get(location, "protocol"); TypeOf(protocol) == js.TypeString && protocol.String() == "https:" && len(url) > 5 && url[:5] == "http:" {
		return fmt.Errorf("%w (a page from https:// may ask https:// only, and localhost)", err)
	}
	return err
}
