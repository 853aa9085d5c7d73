package replay

import (
	"context"
	"log/slog"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/frame"
)

// TestRing is a ring that a test fills itself.
type TestRing struct{ *Ring }

// NewTestRing makes a ring without an encoder.
func NewTestRing(maxBytes int) TestRing { return TestRing{New(maxBytes, nil, nil)} }

// NewEncodedRing makes a ring with one.
func NewEncodedRing(maxBytes int, encode Encode) TestRing {
	return TestRing{New(maxBytes, encode, nil)}
}

// batch is n numbers.
func batch(n int) *Batch {
	blk := frame.Block{Kind: driver.KindFloat64, Time: 1, Runs: []uint32{1, uint32(n)}}
	for i := range n {
		blk.Floats = append(blk.Floats, float64(i))
	}
	return &Batch{Columns: &frame.Batch{Blocks: []frame.Block{blk}}, Samples: n, Bytes: 24 + 8*n, From: 1, To: 1}
}

// PushSome makes a frame of n samples.
func (r TestRing) PushSome(n int, droppable bool) {
	b := batch(n)
	b.Droppable = droppable
	r.Push(b)
}

// Spill gives the ring a part on disk. The returned function ends it.
func (r TestRing) Spill(dir string, limit int64) (stop func()) {
	r.SpillTo(dir, limit, 1, slog.New(slog.DiscardHandler))
	return func() { r.CloseSpill(context.Background()) }
}

// Settled waits until nothing is being moved to disk, and what should be is.
func (r TestRing) Settled() {
	for {
		r.mu.Lock()
		busy := r.spill.files.writing || r.mem.bytes.Load() >= int64(r.mem.max)/4*3 && r.spill.able()
		moved := r.spill.moved
		r.mu.Unlock()
		if !busy {
			return
		}
		r.spill.nudge()
		<-moved
	}
}

// OnDisk tells how many bytes and chunks of frames are on disk.
func (r TestRing) OnDisk() (bytes int64, chunks int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.spill.files.bytes, len(r.spill.chunks)
}

// Damage flips a bit of every byte-th byte of the first chunk on disk.
func (r TestRing) Damage(from, step int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.spill.chunks[0]
	for at := from; at < c.size; at += step {
		var b [1]byte
		_, _ = c.segment.file.ReadAt(b[:], c.at+at)
		b[0] ^= 0x10
		_, _ = c.segment.file.WriteAt(b[:], c.at+at)
	}
}

// RefuseDisk makes every further write to disk fail.
func (r TestRing) RefuseDisk() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spill.files.dir = "/dev/null/nothing"
	r.spill.files.segment = 0
}

// PushWith makes a frame that is not dropped, and runs stored when it is stored.
func (r TestRing) PushWith(n int, stored func()) {
	b := batch(n)
	b.Receipts = []*Receipt{NewReceipt(stored)}
	r.Push(b)
}

// SpillRecord is a frame as it lies on disk.
func SpillRecord(seq uint64, data []byte) []byte {
	return appendRecord(nil, &node{seq: seq, data: data})
}

// ReadSpillRecord reads it.
func ReadSpillRecord(data []byte) (seq uint64, frame []byte, size int) {
	r, ok := parseRecord(data)
	if !ok {
		return 0, nil, 0
	}
	return r.seq, r.data, r.size
}
