package engine

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

// nextSpilled hands out the first frame on disk after the last one handed out; not
// ok: there is none. It is called with mu held, and without it in between.
func (r *Ring) nextSpilled() (f frame.Frame, ok bool) {
	for {
		after := max(r.handed, r.acked)
		c := r.spill.after(after)
		if c == nil {
			return frame.Frame{}, false
		}
		cur := &r.spill.cursor
		if cur.chunk != c {
			r.mu.Unlock()
			cur.load(c)
			r.mu.Lock()
			if r.acked > after { // acknowledged meanwhile, and perhaps the file is gone
				cur.chunk = nil
				continue
			}
		}
		rec, found := cur.next(after)
		if found && rec.data != nil {
			return r.handSpilled(rec.seq, append([]byte(nil), rec.data...), int(rec.samples), rec.gap), true
		}
		return r.damaged(c, rec, found), true
	}
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

// handSpilled is what TryNext does for a frame in memory.
func (r *Ring) handSpilled(seq uint64, data []byte, samples int, gap bool) frame.Frame {
	r.handed = seq
	r.sent = max(r.sent, seq)
	if gap {
		r.tell(seq, seq)
		r.losses.Add(1)
		samples = 0
	}
	return frame.Frame{Sequence: seq, Data: data, Samples: samples}
}

// damaged hands out a gap for a record that was damaged on disk, or, where not even
// its length is known, for the rest of its chunk.
func (r *Ring) damaged(c *chunk, rec record, found bool) frame.Frame {
	cur := &r.spill.cursor
	g := &frame.Gap{FirstSeq: max(r.handed, r.acked) + 1, LastSeq: c.last, Samples: c.samples - min(cur.passed, c.samples)}
	if found {
		g.LastSeq, g.Samples = rec.seq, rec.samples
	} else {
		cur.chunk = nil
	}
	g.FirstSeq = max(g.FirstSeq, c.first)
	if g.LastSeq > c.counted { // it may be read again after an Attach
		c.counted = g.LastSeq
		r.dropped += g.Samples
	}
	g.Cause = driver.Errorf(driver.Lost, "samples that waited on disk for the core cannot be read back: they are damaged")
	if cur.err != nil {
		g.Cause = driver.Errorf(driver.Lost, "samples that waited on disk for the core cannot be read back: %w", cur.err)
	}
	g.From, g.To = r.started, time.Now()
	for _, held := range r.spill.receipts {
		if held.seq >= g.FirstSeq && held.seq <= g.LastSeq {
			for _, receipt := range held.receipts {
				receipt.lost.Store(true)
			}
		}
	}
	return r.handSpilled(g.LastSeq, r.encode(nil, g.LastSeq, nil, g), 0, true)
}
