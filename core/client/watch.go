package client

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"time"
)

// maxLine bounds one line of a stream of samples.
const maxLine = 8 << 20

// WatchOptions choose what a watcher sees. The zero value is everything from now on.
type WatchOptions struct {
	Patterns []string      // LINK/DEVICE/POINT globs; LINK and LINK/DEVICE match all below them
	Since    time.Time     // not zero: what was stored from then on comes first
	Replay   bool          // end when all that is stored has come
	For      time.Duration // not zero: end so long after the stream is up to date
}

// Watch yields samples until ctx is done, the caller stops, or all that was asked for
// has come; a stream that ends before yields one last error. Samples that the
// caller was too slow for come as one with the code "lost".
func (c *Client) Watch(ctx context.Context, o WatchOptions) iter.Seq2[Sample, error] {
	samples := stream[Sample](ctx, c, http.MethodGet, "/v1/samples", o.query(), nil)
	if o.Replay || o.For > 0 {
		return samples
	}
	return endless(ctx, samples) // it has no reason to end but the gateway's own end
}

// errStopped says that a stream without an end has ended.
var errStopped = fmt.Errorf("%w any more: it has stopped", ErrUnreachable)

// endless is a stream that only the gateway's end ends.
func endless[T any](ctx context.Context, of iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for v, err := range of {
			if !yield(v, err) || err != nil {
				return
			}
		}
		if ctx.Err() == nil {
			var none T
			yield(none, errStopped)
		}
	}
}

// stream yields the lines of an answer, decoded, until it ends or ctx is done; an error is
// the last.
func stream[T any](ctx context.Context, c *Client, method, path string, query url.Values, in any) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		var none T
		answer, err := c.send(ctx, method, path, query, in)
		if err != nil {
			yield(none, err)
			return
		}
		defer func() { _ = answer.Body.Close() }()
		lines := bufio.NewScanner(answer.Body)
		lines.Buffer(nil, maxLine)
		for lines.Scan() {
			var v T
			if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
				yield(none, fmt.Errorf("%s: %w", path, err))
				return
			}
			if !yield(v, nil) {
				return
			}
		}
		if err := lines.Err(); err != nil && ctx.Err() == nil {
			yield(none, fmt.Errorf("%s: the stream broke: %w", path, err))
		}
	}
}

func (o WatchOptions) query() url.Values {
	q := url.Values{"pattern": o.Patterns}
	if !o.Since.IsZero() {
		q.Set("since", o.Since.UTC().Format(time.RFC3339Nano))
	}
	if o.Replay {
		q.Set("replay", "true")
	}
	if o.For > 0 {
		q.Set("for", o.For.String())
	}
	return q
}
