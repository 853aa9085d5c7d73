// Package samples sends the samples of a gateway to who asks for them: as a stream of what is
// stored and what comes (Watch), and the last value of each point (Values).
package samples

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/gateway/internal/inforce"
	"github.com/fieldloom/fieldloom/core/internal/api"
	"github.com/fieldloom/fieldloom/core/internal/stream"
)

// watchDepth is how many records a watcher of what happens now may be behind before some
// are left out.
const watchDepth = 256

// A Service sends samples. Its methods may be called concurrently.
type Service struct {
	inForce   *inforce.Current
	controlOf func(driverName, link string) (control.Plane, error)
	store     stream.Store
	stored    storedValues // what was found of last values, with a lock of its own
	watchers  atomic.Int32 // streams that are being sent
}

var _ api.Samples = (*Service)(nil)

// New returns a service of what is stored. controlOf finds the process that has a link.
func New(current *inforce.Current, store stream.Store, controlOf func(driverName, link string) (control.Plane, error)) *Service {
	return &Service{inForce: current, controlOf: controlOf, store: store, stored: storedValues{spool: store.Spool, catalog: store.Catalog}}
}

// Watchers is how many streams are being sent.
func (s *Service) Watchers() int { return int(s.watchers.Load()) }

// Close forgets what was found. The service may not be asked any more.
func (s *Service) Close() { s.stored.close() }

// Watch implements api.Samples. Every watcher reads the spool, from where it begins to its end
// and then whenever something was stored. One that says where to begin misses nothing and sees
// nothing twice. One from now on is to see what happens now: where it is too slow for that,
// records are left out, and a line says how many.
func (s *Service) Watch(ctx context.Context, o client.WatchOptions, to api.Sink) error {
	s.watchers.Add(1)
	defer s.watchers.Add(-1)
	now := o.After.IsZero() && o.Since.IsZero() // it is to see what happens from now on
	if o.After.IsZero() {
		o.After = s.store.End()
		if !now || o.Replay {
			o.After = s.store.Since(o.Since)
		}
	}
	c := s.store.Open(o.After, o.Patterns)
	c.LeaveOut(o.Since)
	w := &watch{cursor: c, to: to}
	if err := w.begin(o.After); err != nil {
		return err
	}
	if o.Last {
		if err := s.sendValues(ctx, o.Patterns, to); err != nil {
			return err
		}
	}
	return w.follow(ctx, &o, now)
}

// watch is one watcher's way through what is stored.
type watch struct {
	cursor *stream.Cursor
	to     api.Sink
	Sender
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
	return w.Send(e, w.to)
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
		if err := w.Send(e, w.to); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// A Sender makes lines of entries.
type Sender struct {
	out client.Sample // what is given to the sink
}

// Send sends the samples of an entry, or tells of its gap. Nobody knows whose samples a gap is
// of, so every watcher gets it.
func (s *Sender) Send(e *stream.Entry, to api.Sink) error {
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

// Replay calls each with every sample that is stored since a time, in the order of storage.
func Replay(ctx context.Context, store stream.Store, since time.Time, each func(*client.Sample) error) error {
	w := &watch{cursor: store.Open(store.Since(since), nil), to: Call(each)}
	w.cursor.LeaveOut(since)
	return w.sendAll(ctx)
}

// Call is a sink that calls a function.
type Call func(*client.Sample) error

// Begin has nothing to do.
func (f Call) Begin(client.Position) {}

// Sample calls it.
func (f Call) Sample(s *client.Sample) error { return f(s) }

// Flush has nothing to do.
func (f Call) Flush() error { return nil }
