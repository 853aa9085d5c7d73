package engine_test

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/engine"
)

// words reads numbers from fuzzed bytes.
type words []byte

func (w *words) next() uint32 {
	if len(*w) < 4 {
		*w = nil
		return 0
	}
	n := binary.LittleEndian.Uint32(*w)
	*w = (*w)[4:]
	return n
}

// FuzzSamples gives a batch as a hostile driver process might: Samples must not
// panic, nor go on for ever, and what Check lets pass must have its whole number.
func FuzzSamples(f *testing.F) {
	f.Add(uint8(4), []byte{7, 0, 0, 0, 3, 0, 0, 0}, uint8(3), uint8(0), []byte{0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0})
	f.Add(uint8(0), []byte{0, 0, 0, 0, 255, 255, 255, 255}, uint8(0), uint8(0), []byte(nil))
	f.Add(uint8(2), []byte{1, 0, 0, 0}, uint8(1), uint8(1), []byte(nil))
	f.Fuzz(func(t *testing.T, kind uint8, runs []byte, values, deltas uint8, exceptions []byte) {
		blk := engine.Block{Kind: driver.Kind(kind), Deltas: make([]int64, deltas)}
		for r := words(runs); len(r) > 0; {
			blk.Runs = append(blk.Runs, r.next())
		}
		switch blk.Kind {
		case driver.KindBool:
			blk.Bools = make([]bool, values)
		case driver.KindInt64:
			blk.Ints = make([]int64, values)
		case driver.KindUint64:
			blk.Uints = make([]uint64, values)
		case driver.KindFloat64:
			blk.Floats = make([]float64, values)
		case driver.KindString:
			blk.Strings = make([]string, values)
		default:
			blk.Bytes = make([][]byte, values)
		}
		for x := words(exceptions); len(x) > 0; {
			first, count, quality := x.next(), x.next(), x.next()
			blk.Exceptions = append(blk.Exceptions, engine.Exception{First: first, Count: count, Quality: driver.Quality(quality)})
		}
		b := engine.Batch{Blocks: []engine.Block{blk}}
		n := 0
		for range b.Samples() {
			n++
		}
		want := 0
		if b.Check() == nil {
			for i := 1; i < len(blk.Runs); i += 2 {
				want += int(blk.Runs[i])
			}
		}
		if n != want {
			t.Errorf("%d samples, want %d: %+v", n, want, blk)
		}
	})
}

// FuzzHandOff gives an engine a hand-off from anywhere.
func FuzzHandOff(f *testing.F) {
	f.Add([]byte(`{"skew":5,"due":[{"link":"l","device":"d1","class":"default","at":9223372036854775807}],"last":[{"handle":1,"quality":2,"kind":4,"bits":77}]}`))
	f.Add([]byte(`{"skew":-9223372036854775808}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := newRig(t, engine.Options{})
		r.set("l", "d1", 1)
		r.applyWith(engine.ApplyOptions{HandOff: data}, link("l", 1, table(1)))
	})
}

func TestSamplesRoundTrip(t *testing.T) {
	fault := driver.Errorf(driver.NotFound, "gone")
	b := engine.Batch{Blocks: []engine.Block{
		{
			Runs: []uint32{7, 3, 2, 1}, Time: 1000, Deltas: []int64{0, 1, -2, 3}, Kind: driver.KindFloat64,
			Floats:     []float64{1, 2, math.NaN(), 4},
			Exceptions: []engine.Exception{{First: 1, Count: 2, Quality: driver.Uncertain, Fault: fault}},
		},
		{Runs: []uint32{3, 2}, Time: 5, Exceptions: []engine.Exception{{Count: 2, Fault: fault}}},
		{Runs: []uint32{3, 2}, Kind: driver.KindBool, Bools: []bool{true}}, // malformed: left out
		{Runs: []uint32{1, 1}, Kind: driver.KindString, Strings: []string{"x"}},
	}}
	type row struct {
		Handle  uint32
		Value   string
		Quality driver.Quality
		Nanos   int64
		Fault   *driver.Error
	}
	var got []row
	for s := range b.Samples() {
		got = append(got, row{s.Handle, s.Value.String(), s.Quality, s.Time.UnixNano(), s.Fault})
	}
	want := []row{
		{7, "1", driver.Good, 1000, nil},
		{8, "2", driver.Uncertain, 1001, fault},
		{9, "NaN", driver.Uncertain, 998, fault},
		{12, "4", driver.Good, 1003, nil},
		{3, "null", driver.Bad, 5, fault},
		{4, "null", driver.Bad, 5, fault},
		{1, "x", driver.Good, 0, nil},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateErrors()); diff != "" {
		t.Error(diff)
	}
	if err := b.Check(); err == nil || err.Error() != "block 2: 1 values for 2 samples" {
		t.Errorf("check: %v", err)
	}
}
