// Package stream is the one reader of what is stored. A Cursor goes through the spool from a
// position on and gives Entries: samples by name, or a Gap where a reader does not get what was
// sent. The entries of a cursor contain every sample that was stored behind its position, or
// say that some are missing.
//
// A place is a frame.Position; which points are wanted is a Pattern. A Decoder does the same
// for frames that are not stored.
package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/fieldloom/fieldloom/core/frame"
	"github.com/fieldloom/fieldloom/core/internal/catalog"
	"github.com/fieldloom/fieldloom/core/internal/spool"
)

// A Store is what is read: the spool, and the catalog that names what is in it.
type Store struct {
	Spool   *spool.Spool
	Catalog *catalog.Catalog
}

// A Pattern says which points are wanted: globs of LINK/DEVICE/POINT, of which LINK and
// LINK/DEVICE match all below them; without any, all are.
type Pattern []string

// Oldest is the position before the oldest record.
func (s Store) Oldest() frame.Position { return Before(s.Spool.First()) }

// End is the position behind the newest record.
func (s Store) End() frame.Position { return Before(s.Spool.End()) }

// Since is the position before the first record that was stored at t or later. The clock may
// have been set: Cursor.LeaveOut leaves out those that follow and are older.
func (s Store) Since(t time.Time) frame.Position { return Before(s.Spool.Seek(t)) }

// Before is the position before a record, which is that behind the one before.
func Before(p spool.Position) frame.Position {
	return frame.Position{Record: uint64(max(p, 1)) - 1, Sample: frame.WholeRecord}
}

// Open returns a cursor whose first sample is the one behind a position; the zero position is
// Oldest. One that lies behind the end belongs to another spool: the first entry says so, and
// the oldest that is stored follows.
func (s Store) Open(after frame.Position, p Pattern) *Cursor {
	c := &Cursor{store: s, decoder: NewDecoder(s.Catalog, p)}
	switch end := s.Spool.End(); {
	case after.IsZero():
		after = s.Oldest()
	case spool.Position(after.Record) >= end:
		c.push(&Entry{Gap: &Gap{Cause: Foreign, Time: time.Now(), Text: fmt.Sprintf("position %v lies behind the end of what is stored, %d: "+
			"it is of another spool, or this one is an older copy; the oldest sample that is stored follows", after, end-1)}})
		after = s.Oldest()
	}
	from := spool.Position(after.Record)
	if after.Sample == frame.WholeRecord {
		from++
	} else {
		c.half = after
	}
	c.reader = s.Spool.Read(from)
	c.begin = after
	return c
}

// A Cursor reads what is stored, in the order in which it was. It holds nothing open and needs
// no closing. One goroutine at a time may use it.
type Cursor struct {
	store   Store
	decoder *Decoder
	reader  *spool.Reader
	begin   frame.Position
	half    frame.Position // of its record, the first samples are left out: the reader has them
	since   time.Time      // what was stored before is left out
	depth   spool.Position // how many records it may be behind; 0: any number
	queue   []*Entry       // what Next gives before it reads on
	given   int            // of queue
}

// Begin returns the position that the cursor was opened with: the one given, or that of the
// oldest record.
func (c *Cursor) Begin() frame.Position { return c.begin }

// Position returns the number of the record that is read next.
func (c *Cursor) Position() spool.Position { return c.reader.Position() }

// LeaveOut makes the cursor leave out what was stored before a time.
func (c *Cursor) LeaveOut(before time.Time) { c.since = before }

// KeepUp makes the cursor leave out the oldest records, from now on, where it is more than
// depth of them behind the end; a Gap says how many.
func (c *Cursor) KeepUp(depth int) { c.depth = spool.Position(depth) }

// Wait blocks until Next has something to give, or returns why it never will.
func (c *Cursor) Wait(ctx context.Context) error { return c.reader.Wait(ctx) }

// Next returns the next entry. At the present end it returns io.EOF, and may be called again
// once Wait has returned. The samples of an entry are to be gone through before the next call.
func (c *Cursor) Next() (*Entry, error) {
	for c.given == len(c.queue) {
		clear(c.queue)
		c.queue, c.given = c.queue[:0], 0
		if err := c.read(); err != nil {
			return nil, err
		}
	}
	c.given++
	return c.queue[c.given-1], nil
}

func (c *Cursor) push(e *Entry) { c.queue = append(c.queue, e) }

// read reads one record, and queues what there is to give of it.
func (c *Cursor) read() error {
	c.keepUp()
	record, at, err := c.reader.Next()
	var loss *spool.LossError
	switch {
	case errors.Is(err, io.EOF):
		c.tellMissing("", c.reader.Position())
		if len(c.queue) == 0 {
			return io.EOF
		}
	case errors.As(err, &loss) && loss.Cause == spool.Retired:
		c.decoder.missing.retire(&loss.Loss)
	case errors.As(err, &loss):
		c.tellMissing("", loss.From)
		c.push(&Entry{Position: Before(loss.To), Gap: &Gap{Cause: Damaged, Time: time.Now(), Records: loss.Records, Text: loss.Error()}})
	case err != nil:
		return fmt.Errorf("read the spool: %w", err)
	case record.Stored.Before(c.since):
	default:
		c.tellMissing(record.Driver, at)
		have := uint32(0)
		if c.half.Record == uint64(at) {
			have = c.half.Sample
		}
		c.push(c.decoder.record(&record, at, have))
	}
	return nil
}

// keepUp leaves out what the reader is too slow for.
func (c *Cursor) keepUp() {
	if c.depth == 0 {
		return
	}
	end, next := c.store.Spool.End(), c.reader.Position()
	if end <= next || end-next <= c.depth {
		return
	}
	behind := uint64(end - next - c.depth)
	c.reader = c.store.Spool.Read(end - c.depth)
	c.push(&Entry{Position: Before(end - c.depth), Gap: &Gap{Cause: Skipped, Time: time.Now(), Records: behind,
		Text: fmt.Sprintf("this watcher was too slow: %d frames dropped", behind)}})
}

// tellMissing queues what is missing before the record at a position: of its driver, and what
// nobody knows whose it is; of all where driver is empty.
func (c *Cursor) tellMissing(driver string, next spool.Position) {
	for _, g := range c.decoder.missing.take(driver) {
		c.push(&Entry{Position: Before(next), Gap: g})
	}
}
