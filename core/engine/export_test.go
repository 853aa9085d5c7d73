package engine

import (
	"context"
	"log/slog"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/frame"
)

// TestRing is a ring that a test fills itself.
type TestRing struct{ *Ring }

// NewTestRing makes a ring without an encoder.
func NewTestRing(maxBytes int) TestRing { return TestRing{newRing(maxBytes, nil)} }

// NewEncodedRing makes a ring with one.
func NewEncodedRing(maxBytes int, encode func([]byte, uint64, *frame.Batch, *frame.Gap) []byte) TestRing {
	return TestRing{newRing(maxBytes, encode)}
}

// Push makes a frame of n samples.
func (r TestRing) Push(n int, droppable bool) {
	var b builder
	for i := range n {
		s := driver.GoodSample(driver.Float64Value(float64(i)))
		b.add(uint32(i+1), &s, 1)
	}
	r.push(&b, droppable)
}

// Spill gives the ring a part on disk. The returned function ends it.
func (r TestRing) Spill(dir string, limit int64) (stop func()) {
	r.newSpill(dir, limit, 1, slog.New(slog.DiscardHandler))
	return func() { r.stopSpill(context.Background()) }
}

// Settled waits until nothing is being moved to disk, and what should be is.
func (r TestRing) Settled() {
	for {
		r.mu.Lock()
		busy := r.spill.files.writing || r.bytes.Load() >= int64(r.max)/4*3 && r.spill.able()
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
	var b builder
	for i := range n {
		s := driver.GoodSample(driver.Float64Value(float64(i)))
		b.add(uint32(i+1), &s, 1)
	}
	c := &receipt{stored: stored}
	c.left.Store(1)
	b.receipts = append(b.receipts, c)
	r.push(&b, false)
}

// Status is the ring's.

// SetSkew moves an engine's grid away from the wall clock, as a step of the latter
// does. It must have no links.
func SetSkew(e *Engine, d time.Duration) { e.clock.origin += int64(d) }

// DueSlot tells in which period of its grid a time lies.
func DueSlot(at time.Time, link, device, class string, period time.Duration) int64 {
	return (at.UnixNano() - control.NewGrid(period, link, device, class).Phase) / int64(period)
}

// LoseTimer has a link's scheduler wait for ever for its next due time.
func LoseTimer(e *Engine, name string) {
	l, _ := e.link(name)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timer.Stop()
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
