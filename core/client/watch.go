package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"time"

	"github.com/fieldloom/fieldloom/core/frame"
)

// maxLine bounds one line of a stream of samples.
const maxLine = 8 << 20

// A Position is a place in the stream of samples.
type Position = frame.Position

// WholeRecord is Position.Sample behind the last sample of a record.
const WholeRecord = frame.WholeRecord

// ParsePosition reads a position as Position.String writes it; "" is none.
func ParsePosition(text string) (Position, error) { return frame.ParsePosition(text) }

// WatchOptions choose what a watcher sees. The zero value is everything from now on.
type WatchOptions struct {
	Patterns []string      // LINK/DEVICE/POINT globs; LINK and LINK/DEVICE match all below them
	Last     bool          // begin with the last value of every point, as samples with Last set
	Since    time.Time     // not zero: what was stored from then on comes first
	After    Position      // not zero: go on after it, exactly
	Replay   bool          // end when all that is stored has come
	For      time.Duration // not zero: end so long after the stream is up to date
}

// Watch yields samples until ctx is done, the caller stops, or all that was asked for
// has come; a stream that ends before yields one last error, and WatchOptions.After with
// the last sample's position goes on where it ended. Samples that the caller was too slow
// for come as one with the code "lost".
func (c *Client) Watch(ctx context.Context, o WatchOptions) iter.Seq2[Sample, error] {
	samples := stream[Sample](ctx, c, http.MethodGet, samplesPath, o.query(), nil)
	if o.Replay || o.For > 0 {
		return samples
	}
	return endless(ctx, samples) // it has no reason to end but the gateway's own end
}

const (
	samplesPath = "/v1/samples"
	valuesPath  = "/v1/values"
	// PositionHeader is the header of a stream of samples with the position that it begins
	// after.
	PositionHeader = "Fieldloom-Position"
)

// Lines is Watch for who passes samples on or takes them apart with a Line: take gets
// them as they came, as whole lines, many at a time, and must not keep them. It returns the
// position after which another call goes on, with an error or without; zero where the
// stream never began.
func (c *Client) Lines(ctx context.Context, o WatchOptions, take func(lines []byte) error) (Position, error) {
	return c.lines(ctx, samplesPath, o.query(), o.After, o.Replay || o.For > 0, take)
}

// Values passes the last value of each point that matches one of the patterns to take, as
// Lines does; all of them without a pattern.
func (c *Client) Values(ctx context.Context, patterns []string, take func(lines []byte) error) error {
	_, err := c.lines(ctx, valuesPath, url.Values{"pattern": patterns}, Position{}, true, take)
	return err
}

// lines passes the lines of an answer on; mayEnd says that its end is no error.
func (c *Client) lines(ctx context.Context, path string, query url.Values, at Position, mayEnd bool, take func(lines []byte) error) (Position, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answer, err := c.send(ctx, http.MethodGet, path, query, nil)
	if err != nil {
		return at, err
	}
	defer func() { _ = answer.Body.Close() }()
	if begin, err := ParsePosition(answer.Header.Get(PositionHeader)); err == nil && !begin.IsZero() {
		at = begin
	}
	buffer := make([]byte, 128<<10)
	held := 0 // bytes of a line whose end has not come
	for {
		n, err := answer.Body.Read(buffer[held:])
		whole := held + bytes.LastIndexByte(buffer[held:held+n], '\n') + 1
		if n > 0 && whole > held {
			if err := take(buffer[:whole]); err != nil {
				return at, err
			}
			at = lastPosition(buffer[:whole], at)
			held = copy(buffer, buffer[whole:held+n])
		} else {
			held += n
		}
		if err != nil {
			return at, endOf(ctx, err, mayEnd)
		}
		if buffer, err = roomFor(buffer, held); err != nil {
			return at, err
		}
	}
}

// roomFor grows the buffer where the line that it holds the beginning of fills it.
func roomFor(buffer []byte, held int) ([]byte, error) {
	if held < len(buffer) {
		return buffer, nil
	}
	if len(buffer) >= maxLine {
		return nil, fmt.Errorf("%s: a line is longer than %d bytes", samplesPath, maxLine)
	}
	return append(buffer, make([]byte, len(buffer))...), nil
}

// lastPosition is the position of the last line that has one, or otherwise before.
func lastPosition(lines []byte, before Position) Position {
	i := bytes.LastIndex(lines, []byte(positionKey))
	if i < 0 {
		return before
	}
	text := lines[i+len(positionKey):]
	p, err := ParsePosition(string(text[:max(bytes.IndexByte(text, '"'), 0)]))
	if err != nil || p.IsZero() {
		return before
	}
	return p
}

// endOf is why a stream ended: nil where it may end by itself, and did.
func endOf(ctx context.Context, err error, mayEnd bool) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, io.EOF) && mayEnd:
		return nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errStopped
	}
	return fmt.Errorf("%s: the stream broke: %w: %w", samplesPath, ErrUnreachable, err)
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
		switch err := lines.Err(); {
		case err == nil, ctx.Err() != nil:
		case method == http.MethodGet && errors.Is(err, io.ErrUnexpectedEOF):
			yield(none, errStopped)
		default:
			yield(none, lostAnswer(answer.Request, err))
		}
	}
}

func (o WatchOptions) query() url.Values {
	q := url.Values{"pattern": o.Patterns}
	if !o.Since.IsZero() {
		q.Set("since", o.Since.UTC().Format(time.RFC3339Nano))
	}
	if !o.After.IsZero() {
		q.Set("after", o.After.String())
	}
	if o.Last {
		q.Set("last", "true")
	}
	if o.Replay {
		q.Set("replay", "true")
	}
	if o.For > 0 {
		q.Set("for", o.For.String())
	}
	return q
}
