package native

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/tombolo-net/tombolo/core/reservation"
)

var _ reservation.Get = get

// get fetches a URL of at most most bytes. It keeps no connection open, because relays
// are asked rarely.
func get(ctx context.Context, url string, most int) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %s", resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, int64(most)+1))
	if err == nil && len(body) > most {
		err = fmt.Errorf("it answers more than %d bytes", most)
	}
	return body, err
}
