package engine_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/driver/drivertest"
	"github.com/fieldloom/fieldloom/core/engine"
	"github.com/fieldloom/fieldloom/core/frame"
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
		blk := frame.Block{Kind: driver.Kind(kind), Deltas: make([]int64, deltas)}
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
			blk.Exceptions = append(blk.Exceptions, frame.Exception{First: first, Count: count, Quality: driver.Quality(quality)})
		}
		b := frame.Batch{Blocks: []frame.Block{blk}}
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

func TestSamplesRoundTrip(t *testing.T) {
	fault := driver.Errorf(driver.NotFound, "gone")
	b := frame.Batch{Blocks: []frame.Block{
		{
			Runs: []uint32{7, 3, 2, 1}, Time: 1000, Deltas: []int64{0, 1, -2, 3}, Kind: driver.KindFloat64,
			Floats:     []float64{1, 2, math.NaN(), 4},
			Exceptions: []frame.Exception{{First: 1, Count: 2, Quality: driver.Uncertain, Fault: fault}},
		},
		{Runs: []uint32{3, 2}, Time: 5, Exceptions: []frame.Exception{{Count: 2, Fault: fault}}},
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

// FuzzHandOff gives an engine what another process, perhaps of another version, says
// to hand over: whatever it is, the link is opened and polled, and what is handed on is
// a hand-off.
func FuzzHandOff(f *testing.F) {
	l := link("l", 2, table(3, func(_ int, p *control.Point) { p.Deadband = ptr(1) }))
	state := func() *control.State { return &control.State{Links: []control.Link{l}} }
	fill := func(fake *drivertest.Fake) *drivertest.FakeDevice {
		fake.Link("l").Device("d2").Silence(true)
		d := fake.Link("l").Device("d1")
		for i, v := range []driver.Value{driver.Float64Value(1.5), driver.StringValue("on"), driver.BytesValue([]byte{1, 2})} {
			d.Set(fmt.Sprintf("a%d", i), v)
		}
		return d
	}
	seed := `{"skew":0,"links":[{"name":"l","at":%d,"kept":"AQ==","devices":[
		{"name":"d1","due":{"default":%d},"first":1,"last":"AAIEAAAAAAAAAPg/AAIFAAJvbgACBgACAQI="},
		{"name":"d2","first":1001,"failures":3,"bad":%d,"probe":{"at":%d,"gap":2000000000,"since":"2000-01-01T00:00:00Z","code":4,"text":"no answer"}}]}]}`
	begin := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano() // as bubbles do
	f.Add(fmt.Appendf(nil, seed, begin, begin-200e6, begin-5e9, begin+1e9))
	f.Add([]byte(`{"skew":9223372036854775807,"links":[{"name":"l","at":-9223372036854775808,"devices":[{"name":"d1","due":{"default":1}}]}]}`))
	f.Add([]byte(`{"links":[{"name":"l","shift":-1,"devices":[{"name":"d2","probe":{"gap":-5,"at":-1}},{"name":"d1","failures":-7,"last":"/w=="}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		synctest.Test(t, func(t *testing.T) {
			fake := drivertest.NewFake()
			d := fill(fake)
			e := engine.New(fake, engine.Options{})
			defer func() { _ = e.Close(t.Context()) }()
			if _, err := e.Apply(t.Context(), state(), control.ApplyOptions{Standby: true}); err != nil {
				t.Fatal(err)
			}
			if err := e.Activate(t.Context(), []string{"l"}, control.ActivateOptions{HandOff: data}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * time.Minute)
			if len(d.Polls()) == 0 {
				t.Error("not polled")
			}
			drained, err := e.Drain(t.Context(), []string{"l"})
			if err != nil || !json.Valid(drained.HandOff) {
				t.Errorf("%s: %v", drained.HandOff, err)
			}
		})
	})
}
