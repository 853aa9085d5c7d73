package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/internal/api"
	"github.com/fieldloom/fieldloom/core/internal/stream"
)

// watchDepth is how many records a watcher of what happens now may be behind before some
// are left out.
const watchDepth = 256

// Watch implements api.Gateway. Every watcher reads the spool, from where it begins to its
// end and then whenever something was stored. One that says where to begin misses nothing
// and sees nothing twice. One from now on is to see what happens now: where it is too slow
// for that, records are left out, and it is told.
func (g *gateway) Watch(ctx context.Context, o client.WatchOptions, to api.Sink) error {
	g.watchers.Add(1)
	defer g.watchers.Add(-1)
	stored := stream.Store{Spool: g.spool, Catalog: g.catalog}
	now := o.After.IsZero() && o.Since.IsZero() // it is to see what happens from now on
	if o.After.IsZero() {
		o.After = stored.End()
		if !now || o.Replay {
			o.After = stored.Since(o.Since)
		}
	}
	c := stored.Open(o.After, o.Patterns)
	c.LeaveOut(o.Since)
	w := &watch{cursor: c, to: to}
	if err := w.begin(o.After); err != nil {
		return err
	}
	if o.Last {
		if err := g.sendValues(ctx, o.Patterns, to); err != nil {
			return err
		}
	}
	return w.follow(ctx, &o, now)
}

// watch is one watcher's way through what is stored.
type watch struct {
	cursor *stream.Cursor
	to     api.Sink
	sender
}

// begin tells the watcher where the stream begins, and, where that is not after the position
// that it asked for, why: the first entry does.
func (w *watch) begin(after client.Position) error {
	w.to.Begin(w.cursor.Begin())
	if w.cursor.Begin() == after {
		return nil
	}
	e, err := w.cursor.Next()
	if err != nil {
		return err
	}
	return w.send(e, w.to)
}

// follow sends what is stored, and what is stored later, until the stream has what was asked
// for. One that is to see what happens now leaves out what it is too slow for.
func (w *watch) follow(ctx context.Context, o *client.WatchOptions, now bool) error {
	limited := ctx // ends the stream, once it is up to date
	for {
		if err := w.sendAll(ctx); err != nil {
			return err
		}
		if now {
			w.cursor.KeepUp(watchDepth)
		}
		if err := w.to.Flush(); err != nil || o.Replay {
			return err
		}
		if o.For > 0 && limited == ctx {
			var cancel context.CancelFunc
			limited, cancel = context.WithTimeout(ctx, o.For)
			defer cancel()
		}
		if err := w.cursor.Wait(limited); err != nil {
			if ctx.Err() == nil && limited.Err() != nil {
				return nil // the time that was asked for is over
			}
			return err
		}
	}
}

// sendAll sends what is stored, up to the present end.
func (w *watch) sendAll(ctx context.Context) error {
	for ctx.Err() == nil {
		e, err := w.cursor.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := w.send(e, w.to); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// sender makes lines of entries.
type sender struct {
	out client.Sample // what is given to the sink
}

// send sends the samples of an entry, or tells of its gap. Nobody knows whose samples a gap
// is of, so every watcher is told.
func (s *sender) send(e *stream.Entry, to api.Sink) error {
	if g := e.Gap; g != nil {
		return to.Sample(lost(g, e.Position))
	}
	out := &s.out
	out.Stored = e.Stored
	for sample := range e.Samples() {
		out.Link, out.Device, out.Point, out.Unit = sample.Link, sample.Device, sample.Point, sample.Unit
		out.Value, out.Quality, out.Time, out.Fault = sample.Value, sample.Quality, sample.Time, nil
		if sample.Fault != nil {
			out.Fault = client.FaultOf(sample.Fault)
		}
		out.Position = e.At(sample)
		if err := to.Sample(out); err != nil {
			return err
		}
	}
	return nil
}

// lost is the line that tells of a gap.
func lost(g *stream.Gap, at client.Position) *client.Sample {
	line := &client.Sample{Time: g.Time, Fault: &client.Fault{Code: driver.Lost.String(), Text: g.Text}, Position: at}
	if g.Handle != 0 {
		line.Point = fmt.Sprintf("handle-%d", g.Handle)
	}
	return line
}
