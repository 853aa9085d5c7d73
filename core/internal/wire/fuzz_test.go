package wire_test

import (
	"testing"

	"github.com/fieldloom/fieldloom/core/internal/wire/wiretest"

	"google.golang.org/protobuf/proto"

	"github.com/fieldloom/fieldloom/core/internal/socket"
	"github.com/fieldloom/fieldloom/core/internal/wire"
	driverv1 "github.com/fieldloom/fieldloom/proto/driver/v1"
)

func FuzzDecodeFrame(f *testing.F) {
	f.Add(wire.FrameEncoder()(nil, 42, exampleBatch(), nil))
	f.Add([]byte{0x08, 0x01, 0x12, 0x08, 0x0a, 0x06, 0x0a, 0x04, 1, 0xff, 0xff, 0x3f})
	encode := wire.FrameEncoder()
	f.Fuzz(func(t *testing.T, data []byte) {
		seq, batch, gap, err := wire.DecodeFrame(data)
		if err != nil {
			return
		}
		if (batch == nil) == (gap == nil) {
			t.Fatal("neither or both of batch and gap")
		}
		n := 0
		if batch != nil {
			if err := batch.Check(); err != nil {
				t.Fatalf("inspected and decoded, and malformed: %v", err)
			}
			for range batch.Samples() {
				n++
			}
		}
		if n > 1<<20 {
			t.Fatalf("%d samples from %d bytes", n, len(data))
		}
		if _, _, _, err := wire.DecodeFrame(encode(nil, seq, batch, gap)); err != nil {
			t.Fatalf("what was decoded and encoded again is not taken: %v", err)
		}
	})
}

func FuzzScanAttach(f *testing.F) {
	frame := wire.FrameEncoder()(nil, 42, exampleBatch(), nil)
	f.Add(wire.PackFrames(frame))
	f.Add(wire.PackFrames(frame, frame))
	f.Fuzz(func(t *testing.T, data []byte) {
		frames, _, err := wire.ScanAttach(data)
		if err != nil {
			return
		}
		for _, frame := range frames {
			seq, patient, err := wire.FrameHead(frame)
			got, batch, _, decodeErr := wire.DecodeFrame(frame)
			if decodeErr == nil && (err != nil || got != seq || batch != nil && batch.Patient != patient) {
				t.Fatalf("scanned sequence %d, patient %v, %v; decoded %d %v", seq, patient, err, got, batch)
			}
		}
	})
}

func FuzzStateFromWire(f *testing.F) {
	seed, err := proto.Marshal(wire.EncodeState(wiretest.State()))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, data []byte) {
		var message driverv1.State
		if proto.Unmarshal(data, &message) != nil {
			return
		}
		state, err := wire.DecodeState(&message)
		if err != nil {
			return
		}
		for _, link := range state.Links {
			for _, device := range link.Devices {
				for _, point := range device.Table.Points {
					_ = link.Classes[point.Class]
				}
			}
		}
		if _, err := wire.DecodeState(wire.EncodeState(state)); err != nil {
			t.Fatalf("a state that was taken is not taken again: %v", err)
		}
	})
}

// FuzzAnswers decodes what a driver answers to the core's calls.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte{})
	f.Fuzz(func(_ *testing.T, data []byte) {
		var status driverv1.StatusResponse
		if proto.Unmarshal(data, &status) == nil {
			wire.DecodeStatus(&status)
		}
		var read driverv1.ReadResponse
		if proto.Unmarshal(data, &read) == nil {
			wire.DecodeSamples(read.GetSamples())
		}
		var event driverv1.Event
		if event.UnmarshalVT(data) == nil {
			wire.DecodeEvent(&event)
		}
		var description driverv1.DescribeResponse
		if proto.Unmarshal(data, &description) == nil {
			wire.DecodeDescription(&description)
		}
	})
}

func FuzzParseRecord(f *testing.F) {
	f.Add([]byte(`{"driver":"x","pid":7,"start":1,"boot":"b","dir":"/run/x","identity":{"network":"unix","address":"/run/x/s","pid":7}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := wire.ParseRecord(data)
		if err == nil && (r.PID <= 1 || r.Driver == "" || len(r.Identity.Address) > socket.MaxPath) {
			t.Errorf("%+v", r)
		}
	})
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("12 (a) b) S 1 12 12 0 -1"))
	f.Fuzz(func(_ *testing.T, data []byte) { _ = wire.ParseStat(data) })
}
