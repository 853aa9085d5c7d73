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
	return func(yield func(Sample, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		answer, err := c.send(ctx, http.MethodGet, "/v1/samples", o.query(), nil)
		if err != nil {
			yield(Sample{}, err)
			return
		}
		defer func() { _ = answer.Body.Close() }()
		lines := bufio.NewScanner(answer.Body)
		lines.Buffer(nil, maxLine)
		for lines.Scan() {
			var s Sample
			if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
				yield(Sample{}, fmt.Errorf("watch: %w", err))
				return
			}
			if !yield(s, nil) {
				return
			}
		}
		switch err := lines.Err(); {
		case ctx.Err() != nil:
		case err != nil:
			yield(Sample{}, fmt.Errorf("watch: the stream broke: %w", err))
		case !o.Replay && o.For == 0: // it had no reason to end but the gateway's own end
			yield(Sample{}, fmt.Errorf("watch: %w any more: it has stopped", ErrUnreachable))
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
