package wire

import (
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/frame"
)

// Doubt returns the frame with every Good sample after a time, in Unix nanoseconds, made
// Uncertain with a fault. Nothing else of it changes.
func Doubt(frame []byte, after int64, why *driver.Error) ([]byte, error) {
	seq, batch, gap, err := DecodeFrame(frame)
	if err != nil || batch == nil {
		return frame, err
	}
	for i := range batch.Blocks {
		doubtBlock(&batch.Blocks[i], after, why)
	}
	return AppendFrame(nil, seq, batch, gap), nil
}

// doubtBlock writes the exceptions of a block anew.
func doubtBlock(b *frame.Block, after int64, why *driver.Error) {
	var list []frame.Exception
	old := b.Exceptions
	for i := range b.Len() {
		e := frame.Exception{First: uint32(i), Count: 1, Quality: driver.Good}
		if len(old) > 0 && e.First >= old[0].First+old[0].Count {
			old = old[1:]
		}
		if len(old) > 0 && e.First >= old[0].First {
			e.Quality, e.Fault = old[0].Quality, old[0].Fault
		}
		at := b.Time
		if len(b.Deltas) > 0 {
			at += b.Deltas[i]
		}
		if e.Quality == driver.Good && at > after {
			e.Quality, e.Fault = driver.Uncertain, why
		}
		last := len(list) - 1
		switch {
		case e.Quality == driver.Good:
		case last >= 0 && list[last].First+list[last].Count == e.First && list[last].Quality == e.Quality && list[last].Fault == e.Fault:
			list[last].Count++
		default:
			list = append(list, e)
		}
	}
	b.Exceptions = list
}
