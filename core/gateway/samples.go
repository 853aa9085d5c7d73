package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/engine"
	"github.com/fieldloom/fieldloom/core/internal/api"
	"github.com/fieldloom/fieldloom/core/internal/catalog"
	"github.com/fieldloom/fieldloom/core/internal/spool"
	"github.com/fieldloom/fieldloom/core/plugin"
)

// watchDepth is how many frames wait for a watcher before some are dropped.
const watchDepth = 256

// Watch implements api.Gateway. A watcher from now on is served from memory and
// loses what it is too slow for, which it is told. A watcher from an earlier time
// reads the spool to its end and then whenever something was stored: it loses
// nothing and sees nothing twice.
func (g *gateway) Watch(ctx context.Context, o client.WatchOptions, to api.Sink) error {
	d := newDecoder(g.catalog, o.Patterns, to)
	if o.Since.IsZero() && !o.Replay {
		return g.watchLive(ctx, o, d)
	}
	return g.watchStored(ctx, o, d)
}

func (g *gateway) watchLive(ctx context.Context, o client.WatchOptions, d *decoder) error {
	if o.For > 0 {
		limited, cancel := context.WithTimeout(ctx, o.For)
		defer cancel()
		ctx = limited
	}
	sub := g.hub.Subscribe(watchDepth)
	defer sub.Close()
	if err := d.to.Flush(); err != nil {
		return err
	}
	for {
		select {
		case f := <-sub.Frames():
			if err := d.frame(f.Data); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
		if len(sub.Frames()) > 0 {
			continue
		}
		if n := sub.TakeDropped(); n > 0 {
			if err := d.lost(time.Now(), fmt.Sprintf("this watcher was too slow: %d frames dropped", n)); err != nil {
				return err
			}
		}
		if err := d.to.Flush(); err != nil {
			return err
		}
	}
}

func (g *gateway) watchStored(ctx context.Context, o client.WatchOptions, d *decoder) error {
	reader := g.spool.Read(g.spool.Seek(o.Since))
	limited := ctx // ends the stream, once it is up to date
	for {
		if err := d.readAll(ctx, reader, o.Since); err != nil {
			return err
		}
		if err := d.to.Flush(); err != nil || o.Replay {
			return err
		}
		if o.For > 0 && limited == ctx {
			var cancel context.CancelFunc
			limited, cancel = context.WithTimeout(ctx, o.For)
			defer cancel()
		}
		if err := reader.Wait(limited); err != nil {
			return ctx.Err() // the time that was asked for is over, or the gateway stops
		}
	}
}

// decoder turns frames into the samples that a watcher wants.
type decoder struct {
	catalog *catalog.Catalog
	wanted  func(handle uint32) bool
	to      api.Sink
}

func newDecoder(c *catalog.Catalog, patterns []string, to api.Sink) *decoder {
	d := &decoder{catalog: c, to: to, wanted: func(uint32) bool { return true }}
	if len(patterns) > 0 {
		d.wanted = c.Match(patterns)
	}
	return d
}

// readAll sends what was stored since, up to the spool's present end.
func (d *decoder) readAll(ctx context.Context, r *spool.Reader, since time.Time) error {
	for ctx.Err() == nil {
		record, _, err := r.Next()
		var loss *spool.LossError
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, &loss):
			if err := d.lost(time.Now(), loss.Error()); err != nil {
				return err
			}
			continue
		case err != nil:
			return fmt.Errorf("read the spool: %w", err)
		case record.Stored.Before(since):
			continue
		}
		if err := d.frame(record.Data); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// frame sends one frame's samples. A frame that cannot be decoded is told as a loss:
// it is the driver's fault, and the next frame may be well.
func (d *decoder) frame(data []byte) error {
	_, batch, gap, err := plugin.DecodeFrame(data)
	switch {
	case err != nil:
		return d.lost(time.Now(), fmt.Sprintf("a frame cannot be decoded: %v", err))
	case gap != nil:
		return d.lost(gap.To, gapText(gap))
	case batch == nil:
		return nil
	}
	if err := batch.Check(); err != nil {
		return d.lost(time.Now(), fmt.Sprintf("a batch cannot be decoded: %v", err))
	}
	for s := range batch.Samples() {
		if !d.wanted(s.Handle) {
			continue
		}
		if err := d.sample(&s); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) sample(s *engine.HandleSample) error {
	at, ok := d.catalog.Lookup(s.Handle)
	if !ok {
		at.Point = fmt.Sprintf("handle-%d", s.Handle)
	}
	return d.to.Sample(&client.Sample{Link: at.Link, Device: at.Device, Point: at.Point,
		Value: s.Value, Quality: s.Quality, Time: s.Time, Fault: client.FaultOf(s.Fault)})
}

// lost tells the watcher that samples are missing. Nobody knows whose they were, so
// every watcher is told.
func (d *decoder) lost(at time.Time, text string) error {
	return d.to.Sample(&client.Sample{Time: at, Fault: &client.Fault{Code: driver.Lost.String(), Text: text}})
}

func gapText(g *engine.Gap) string {
	text := "samples are lost"
	if g.Cause != nil {
		text = g.Cause.Text
	}
	if g.Samples > 0 {
		text = fmt.Sprintf("%d samples lost: %s", g.Samples, text)
	}
	if g.From.IsZero() {
		return text
	}
	return fmt.Sprintf("%s (from %s to %s)", text, g.From.UTC().Format(time.RFC3339Nano), g.To.UTC().Format(time.RFC3339Nano))
}
