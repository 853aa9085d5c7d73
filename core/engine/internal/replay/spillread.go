package replay

import (
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/frame"
)

// A cursor is where the reader is in the frames on disk: in a chunk that it holds
// whole. It is the reader's alone.
type cursor struct {
	chunk  *chunk
	data   []byte
	at     int
	passed uint64 // samples of the records before
	err    error
}

// load reads a chunk.
func (cur *cursor) load(c *chunk) {
	*cur = cursor{chunk: c, data: cur.data[:0]}
	if int64(cap(cur.data)) < c.size || cap(cur.data) > 2*maxChunk {
		cur.data = make([]byte, 0, max(c.size, 0))
	}
	n, err := c.segment.file.ReadAt(cur.data[:c.size], c.at)
	cur.data, cur.err = cur.data[:n], err
}

// next gives the first record after a sequence; not ok: where it must be, there is
// none that can be read.
func (cur *cursor) next(after uint64) (record, bool) {
	for {
		rec, ok := parseRecord(cur.data[cur.at:])
		if !ok {
			return record{}, false
		}
		cur.at += rec.size
		cur.passed += rec.samples
		if rec.seq > after {
			return rec, true
		}
	}
}

// damaged makes a gap for a record that was damaged on disk, or, where not even its length
// is known, for the rest of its chunk. after is the sequence before it. uncounted is how
// many of the samples no gap before has counted.
func (s *spill) damaged(c *chunk, rec record, found bool, after uint64) (g *frame.Gap, uncounted uint64) {
	cur := &s.cursor
	g = &frame.Gap{FirstSeq: after + 1, LastSeq: c.last, Samples: c.samples - min(cur.passed, c.samples)}
	if found {
		g.LastSeq, g.Samples = rec.seq, rec.samples
	} else {
		cur.chunk = nil
	}
	g.FirstSeq = max(g.FirstSeq, c.first)
	if g.LastSeq > c.counted { // it may be read again after an Attach
		c.counted = g.LastSeq
		uncounted = g.Samples
	}
	g.Cause = driver.Errorf(driver.Lost, "samples that waited on disk for the core cannot be read back: they are damaged")
	if cur.err != nil {
		g.Cause = driver.Errorf(driver.Lost, "samples that waited on disk for the core cannot be read back: %w", cur.err)
	}
	g.From, g.To = s.began, time.Now()
	for _, held := range s.receipts {
		if held.seq >= g.FirstSeq && held.seq <= g.LastSeq {
			for _, receipt := range held.receipts {
				receipt.Lose()
			}
		}
	}
	return g, uncounted
}
