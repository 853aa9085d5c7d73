package frame

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

// MaxSamples is the most samples of one frame. It bounds a block of nulls, which has no column
// and whose number nothing but the runs tell.
const MaxSamples = 1 << 20

// Samples goes through a batch row by row. A block whose columns do not fit its
// runs (see Check) is left out, so a batch from anywhere can be given.
func (b *Batch) Samples() iter.Seq[HandleSample] {
	return func(yield func(HandleSample) bool) {
		for i := range b.Blocks {
			if blk := &b.Blocks[i]; blk.Check() == nil && !blk.each(yield) {
				return
			}
		}
	}
}

// Check returns what is wrong with the first block that is malformed.
func (b *Batch) Check() error {
	for i := range b.Blocks {
		if err := b.Blocks[i].Check(); err != nil {
			return fmt.Errorf("block %d: %w", i, err)
		}
	}
	return nil
}

// Check returns an error where the columns of a block do not fit together.
func (blk *Block) Check() error {
	count, err := blk.runs()
	if err != nil {
		return err
	}
	if err := blk.checkColumn(count); err != nil {
		return err
	}
	if n := len(blk.Deltas); n != 0 && uint64(n) != count {
		return fmt.Errorf("%d times for %d samples", n, count)
	}
	end := uint64(0)
	for _, e := range blk.Exceptions {
		if uint64(e.First) < end || uint64(e.First)+uint64(e.Count) > count || e.Count == 0 {
			return fmt.Errorf("exception of %d+%d in %d samples is out of order or range", e.First, e.Count, count)
		}
		if e.Quality > driver.Good {
			return fmt.Errorf("there is no quality %d", e.Quality)
		}
		end = uint64(e.First) + uint64(e.Count)
	}
	return nil
}

// Len is the number of samples of a block that Check found right.
func (blk *Block) Len() int {
	n := 0
	for i := 1; i < len(blk.Runs); i += 2 {
		n += int(blk.Runs[i])
	}
	return n
}

// runs counts the samples that the runs tell of.
func (blk *Block) runs() (count uint64, err error) {
	if len(blk.Runs)%2 != 0 {
		return 0, errors.New("a run without a length")
	}
	end := uint64(0)
	for i := 0; i < len(blk.Runs); i += 2 {
		end += uint64(blk.Runs[i]) + uint64(blk.Runs[i+1])
		count += uint64(blk.Runs[i+1])
		if end > math.MaxUint32 {
			return 0, errors.New("the handles go beyond 32 bits")
		}
	}
	return count, nil
}

func (blk *Block) checkColumn(count uint64) error {
	columns := [...]int{
		driver.KindNull:    0,
		driver.KindBool:    len(blk.Bools),
		driver.KindInt64:   len(blk.Ints),
		driver.KindUint64:  len(blk.Uints),
		driver.KindFloat64: len(blk.Floats),
		driver.KindString:  len(blk.Strings),
		driver.KindBytes:   len(blk.Bytes),
	}
	if int(blk.Kind) >= len(columns) {
		return fmt.Errorf("there is no kind %d", blk.Kind)
	}
	for kind, n := range columns {
		if n != 0 && driver.Kind(kind) != blk.Kind {
			return fmt.Errorf("a column of %v in a block of %v", driver.Kind(kind), blk.Kind)
		}
	}
	if blk.Kind == driver.KindNull {
		if count > MaxSamples {
			return fmt.Errorf("%d nulls are more than %d", count, MaxSamples)
		}
		return nil
	}
	if n := columns[blk.Kind]; uint64(n) != count {
		return fmt.Errorf("%d values for %d samples", n, count)
	}
	return nil
}

// each yields the samples of a block that Check found right.
func (blk *Block) each(yield func(HandleSample) bool) bool {
	var handle uint32
	at := time.Unix(0, blk.Time)
	exceptions := blk.Exceptions
	i := 0
	for run := 0; run < len(blk.Runs); run += 2 {
		handle += blk.Runs[run]
		for range blk.Runs[run+1] {
			s := HandleSample{Handle: handle}
			s.Value, s.Quality, s.Time = blk.value(i), driver.Good, at
			if len(blk.Deltas) > 0 {
				s.Time = time.Unix(0, blk.Time+blk.Deltas[i])
			}
			if len(exceptions) > 0 && uint32(i) >= exceptions[0].First {
				s.Quality, s.Fault = exceptions[0].Quality, exceptions[0].Fault
				if uint32(i) == exceptions[0].First+exceptions[0].Count-1 {
					exceptions = exceptions[1:]
				}
			}
			if !yield(s) {
				return false
			}
			handle++
			i++
		}
	}
	return true
}

func (blk *Block) value(i int) driver.Value {
	switch blk.Kind {
	case driver.KindBool:
		return driver.BoolValue(blk.Bools[i])
	case driver.KindInt64:
		return driver.Int64Value(blk.Ints[i])
	case driver.KindUint64:
		return driver.Uint64Value(blk.Uints[i])
	case driver.KindFloat64:
		return driver.Float64Value(blk.Floats[i])
	case driver.KindString:
		return driver.StringValue(blk.Strings[i])
	case driver.KindBytes:
		return driver.BytesValue(blk.Bytes[i])
	default:
		return driver.Value{}
	}
}

// Clone returns a copy of a batch whose slices will be reused.
func (b *Batch) Clone() *Batch {
	c := &Batch{Blocks: slices.Clone(b.Blocks)}
	for i := range c.Blocks {
		blk := &c.Blocks[i]
		blk.Runs, blk.Deltas = copied(blk.Runs), copied(blk.Deltas)
		blk.Bools, blk.Ints, blk.Uints = copied(blk.Bools), copied(blk.Ints), copied(blk.Uints)
		blk.Floats, blk.Strings, blk.Bytes = copied(blk.Floats), copied(blk.Strings), copied(blk.Bytes)
		blk.Exceptions = copied(blk.Exceptions)
	}
	return c
}

// copied is slices.Clone with nil for what is empty.
func copied[T any](s []T) []T {
	return append([]T(nil), s...)
}

// Append appends v to the column of its kind and returns about how many bytes it takes when encoded.
func (blk *Block) Append(kind driver.Kind, v driver.Value) int {
	switch kind {
	case driver.KindBool:
		blk.Bools = append(blk.Bools, v.Bool())
		return 1
	case driver.KindInt64:
		blk.Ints = append(blk.Ints, v.Int64())
		return 4
	case driver.KindUint64:
		blk.Uints = append(blk.Uints, v.Uint64())
		return 4
	case driver.KindFloat64:
		blk.Floats = append(blk.Floats, v.Float64())
		return 8
	case driver.KindString:
		blk.Strings = append(blk.Strings, v.Str())
		return 2 + len(v.Str())
	case driver.KindBytes:
		blk.Bytes = append(blk.Bytes, v.Bytes())
		return 2 + len(v.Bytes())
	default:
		return 0
	}
}
