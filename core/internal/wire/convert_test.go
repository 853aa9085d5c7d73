package wire_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/frame"
	"github.com/fieldloom/fieldloom/core/internal/wire"
	"github.com/fieldloom/fieldloom/core/internal/wire/wiretest"
	driverv1 "github.com/fieldloom/fieldloom/proto/driver/v1"
)

var equalValues = cmp.Comparer(func(a, b driver.Value) bool { return a.Equal(b) })

func TestStateCrossesTheWire(t *testing.T) {
	want := wiretest.State()
	message := wire.EncodeState(want)
	if len(message.GetTables()) != 2 {
		t.Errorf("%d tables on the message for 2 that are shared by 3 devices", len(message.GetTables()))
	}
	data, err := proto.Marshal(message) // stock protobuf, as a driver in another language has it
	if err != nil {
		t.Fatal(err)
	}
	var back driverv1.State
	if err := proto.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	got, err := wire.DecodeState(&back)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	devices := got.Links[0].Devices
	if devices[0].Table != devices[1].Table {
		t.Error("two devices of one make do not share their table any more")
	}
}

func TestStateThatCannotBeIndexed(t *testing.T) {
	for name, breakIt := range map[string]func(*driverv1.State){
		"table":          func(s *driverv1.State) { s.Links[0].Devices[0].Table = 2 },
		"scan class":     func(s *driverv1.State) { s.Tables[0].Points[0].ScanClass = 2 },
		"no handle":      func(s *driverv1.State) { s.Links[0].Devices[0].FirstHandle = 0 },
		"last handle":    func(s *driverv1.State) { s.Links[0].Devices[0].FirstHandle = math.MaxUint32 },
		"timeout":        func(s *driverv1.State) { s.Links[0].TimeoutNs = -1 },
		"period":         func(s *driverv1.State) { s.Links[0].ScanClasses[0].PeriodNs = -1 },
		"huge class":     func(s *driverv1.State) { s.Tables[0].Points[0].ScanClass = math.MaxUint32 },
		"no scan class":  func(s *driverv1.State) { s.Links[0].ScanClasses = nil },
		"gap below zero": func(s *driverv1.State) { s.Links[0].GapNs = math.MinInt64 },
	} {
		message := wire.EncodeState(wiretest.State())
		breakIt(message)
		if _, err := wire.DecodeState(message); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestStatusCrossesTheWire(t *testing.T) {
	at := time.Unix(1700000000, 5).UTC()
	want := &control.Status{
		Links: []control.LinkStatus{{
			Name: "l", Condition: control.Degraded, Since: at, Cause: driver.Errorf(driver.Busy, "later"), Opens: 1, OpenFailures: 2,
			Devices: []control.DeviceStatus{{
				Name: "d", Condition: control.Down, Since: at, Cause: driver.Errorf(driver.Timeout, "silent"),
				Polls: 1, Failures: 2, Overruns: 3, Samples: 4, BadSamples: 5, Writes: 6, WriteFailures: 7,
				LastPoll: 8, LastLate: 9, MaxLate: 10,
			}},
		}},
		Ring: control.RingStatus{NextSequence: 1, AckedSequence: 2, Bytes: 3, MaxBytes: 4, Samples: 5, Dropped: 6, Slowed: 7,
			SpillBytes: 8, MaxSpillBytes: 9},
		Meters: []control.Meter{{Link: "l", Name: "opens", Value: 3, Counter: true}, {Link: "l", Name: "level", Value: -0.5}},
	}
	if diff := cmp.Diff(want, wire.DecodeStatus(wire.EncodeStatus(want))); diff != "" {
		t.Error(diff)
	}
}

// A number that JSON has not would take the status of every driver with it.
func TestMetersAreFinite(t *testing.T) {
	message := wire.EncodeStatus(&control.Status{Meters: []control.Meter{
		{Link: "l", Name: "nan", Value: math.NaN()}, {Link: "l", Name: "infinite", Value: math.Inf(-1)}, {Link: "l", Name: "one", Value: 1},
	}})
	got := wire.DecodeStatus(message).Meters
	if _, err := json.Marshal(got); err != nil || len(got) != 1 || got[0].Name != "one" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestSamplesCrossTheWire(t *testing.T) {
	at := time.Unix(1700000000, 5).UTC()
	want := []control.NamedSample{
		{Point: "null"},
		{Point: "bool", Sample: driver.Sample{Value: driver.BoolValue(true), Quality: driver.Good, Time: at}},
		{Point: "int", Sample: driver.Sample{Value: driver.Int64Value(math.MinInt64), Quality: driver.Good}},
		{Point: "uint", Sample: driver.Sample{Value: driver.Uint64Value(math.MaxUint64), Quality: driver.Uncertain}},
		{Point: "float", Sample: driver.Sample{Value: driver.Float64Value(math.NaN())}},
		{Point: "text", Sample: driver.Sample{Value: driver.StringValue("ü")}},
		{Point: "empty text", Sample: driver.Sample{Value: driver.StringValue("")}},
		{Point: "bytes", Sample: driver.Sample{Value: driver.BytesValue([]byte{0xff})}},
		{Point: "fault", Sample: driver.Faulted(&driver.Error{Code: driver.Busy, Text: "later", After: time.Second})},
	}
	if diff := cmp.Diff(want, wire.DecodeSamples(wire.EncodeSamples(want)), equalValues); diff != "" {
		t.Error(diff)
	}
}

func TestTextThatIsNotUTF8(t *testing.T) {
	message := wire.EncodeSamples([]control.NamedSample{{Point: "p", Sample: driver.Sample{
		Value: driver.StringValue("caf\xe9"), Fault: driver.Errorf(driver.Protocol, "got \xff"),
	}}})
	if _, err := proto.Marshal(message[0]); err != nil {
		t.Errorf("stock protobuf refuses it: %v", err)
	}
	if got := message[0].GetValue().GetString_(); got != "caf\uFFFD" {
		t.Errorf("got %q", got)
	}
}

func TestDescriptionCrossesTheWire(t *testing.T) {
	want := control.Description{
		Info: driver.Info{
			Name: "modbus", Version: "1.0.0", LinkSchema: json.RawMessage(`{}`),
			AddressSchema: json.RawMessage(`{"type":"string"}`),
		},
		Abilities: []string{"check"}, ProcessEpoch: 7,
	}
	if diff := cmp.Diff(want, wire.DecodeDescription(wire.EncodeDescription(want))); diff != "" {
		t.Error(diff)
	}
}

func TestErrorsCrossAsStatus(t *testing.T) {
	seen := map[codes.Code]driver.Code{}
	for code := driver.Internal; code <= driver.Lost; code++ {
		want := &driver.Error{Code: code, Text: "read holding 5: " + code.String(), After: time.Second}
		sent := wire.StatusOf(want)
		if before, twice := seen[status.Code(sent)]; twice {
			t.Errorf("%v and %v are the same status", before, code)
		}
		seen[status.Code(sent)] = code
		got := driver.AsError(wire.FaultOf(sent, nil))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%v: %s", code, diff)
		}
		// A driver in another language sends the code without our details.
		plain := wire.FaultOf(status.Error(status.Code(sent), want.Text), nil)
		if driver.CodeOf(plain) != code || plain.Error() != want.Text {
			t.Errorf("%v came back from the bare status as %v, %q", code, driver.CodeOf(plain), plain)
		}
	}
}

func TestErrorOfTheCallersContext(t *testing.T) {
	err := wire.FaultOf(status.Error(codes.DeadlineExceeded, "x"), context.DeadlineExceeded)
	if driver.CodeOf(err) != driver.Timeout || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("deadline: %v", err)
	}
	err = wire.FaultOf(status.Error(codes.Canceled, "x"), context.Canceled)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func exampleBatch() *frame.Batch {
	return &frame.Batch{Blocks: []frame.Block{
		{
			Runs: []uint32{7, 3, 2, 1}, Time: 1700000000000000000, Kind: driver.KindFloat64, Floats: []float64{1, 2.5, 0, -1},
			Exceptions: []frame.Exception{{First: 2, Count: 1, Quality: driver.Bad, Fault: driver.Errorf(driver.NotFound, "no such")}},
		},
		{Runs: []uint32{1, 2}, Kind: driver.KindInt64, Ints: []int64{-1, math.MinInt64}, Deltas: []int64{0, -5}},
		{Runs: []uint32{1, 1}, Kind: driver.KindUint64, Uints: []uint64{math.MaxUint64}},
		{Runs: []uint32{1, 2}, Kind: driver.KindBool, Bools: []bool{true, false}},
		{Runs: []uint32{9, 2}, Kind: driver.KindString, Strings: []string{"", "ü"}},
		{Runs: []uint32{9, 2}, Kind: driver.KindBytes, Bytes: [][]byte{{1}, {0xff}}},
		{Runs: []uint32{1, 3}, Kind: driver.KindNull, Exceptions: []frame.Exception{
			{First: 0, Count: 1, Quality: driver.Uncertain}, {First: 1, Count: 2, Fault: driver.Errorf(driver.Timeout, "silent")},
		}},
	}}
}

func TestFramesCrossTheWire(t *testing.T) {
	encode := wire.FrameEncoder()
	for range 3 { // an encoder is used again, after larger and smaller frames
		encoded := encode([]byte("before"), 42, exampleBatch(), nil)
		if string(encoded[:6]) != "before" {
			t.Fatal("the frame was not appended")
		}
		seq, batch, gap, err := wire.DecodeFrame(encoded[6:])
		if err != nil || seq != 42 || gap != nil {
			t.Fatal(seq, gap, err)
		}
		if diff := cmp.Diff(exampleBatch(), batch); diff != "" {
			t.Error(diff)
		}
		want := &frame.Gap{
			Samples: 3, FirstSeq: 1, LastSeq: 2, From: time.Unix(1, 0).UTC(), To: time.Unix(2, 0).UTC(),
			Cause: driver.Errorf(driver.Lost, "ring full"),
		}
		seq, batch, gap, err = wire.DecodeFrame(encode(nil, 43, nil, want))
		if err != nil || seq != 43 || batch != nil {
			t.Fatal(seq, batch, err)
		}
		if diff := cmp.Diff(want, gap); diff != "" {
			t.Error(diff)
		}
		small := &frame.Batch{Blocks: []frame.Block{{Runs: []uint32{1, 1}, Kind: driver.KindBool, Bools: []bool{true}}}}
		_, batch, _, err = wire.DecodeFrame(encode(nil, 44, small, nil))
		if diff := cmp.Diff(small, batch); err != nil || diff != "" {
			t.Error(err, diff)
		}
	}
}

func TestFrameIsStockProtobuf(t *testing.T) {
	frame := wire.FrameEncoder()(nil, 42, exampleBatch(), nil)
	var f driverv1.Frame
	if err := proto.Unmarshal(frame, &f); err != nil {
		t.Fatal(err)
	}
	again, err := proto.Marshal(&f)
	if err != nil {
		t.Fatal(err)
	}
	if _, batch, _, err := wire.DecodeFrame(again); err != nil || cmp.Diff(exampleBatch(), batch) != "" {
		t.Errorf("%v %v", err, cmp.Diff(exampleBatch(), batch))
	}
	var one, two driverv1.AttachResponse
	if err := proto.Unmarshal(wire.PackFrames(frame), &one); err != nil || !proto.Equal(one.GetFrame(), &f) {
		t.Errorf("a message of one frame: %v", err)
	}
	if err := proto.Unmarshal(wire.PackFrames(frame, frame), &two); err != nil ||
		len(two.GetFrames().GetFrames()) != 2 || !proto.Equal(two.GetFrames().GetFrames()[1], &f) {
		t.Errorf("a message of two frames: %v", err)
	}
}

func TestHostileFrames(t *testing.T) {
	block := func(b *driverv1.Block) *driverv1.Frame {
		return &driverv1.Frame{Sequence: 1, Content: &driverv1.Frame_Batch{Batch: &driverv1.Batch{Blocks: []*driverv1.Block{b}}}}
	}
	nulls := &driverv1.Block{Runs: []uint32{1, 1 << 20}}
	for name, frame := range map[string]*driverv1.Frame{
		"empty":       {},
		"no content":  {Sequence: 1},
		"no sequence": {Content: &driverv1.Frame_Batch{Batch: &driverv1.Batch{}}},
		"odd runs":    block(&driverv1.Block{Runs: []uint32{1}}),
		"many nulls":  block(&driverv1.Block{Runs: []uint32{1, math.MaxUint32}}),
		"many blocks of nulls": {Sequence: 1, Content: &driverv1.Frame_Batch{Batch: &driverv1.Batch{
			Blocks: []*driverv1.Block{nulls, nulls},
		}}},
		"handle beyond 32 bits": block(&driverv1.Block{Runs: []uint32{math.MaxUint32, 2}}),
		"no column":             block(&driverv1.Block{Runs: []uint32{1, 2}, Kind: driverv1.Kind_KIND_BOOL}),
		"two columns":           block(&driverv1.Block{Runs: []uint32{1, 1}, Kind: driverv1.Kind_KIND_INT64, Ints: []int64{1}, Uints: []uint64{1}}),
		"unknown kind":          block(&driverv1.Block{Runs: []uint32{1, 1}, Kind: 7}),
		"kind cut to a byte":    block(&driverv1.Block{Runs: []uint32{1, 1}, Kind: 257, Bools: []bool{true}}),
		"times":                 block(&driverv1.Block{Runs: []uint32{1, 1}, TimeDeltasNs: []int64{1, 2}}),
		"exception": block(&driverv1.Block{Runs: []uint32{1, 1}, Exceptions: []*driverv1.Exception{
			{First: 1, Count: math.MaxUint32},
		}}),
	} {
		data, err := proto.Marshal(frame)
		if err != nil {
			t.Fatal(err)
		}
		if _, b, g, err := wire.DecodeFrame(data); err == nil {
			t.Errorf("%s: taken as %+v %+v", name, b, g)
		}
	}
}

// Two bytes of an empty block become a struct of hundreds: so many are refused
// before they are decoded.
func TestHostileFrameTakesBoundedMemory(t *testing.T) {
	var message driverv1.Frame
	batch := &driverv1.Batch{Blocks: make([]*driverv1.Block, 1<<21)}
	for i := range batch.Blocks {
		batch.Blocks[i] = &driverv1.Block{}
	}
	message.Sequence, message.Content = 1, &driverv1.Frame_Batch{Batch: batch}
	frame, err := message.MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _, _, err = wire.DecodeFrame(frame)
	runtime.ReadMemStats(&after)
	if err == nil || after.TotalAlloc-before.TotalAlloc > 64<<20 {
		t.Errorf("%d bytes allocated for a frame of %d: %v", after.TotalAlloc-before.TotalAlloc, len(frame), err)
	}
	if _, _, err := wire.ScanAttach(bytes.Repeat([]byte{0x12, 0}, 1<<20)); err == nil {
		t.Error("a message of a million empty frames was taken")
	}
}

func TestScanKeepsFramesApart(t *testing.T) {
	encode := wire.FrameEncoder()
	first, second := encode(nil, 1, exampleBatch(), nil), encode(nil, 2, exampleBatch(), nil)
	frames, _, err := wire.ScanAttach(wire.PackFrames(first, second))
	if err != nil || len(frames) != 2 {
		t.Fatal(len(frames), err)
	}
	_ = append(frames[0], 0xff) // whoever owns a frame may append to it
	if diff := cmp.Diff(second, frames[1]); diff != "" {
		t.Error("appending to one frame changed the next")
	}
	if seq, patient, err := wire.FrameHead(frames[1]); err != nil || seq != 2 || patient {
		t.Error(seq, patient, err)
	}
	calm := exampleBatch()
	calm.Patient = true
	if seq, patient, err := wire.FrameHead(wire.FrameEncoder()(nil, 3, calm, nil)); err != nil || seq != 3 || !patient {
		t.Error(seq, patient, err)
	}
}

// What a driver answers is told apart from the end of its connection, which has the same status.
func TestAnswered(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want bool
	}{
		"an answer":           {wire.StatusOf(driver.Errorf(driver.NotConnected, "link l is down")), true},
		"an end":              {status.Error(codes.Unavailable, "connection refused"), false},
		"nothing of the wire": {errors.New("x"), false},
	} {
		if got := wire.Answered(test.err); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
