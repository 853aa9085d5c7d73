package engine

import (
	"math"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/engine/internal/replay"
	"github.com/fieldloom/fieldloom/core/frame"
)

const (
	maxBatchSamples = 1000
	maxBatchBytes   = 16 << 10
	// maxValueBytes bounds one text or bytes value, so that a frame fits a message.
	maxValueBytes = 1 << 20
	kinds         = int(driver.KindBytes) + 1
)

// suppressed marks a sample that the deadband holds back. It never leaves the
// engine.
const suppressed = driver.Quality(255)

var errUnread = &driver.Error{Code: driver.Internal, Text: "the driver gave no value and no reason"}
var errTooLong = &driver.Error{Code: driver.BadValue, Text: "the value is longer than 1 MiB"}

// A builder gathers samples into the columns of one batch. Its slices are kept
// from one batch to the next.
type builder struct {
	batch    frame.Batch
	samples  int
	bytes    int // an estimate
	receipts []*replay.Receipt
	began    int64 // when the first sample came, on the grid
	pushed   bool  // so was the last lot
	open     [kinds]int
	end      [kinds]uint32 // the handle after the last of the open block
	nulls    int           // samples of the open block of nulls, which has no column
}

func (b *builder) empty() bool { return b.samples == 0 && len(b.receipts) == 0 }

func (b *builder) full() bool { return b.samples >= maxBatchSamples || b.bytes >= maxBatchBytes }

// reset forgets the batch. The receipts now belong to a frame.
func (b *builder) reset() {
	for i := range b.batch.Blocks {
		clear(b.batch.Blocks[i].Strings)
		clear(b.batch.Blocks[i].Bytes)
		clear(b.batch.Blocks[i].Exceptions)
	}
	b.batch.Blocks = b.batch.Blocks[:0]
	b.samples, b.bytes, b.receipts = 0, 0, nil
	b.seal()
}

// seal ends the open blocks: the samples that follow are another poll's.
func (b *builder) seal() { b.open = [kinds]int{} }

// add appends one sample; at is its time where it has none.
func (b *builder) add(handle uint32, s *driver.Sample, at int64) {
	if !s.Time.IsZero() {
		at = s.Time.UnixNano()
	}
	kind := s.Value.Kind()
	if b.open[kind] == 0 || handle < b.end[kind] {
		b.start(kind, at)
	}
	blk := &b.batch.Blocks[b.open[kind]-1]
	if last := len(blk.Runs) - 1; last >= 0 && handle == b.end[kind] {
		blk.Runs[last]++
	} else {
		blk.Runs = append(blk.Runs, handle-b.end[kind], 1)
	}
	b.end[kind] = handle + 1
	n := b.count(blk)
	b.bytes += blk.Append(kind, s.Value)
	if at != blk.Time || len(blk.Deltas) > 0 {
		for len(blk.Deltas) < n {
			blk.Deltas = append(blk.Deltas, 0)
		}
		blk.Deltas = append(blk.Deltas, at-blk.Time)
		b.bytes += 4
	}
	if kind == driver.KindNull {
		b.nulls++
	}
	if s.Quality != driver.Good {
		b.except(blk, uint32(n), s)
	}
	b.samples++
}

// addAlike appends samples that lot.alike found alike, as one run of one block.
func (b *builder) addAlike(handle uint32, samples []driver.Sample, at int64) {
	kind := samples[0].Value.Kind()
	if i := b.open[kind]; i == 0 || handle != b.end[kind] || at != b.batch.Blocks[i-1].Time || len(b.batch.Blocks[i-1].Deltas) > 0 {
		b.start(kind, at)
		blk := &b.batch.Blocks[b.open[kind]-1]
		blk.Runs = append(blk.Runs, handle, 0)
	}
	blk := &b.batch.Blocks[b.open[kind]-1]
	blk.Runs[len(blk.Runs)-1] += uint32(len(samples))
	b.end[kind] = handle + uint32(len(samples))
	b.samples += len(samples)
	switch kind {
	case driver.KindBool:
		for i := range samples {
			blk.Bools = append(blk.Bools, samples[i].Value.Bool())
		}
		b.bytes += len(samples)
	case driver.KindInt64:
		for i := range samples {
			blk.Ints = append(blk.Ints, samples[i].Value.Int64())
		}
		b.bytes += 4 * len(samples)
	case driver.KindUint64:
		for i := range samples {
			blk.Uints = append(blk.Uints, samples[i].Value.Uint64())
		}
		b.bytes += 4 * len(samples)
	case driver.KindFloat64:
		for i := range samples {
			blk.Floats = append(blk.Floats, samples[i].Value.Float64())
		}
		b.bytes += 8 * len(samples)
	}
}

func (b *builder) start(kind driver.Kind, at int64) {
	n := len(b.batch.Blocks)
	if n < cap(b.batch.Blocks) {
		b.batch.Blocks = b.batch.Blocks[:n+1]
	} else {
		b.batch.Blocks = append(b.batch.Blocks, frame.Block{})
	}
	blk := &b.batch.Blocks[n]
	blk.Kind, blk.Time = kind, at
	blk.Runs, blk.Deltas = blk.Runs[:0], blk.Deltas[:0]
	blk.Bools, blk.Ints, blk.Uints, blk.Floats = blk.Bools[:0], blk.Ints[:0], blk.Uints[:0], blk.Floats[:0]
	blk.Strings, blk.Bytes, blk.Exceptions = blk.Strings[:0], blk.Bytes[:0], blk.Exceptions[:0]
	b.open[kind] = n + 1
	b.end[kind] = 0
	b.bytes += 24
	if kind == driver.KindNull {
		b.nulls = 0
	}
}

func (b *builder) except(blk *frame.Block, at uint32, s *driver.Sample) {
	if last := len(blk.Exceptions) - 1; last >= 0 {
		e := &blk.Exceptions[last]
		if e.First+e.Count == at && e.Quality == s.Quality && e.Fault == s.Fault {
			e.Count++
			return
		}
	}
	blk.Exceptions = append(blk.Exceptions, frame.Exception{First: at, Count: 1, Quality: s.Quality, Fault: s.Fault})
	b.bytes += 8
	if s.Fault != nil {
		b.bytes += len(s.Fault.Text)
	}
}

// frame is the batch as the ring takes it.
func (b *builder) frame(droppable bool) *replay.Batch {
	from, to := b.span()
	return &replay.Batch{
		Columns: &b.batch, Samples: b.samples, Bytes: b.bytes, From: from, To: to, Droppable: droppable, Receipts: b.receipts,
	}
}

// span returns the earliest and the latest time of the batch.
func (b *builder) span() (from, to int64) {
	from, to = math.MaxInt64, math.MinInt64
	for i := range b.batch.Blocks {
		blk := &b.batch.Blocks[i]
		if len(blk.Deltas) == 0 {
			from, to = min(from, blk.Time), max(to, blk.Time)
		}
		for _, d := range blk.Deltas {
			from, to = min(from, blk.Time+d), max(to, blk.Time+d)
		}
	}
	return from, to
}

// count is the number of samples in the open block of a kind.
func (b *builder) count(blk *frame.Block) int {
	switch blk.Kind {
	case driver.KindBool:
		return len(blk.Bools)
	case driver.KindInt64:
		return len(blk.Ints)
	case driver.KindUint64:
		return len(blk.Uints)
	case driver.KindFloat64:
		return len(blk.Floats)
	case driver.KindString:
		return len(blk.Strings)
	case driver.KindBytes:
		return len(blk.Bytes)
	default:
		return b.nulls
	}
}
