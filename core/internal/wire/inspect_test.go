package wire_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/frame"
	"github.com/fieldloom/fieldloom/core/internal/wire"
	driverv1 "github.com/fieldloom/fieldloom/proto/driver/v1"
)

// own are the handles of a test's driver: from first on, before end; those from moved on
// only up to a time.
type own struct {
	first, moved, end uint64
	until             int64
}

// Until implements Handles.
func (o *own) Until(first uint32, count uint64) (int64, bool) {
	last := uint64(first) + count
	if first >= 1000 {
		return math.MaxInt64, true // a large device
	}
	if uint64(first) < o.first || last > o.end {
		return 0, false
	}
	if last > o.moved {
		return o.until, true
	}
	return math.MaxInt64, true
}

// year are bounds around a time.
func year(around int64, handles wire.Handles) wire.Bounds {
	return wire.Bounds{Handles: handles, Earliest: around - int64(366*24*time.Hour), Latest: around + int64(time.Hour)}
}

const inspectedAt = 1_700_000_000_000_000_000

func frameOf(blocks ...*driverv1.Block) *driverv1.Frame {
	return &driverv1.Frame{Sequence: 5, Content: &driverv1.Frame_Batch{Batch: &driverv1.Batch{Blocks: blocks}}}
}

func bools(first uint32, at int64) *driverv1.Block {
	return &driverv1.Block{Runs: []uint32{first, 2}, TimeUnixNs: at, Kind: driverv1.Kind_KIND_BOOL, Bools: []bool{true, false}}
}

func gapOf(g *driverv1.Gap) *driverv1.Frame {
	return &driverv1.Frame{Sequence: 5, Content: &driverv1.Frame_Gap{Gap: g}}
}

// What a driver may not send is refused with what it did.
func TestInspectRefuses(t *testing.T) {
	const at = int64(inspectedAt)
	long := at + int64(time.Hour) - 1
	spread := bools(10, -5)
	spread.TimeDeltasNs = []int64{0, math.MinInt64}
	for name, c := range map[string]struct {
		frame *driverv1.Frame
		want  string
	}{
		"another's handles":          {frameOf(bools(200, at)), "not all its own"},
		"handles up to another's":    {frameOf(bools(99, at)), "not all its own"},
		"nobody's handle":            {frameOf(bools(0, at)), "not all its own"},
		"its own, then another's":    {frameOf(bools(10, at), bools(200, at)), "block 1: "},
		"a second run of another":    {frameOf(&driverv1.Block{Runs: []uint32{10, 1, 200, 1}, TimeUnixNs: at, Kind: 1, Bools: []bool{true, true}}), "not all its own"},
		"nulls of another":           {frameOf(&driverv1.Block{Runs: []uint32{200, 1}, TimeUnixNs: at}), "not all its own"},
		"a device that has moved":    {frameOf(bools(80, at+1)), "another driver has now"},
		"1677":                       {frameOf(bools(10, math.MinInt64)), "too early: 1677"},
		"1970":                       {frameOf(bools(10, 0)), "too early: 1970"},
		"2262":                       {frameOf(bools(10, math.MaxInt64)), "too late: 2262"},
		"tomorrow":                   {frameOf(bools(10, at+int64(24*time.Hour))), "too late"},
		"a delta that overflows":     {frameOf(spread), "too early: beyond"},
		"2^20 nulls":                 {frameOf(&driverv1.Block{Runs: []uint32{1000, 1 << 20}, TimeUnixNs: at}), "claims 1048576 nulls"},
		"more nulls than bytes":      {frameOf(&driverv1.Block{Runs: []uint32{1000, 1100}, TimeUnixNs: at}), "claims 1100 nulls"},
		"values that lack":           {frameOf(&driverv1.Block{Runs: []uint32{10, 3}, TimeUnixNs: at, Kind: 1, Bools: []bool{true, true}}), "2 values for 3"},
		"a gap of 2^64-1 samples":    {gapOf(&driverv1.Gap{Samples: math.MaxUint64}), "cannot be so many"},
		"a frame with too much lost": {gapOf(&driverv1.Gap{Samples: 1 << 22, FirstSequence: 5, LastSequence: 5}), "cannot be so many"},
		"a gap from 1677":            {gapOf(&driverv1.Gap{Samples: 1, FromUnixNs: math.MinInt64, ToUnixNs: at}), "1677"},
		"a gap to 2262":              {gapOf(&driverv1.Gap{Samples: 1, FromUnixNs: at, ToUnixNs: math.MaxInt64}), "2262"},
		"a gap that ends before":     {gapOf(&driverv1.Gap{Samples: 1, FromUnixNs: long, ToUnixNs: at}), "a gap from"},
		"a gap of later frames":      {gapOf(&driverv1.Gap{Samples: 1, FirstSequence: 5, LastSequence: 6}), "frames 5 to 6 in frame 5"},
		"a gap with an open end":     {gapOf(&driverv1.Gap{Samples: 1, FirstSequence: 5}), "frames 5 to 0"},
		"a gap backwards":            {gapOf(&driverv1.Gap{Samples: 1, FirstSequence: 4, LastSequence: 3}), "frames 4 to 3"},
		"no content":                 {&driverv1.Frame{Sequence: 1}, "neither"},
		"no sequence":                {&driverv1.Frame{Content: frameOf().Content}, "no sequence"},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := proto.Marshal(c.frame)
			if err != nil {
				t.Fatal(err)
			}
			within := year(at, &own{first: 1, moved: 80, end: 100, until: at})
			if _, err := wire.Inspect(data, within); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// A gap whose links cannot be decoded is refused, and not found right.
func TestInspectRefusesLinksThatCannotBeDecoded(t *testing.T) {
	within := year(inspectedAt, nil)
	gap := func(links []byte) []byte {
		f := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 1)
		return protowire.AppendBytes(protowire.AppendTag(f, 3, protowire.BytesType), links)
	}
	link := func(fields []byte) []byte {
		return gap(protowire.AppendBytes(protowire.AppendTag(nil, 7, protowire.BytesType), fields))
	}
	for name, data := range map[string][]byte{
		"a number for a link":    gap(protowire.AppendVarint(protowire.AppendTag(nil, 7, protowire.VarintType), 48)),
		"a number for a name":    link(protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 1)),
		"a number for a device":  link(protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.VarintType), 1)),
		"a text for polls":       link(protowire.AppendString(protowire.AppendTag(nil, 3, protowire.BytesType), "x")),
		"a text for uncounted":   link(protowire.AppendString(protowire.AppendTag(nil, 4, protowire.BytesType), "x")),
		"a link that is cut off": link([]byte{0x0a, 5, 'x'}),
	} {
		if found, err := wire.Inspect(data, within); err == nil {
			t.Errorf("%s: found right: %+v", name, found)
		}
	}
	whole := link(protowire.AppendVarint(protowire.AppendTag(protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "line1"), 3, protowire.VarintType), 7))
	if found, err := wire.Inspect(whole, within); err != nil || !found.Links {
		t.Errorf("%+v %v", found, err)
	}
}

// What package engine sends is taken as it is.
func TestInspectTakesWhatTheEngineSends(t *testing.T) {
	all := wire.Bounds{Earliest: math.MinInt64, Latest: math.MaxInt64, Handles: &own{end: math.MaxUint32, moved: math.MaxUint32}}
	found, err := wire.Inspect(wire.FrameEncoder()(nil, 42, exampleBatch(), nil), all)
	if want := (wire.Contents{Samples: 16, Newest: 1700000000000000000}); err != nil || found != want {
		t.Errorf("%+v %v, want %+v", found, err, want)
	}
	down := &frame.Batch{Blocks: []frame.Block{{Runs: []uint32{1, 1000}, Time: inspectedAt, Exceptions: []frame.Exception{{Count: 1000, Fault: driver.Errorf(driver.Timeout, "")}}}}}
	if _, err := wire.Inspect(wire.FrameEncoder()(nil, 1, down, nil), all); err != nil {
		t.Errorf("a device of 1,000 points that is down: %v", err)
	}
	if _, err := wire.Inspect(wire.FrameEncoder()(nil, 1, &frame.Batch{}, nil), all); err != nil {
		t.Errorf("nothing: %v", err)
	}
	gap := &frame.Gap{Samples: 3000, FirstSeq: 1, LastSeq: 3, From: time.Unix(0, inspectedAt-5), To: time.Unix(0, inspectedAt), Cause: driver.Errorf(driver.Lost, "full")}
	if found, err := wire.Inspect(wire.FrameEncoder()(nil, 3, nil, gap), all); err != nil || !found.IsGap || found.First != 1 || found.Last != 3 {
		t.Errorf("%+v %v", found, err)
	}
}

// Numbers one by one mean the same as a packed column, in any language.
func TestInspectTakesUnpackedColumns(t *testing.T) {
	var block []byte
	for _, v := range []uint64{7, 2} {
		block = protowire.AppendVarint(protowire.AppendTag(block, 1, protowire.VarintType), v)
	}
	block = protowire.AppendVarint(protowire.AppendTag(block, 2, protowire.VarintType), inspectedAt)
	block = protowire.AppendVarint(protowire.AppendTag(block, 4, protowire.VarintType), uint64(driverv1.Kind_KIND_FLOAT64))
	for range 2 {
		block = protowire.AppendFixed64(protowire.AppendTag(block, 8, protowire.Fixed64Type), math.Float64bits(1.5))
		block = protowire.AppendVarint(protowire.AppendTag(block, 3, protowire.VarintType), protowire.EncodeZigZag(-5))
	}
	batch := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), block)
	frame := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 1)
	frame = protowire.AppendBytes(protowire.AppendTag(frame, 2, protowire.BytesType), batch)
	found, err := wire.Inspect(frame, year(inspectedAt, &own{first: 7, moved: 9, end: 9}))
	if err != nil || found.Samples != 2 || found.Newest != inspectedAt-5 {
		t.Errorf("%+v %v", found, err)
	}
}

func TestInspectAllocatesNothing(t *testing.T) {
	data := wire.FrameEncoder()(nil, 42, exampleBatch(), nil)
	var within wire.Handles = &own{end: math.MaxUint32, moved: math.MaxUint32}
	n := testing.AllocsPerRun(100, func() {
		if _, err := wire.Inspect(data, wire.Bounds{Earliest: math.MinInt64, Latest: math.MaxInt64, Handles: within}); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
}

// FuzzInspect holds Inspect against the decoder: what it finds right can be decoded, and
// every sample is as it said.
func FuzzInspect(f *testing.F) {
	encode := wire.FrameEncoder()
	f.Add(encode(nil, 42, exampleBatch(), nil))
	f.Add(encode(nil, 42, nil, &frame.Gap{Samples: 9, FirstSeq: 1, LastSeq: 2, From: time.Unix(1, 0), To: time.Unix(2, 0), Cause: driver.Errorf(driver.Lost, "x")}))
	f.Add([]byte{0x08, 0x01, 0x12, 0x08, 0x0a, 0x06, 0x0a, 0x04, 1, 0xff, 0xff, 0x3f})
	handles := &own{first: 1, moved: 500, end: 900, until: 1700000000000000000}
	within := wire.Bounds{Earliest: -1 << 61, Latest: 1 << 61, Handles: handles}
	f.Fuzz(func(t *testing.T, data []byte) {
		found, err := wire.Inspect(data, within)
		if err != nil {
			return
		}
		_, batch, gap, err := wire.DecodeFrame(data)
		if err != nil {
			t.Fatalf("it was found right, and is not decoded: %v", err)
		}
		if gap != nil {
			if !found.IsGap || gap.FirstSeq != found.First || gap.LastSeq != found.Last || gap.Samples > 1<<40 {
				t.Fatalf("a gap %+v of %+v", gap, found)
			}
			return
		}
		n, newest := uint64(0), int64(math.MinInt64)
		for s := range batch.Samples() {
			n++
			at := s.Time.UnixNano()
			newest = max(newest, at)
			until, ok := handles.Until(s.Handle, 1)
			if !ok || at < within.Earliest || at > min(until, within.Latest) {
				t.Fatalf("handle %d at %v", s.Handle, s.Time)
			}
		}
		if n != found.Samples || n > 0 && newest != found.Newest || n > uint64(len(data))+1000 {
			t.Fatalf("%d samples up to %d, found %+v", n, newest, found)
		}
	})
}

func BenchmarkInspect(b *testing.B) {
	block := frame.Block{Runs: []uint32{100, 100}, Time: inspectedAt, Kind: driver.KindFloat64, Floats: make([]float64, 100)}
	ints := frame.Block{Runs: []uint32{100, 100}, Time: inspectedAt, Kind: driver.KindUint64, Uints: make([]uint64, 100)}
	for i := range ints.Uints {
		ints.Uints[i] = uint64(i * 1000)
	}
	for name, blk := range map[string]frame.Block{"floats": block, "uints": ints} {
		data := wire.FrameEncoder()(nil, 1, &frame.Batch{Blocks: []frame.Block{blk}}, nil)
		within := year(inspectedAt, &own{first: 1, moved: 1000, end: 1000})
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := wire.Inspect(data, within); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
