package stream

import (
	"fmt"
	"iter"
	"time"

	"github.com/fieldloom/fieldloom/core/frame"
	"github.com/fieldloom/fieldloom/core/internal/catalog"
	"github.com/fieldloom/fieldloom/core/internal/spool"
	"github.com/fieldloom/fieldloom/core/internal/wire"
)

// An Entry is what a reader is given at once: the samples of one record, or a gap.
type Entry struct {
	Position frame.Position // behind it; zero: it is not stored
	Driver   string         // whose record it is; empty: the gateway's own
	Stored   time.Time      // zero: it is not stored
	Gap      *Gap           // what the reader does not get; nil: there are samples

	decoder *Decoder
	naming  naming
	batch   *frame.Batch
	have    uint32 // how many of its first samples the reader has
}

// A Sample is one sample of an entry.
type Sample struct {
	catalog.Path
	frame.HandleSample
	Number uint32 // of the entry's samples, from 1: that of its Position
}

// A Decoder makes entries of frames, and counts the samples among them that cannot be named.
// One goroutine at a time may use it.
type Decoder struct {
	pattern Pattern
	own     naming
	others  map[catalog.ID]naming // of records that were stored with other catalogs
	missing missing
}

// NewDecoder returns a decoder that names samples as a catalog does.
func NewDecoder(c *catalog.Catalog, p Pattern) *Decoder {
	return &Decoder{pattern: p, own: newNaming(c, p), others: make(map[catalog.ID]naming)}
}

// naming is how the handles of records are named, and which are wanted.
type naming struct {
	catalog *catalog.Catalog
	wanted  func(handle uint32) bool // nil: all are
}

func newNaming(c *catalog.Catalog, p Pattern) naming {
	if len(p) == 0 {
		return naming{catalog: c}
	}
	return naming{c, c.Match(p)}
}

// namesOf returns the names of the catalog that a record was stored with.
func (d *Decoder) namesOf(id catalog.ID) naming {
	if id == d.own.catalog.ID() {
		return d.own
	}
	n, known := d.others[id]
	if !known {
		n = newNaming(d.own.catalog.Of(id), d.pattern)
		d.others[id] = n
	}
	return n
}

// record makes an entry of a record without its first samples, which the reader has.
func (d *Decoder) record(r *spool.Record, at spool.Position, have uint32) *Entry {
	e := &Entry{Position: Before(at + 1), Driver: r.Driver, Stored: r.Stored, have: have}
	d.decode(e, r.Data, d.namesOf(catalog.ID(r.Names)))
	return e
}

// Frame makes an entry of a frame that is not stored.
func (d *Decoder) Frame(data []byte) *Entry {
	e := new(Entry)
	d.decode(e, data, d.own)
	return e
}

// decode decodes the frame of an entry. One that cannot be decoded becomes a gap: it is the
// driver's fault, and the next may be well.
func (d *Decoder) decode(e *Entry, data []byte, names naming) {
	_, batch, gap, err := wire.DecodeFrame(data)
	e.decoder, e.naming, e.batch = d, names, batch
	switch {
	case err != nil:
		at := e.Stored
		if at.IsZero() {
			at = time.Now()
		}
		e.Gap = &Gap{Cause: Undecodable, Time: at, Records: 1, Text: spokenBy(e.Driver, fmt.Sprintf("a frame cannot be decoded: %v", err))}
	case gap != nil:
		e.Gap = &Gap{Cause: Sent, Time: gap.To, Samples: gap.Samples, Text: spokenBy(e.Driver, gapText(gap))}
	}
}

// Samples yields the samples of the wanted points. The one yielded is valid until the next.
// Samples that cannot be named are left out: a Gap tells of them later.
func (e *Entry) Samples() iter.Seq[*Sample] {
	return func(yield func(*Sample) bool) {
		if e.batch == nil {
			return
		}
		var names catalog.Block // of the device whose sample came last
		var out Sample
		for s := range e.batch.Samples() {
			if out.Number++; out.Number <= e.have {
				continue
			}
			if !names.Holds(s.Handle) {
				names = e.naming.catalog.Block(s.Handle)
			}
			if !names.Holds(s.Handle) {
				e.decoder.missing.nameless(s.Handle, e.Stored)
				continue
			}
			if e.naming.wanted != nil && !e.naming.wanted(s.Handle) {
				continue
			}
			out.Path, out.HandleSample = names.Path(s.Handle), s
			if !yield(&out) {
				return
			}
		}
	}
}

// At returns the position behind a sample of the entry.
func (e *Entry) At(s *Sample) frame.Position {
	if e.Position.IsZero() {
		return frame.Position{}
	}
	return frame.Position{Record: e.Position.Record, Sample: s.Number}
}

// Handle returns the handle that the point of a sample has in the catalog of the decoder. It
// is another than the sample's where the entry was stored with another catalog.
func (e *Entry) Handle(s *Sample) (handle uint32, ok bool) {
	if own := e.decoder.own.catalog; e.naming.catalog != own {
		return own.Find(s.Link, s.Device, s.Point)
	}
	return s.Handle, true
}
