package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Profile writes a profile of the gateway's own process to w: cpu, trace, mutex and block are
// gathered for so long, at most a minute and where it is zero 10 s; heap, allocs and goroutine
// are of a moment. After an error what was written is not whole.
func (c *Client) Profile(ctx context.Context, kind string, long time.Duration, w io.Writer) error {
	query := url.Values{}
	if long != 0 {
		query.Set("for", long.String())
	}
	path := "/v1/profiles/" + url.PathEscape(kind)
	answer, err := c.do(ctx, http.MethodGet, path, query, nil, "")
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	if _, err := io.Copy(w, answer.Body); err != nil {
		return fmt.Errorf("profile %s: %w", kind, err)
	}
	return nil
}
