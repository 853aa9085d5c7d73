package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/frame"
	"github.com/fieldloom/fieldloom/core/internal/api"
	"github.com/fieldloom/fieldloom/core/internal/catalog"
	"github.com/fieldloom/fieldloom/core/internal/spool"
	"github.com/fieldloom/fieldloom/core/internal/wire"
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
	w := &watch{decoder: newDecoder(g.catalog, o.Patterns, to), spool: g.spool, since: o.Since}
	if err := w.begin(&o); err != nil {
		return err
	}
	if o.Last {
		if err := g.sendValues(ctx, o.Patterns, to); err != nil {
			return err
		}
	}
	now := o.After.IsZero() && o.Since.IsZero() // it is to see what happens from now on
	limited := ctx                              // ends the stream, once it is up to date
	for {
		if err := w.readAll(ctx); err != nil {
			return err
		}
		w.live = now
		if err := to.Flush(); err != nil || o.Replay {
			return err
		}
		if o.For > 0 && limited == ctx {
			var cancel context.CancelFunc
			limited, cancel = context.WithTimeout(ctx, o.For)
			defer cancel()
		}
		if err := w.reader.Wait(limited); err != nil {
			if ctx.Err() == nil && limited.Err() != nil {
				return nil // the time that was asked for is over
			}
			return err
		}
	}
}

// watch is one watcher's way through the spool.
type watch struct {
	*decoder
	spool  *spool.Spool
	reader *spool.Reader
	since  time.Time       // what was stored before is left out
	live   bool            // what it is too slow for is left out
	half   client.Position // of its record, the first samples are left out: the watcher has them
}

// begin finds the place in the spool, and tells the watcher.
func (w *watch) begin(o *client.WatchOptions) error {
	end := w.spool.End()
	switch foreign := spool.Position(o.After.Record) >= end; {
	case !o.After.IsZero() && foreign:
		w.startAt(w.spool.First())
		return w.lost(time.Now(), fmt.Sprintf("position %v lies behind the end of what is stored, %d: it is of another spool, or this one is an older "+
			"copy; the oldest sample that is stored follows", o.After, end-1))
	case !o.After.IsZero():
		from := spool.Position(o.After.Record)
		if o.After.Sample == client.WholeRecord {
			from++
		} else {
			w.half = o.After
		}
		w.reader = w.spool.Read(from)
		w.to.Begin(o.After)
	case !o.Since.IsZero() || o.Replay:
		w.startAt(w.spool.Seek(o.Since))
	default:
		w.startAt(end)
	}
	return nil
}

// startAt begins with the record at a position.
func (w *watch) startAt(p spool.Position) {
	w.reader = w.spool.Read(p)
	w.to.Begin(client.Position{Record: uint64(w.reader.Position()) - 1, Sample: client.WholeRecord})
}

// readAll sends what is stored, up to the spool's present end.
func (w *watch) readAll(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := w.keepUp(); err != nil {
			return err
		}
		w.at = client.Position{}
		record, at, err := w.reader.Next()
		var loss *spool.LossError
		switch {
		case errors.Is(err, io.EOF):
			return w.tellMissing("", uint64(w.reader.Position()))
		case errors.As(err, &loss) && loss.Cause == spool.Retired:
			w.missing.retire(&loss.Loss)
			continue
		case errors.As(err, &loss):
			if err := w.tellMissing("", uint64(loss.From)); err != nil {
				return err
			}
			w.at = client.Position{Record: uint64(loss.To) - 1, Sample: client.WholeRecord}
			if err := w.lost(time.Now(), loss.Error()); err != nil {
				return err
			}
			continue
		case err != nil:
			return fmt.Errorf("read the spool: %w", err)
		case record.Stored.Before(w.since):
			continue
		}
		if err := w.tellMissing(record.Driver, uint64(at)); err != nil {
			return err
		}
		have := uint32(0)
		if w.half.Record == uint64(at) {
			have = w.half.Sample
		}
		if err := w.record(&record, uint64(at), have); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// keepUp leaves out what a watcher of what happens now is too slow for.
func (w *watch) keepUp() error {
	if !w.live {
		return nil
	}
	end := w.spool.End()
	behind := int64(end) - int64(w.reader.Position())
	if behind <= watchDepth {
		return nil
	}
	w.reader = w.spool.Read(end - watchDepth)
	w.at = client.Position{Record: uint64(end) - watchDepth - 1, Sample: client.WholeRecord}
	return w.lost(time.Now(), fmt.Sprintf("this watcher was too slow: %d frames dropped", behind-watchDepth))
}

// decoder turns records into the samples that a watcher wants.
type decoder struct {
	naming
	own      naming
	others   map[catalog.ID]naming // of records that were stored with other catalogs
	patterns []string
	missing  missing
	to       api.Sink
	names    catalog.Block   // of the device whose sample came last
	out      client.Sample   // what is given to the sink
	at       client.Position // behind the record in hand; zero: it is none of the spool
	stored   time.Time       // the record
	driver   string          // whose record it is; empty: the gateway's own
}

func newDecoder(c *catalog.Catalog, patterns []string, to api.Sink) *decoder {
	d := &decoder{own: newNaming(c, patterns), others: make(map[catalog.ID]naming), patterns: patterns, to: to}
	d.naming = d.own
	return d
}

// naming is how the handles of records are named, and which are wanted.
type naming struct {
	catalog *catalog.Catalog
	wanted  func(handle uint32) bool
}

func newNaming(c *catalog.Catalog, patterns []string) naming {
	if len(patterns) == 0 {
		return naming{c, func(uint32) bool { return true }}
	}
	return naming{c, c.Match(patterns)}
}

// namesOf has the names of the catalog that a record was stored with.
func (d *decoder) namesOf(id catalog.ID) {
	if id == d.own.catalog.ID() {
		d.naming = d.own
		return
	}
	n, known := d.others[id]
	if !known {
		n = newNaming(d.own.catalog.Of(id), d.patterns)
		d.others[id] = n
	}
	d.naming = n
}

// record sends the samples of a record but the first ones, which the watcher has.
func (d *decoder) record(r *spool.Record, at uint64, have uint32) error {
	d.at, d.stored = client.Position{Record: at, Sample: client.WholeRecord}, r.Stored
	d.namesOf(catalog.ID(r.Names))
	d.driver = r.Driver
	return d.frame(r.Data, have)
}

// frame sends the samples of a frame but the first ones. One that cannot be decoded is told
// as a loss: it is the driver's fault, and the next may be well.
func (d *decoder) frame(data []byte, have uint32) error {
	d.names = catalog.Block{} // its units may be others now
	_, batch, gap, err := wire.DecodeFrame(data)
	switch {
	case err != nil && d.stored.IsZero():
		return d.lost(time.Now(), d.from(fmt.Sprintf("a frame cannot be decoded: %v", err)))
	case err != nil:
		return d.lost(d.stored, d.from(fmt.Sprintf("a frame cannot be decoded: %v", err)))
	case gap != nil:
		return d.lost(gap.To, d.from(gapText(gap)))
	case batch == nil:
		return nil
	}
	n := uint32(0)
	for s := range batch.Samples() {
		if n++; n <= have {
			continue
		}
		if !d.names.Holds(s.Handle) {
			d.names = d.catalog.Block(s.Handle)
		}
		if !d.names.Holds(s.Handle) {
			d.missing.nameless(s.Handle, d.stored)
			continue
		}
		if !d.wanted(s.Handle) {
			continue
		}
		if err := d.sample(&s, n); err != nil {
			return err
		}
	}
	return nil
}

// sample sends the n-th sample of a frame.
func (d *decoder) sample(s *frame.HandleSample, n uint32) error {
	name, out := d.names.Path(s.Handle), &d.out
	out.Link, out.Device, out.Point, out.Unit = name.Link, name.Device, name.Point, name.Unit
	out.Value, out.Quality, out.Time, out.Fault, out.Stored = s.Value, s.Quality, s.Time, nil, d.stored
	if s.Fault != nil {
		out.Fault = client.FaultOf(s.Fault)
	}
	if !d.at.IsZero() {
		out.Position = client.Position{Record: d.at.Record, Sample: n}
	}
	return d.to.Sample(out)
}

// lost tells the watcher that samples are missing. Nobody knows whose they were, so
// every watcher is told.
func (d *decoder) lost(at time.Time, text string) error { return d.lostAt("", at, text) }

// from names the driver whose record is told of: what a driver says of its losses must not
// pass for the gateway's words, or for another's.
func (d *decoder) from(text string) string {
	who := "driver " + d.driver + ": "
	if d.driver == "" || strings.HasPrefix(text, who) {
		return text
	}
	return who + text
}

// lostAt is lost for what is called something else than a point.
func (d *decoder) lostAt(name string, at time.Time, text string) error {
	return d.to.Sample(&client.Sample{Point: name, Time: at, Fault: &client.Fault{Code: driver.Lost.String(), Text: text}, Position: d.at})
}

// maxLinksText is how many links the text of a gap names.
const maxLinksText = 8

// linksText says whose samples were lost.
func linksText(links []frame.GapLink) string {
	var names []string
	more, polls := 0, uint64(0) // what is not named
	for i := range links {
		l := &links[i]
		switch {
		case l.Link == "" && l.Polls == 0:
			continue
		case len(names) == maxLinksText, l.Link == "":
			more++
			polls += l.Polls
			continue
		}
		name := l.Link
		if l.Device != "" {
			name += "/" + l.Device
		}
		names = append(names, name+pollsText(l.Polls))
	}
	if more > 0 {
		names = append(names, "others"+pollsText(polls))
	}
	if len(names) == 0 {
		return ""
	}
	return "; of " + strings.Join(names, ", ")
}

func pollsText(n uint64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" (%d polls due)", n)
}

func gapText(g *frame.Gap) string {
	text := "samples are lost"
	if g.Cause != nil {
		text = g.Cause.Text
	}
	if g.Samples > 0 {
		text = fmt.Sprintf("%d samples lost: %s", g.Samples, text)
	}
	text += linksText(g.Links)
	if g.From.IsZero() {
		return text
	}
	return fmt.Sprintf("%s (from %s to %s)", text, g.From.UTC().Format(time.RFC3339Nano), g.To.UTC().Format(time.RFC3339Nano))
}
