package plugin_test

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/fieldloom/fieldloom/core/plugin"
	driverv1 "github.com/fieldloom/fieldloom/proto/driver/v1"
)

func FuzzDecodeFrame(f *testing.F) {
	f.Add(plugin.FrameEncoder()(nil, 42, exampleBatch(), nil))
	f.Add([]byte{0x08, 0x01, 0x12, 0x08, 0x0a, 0x06, 0x0a, 0x04, 1, 0xff, 0xff, 0x3f})
	encode := plugin.FrameEncoder()
	f.Fuzz(func(t *testing.T, data []byte) {
		seq, batch, gap, err := plugin.DecodeFrame(data)
		if err != nil {
			return
		}
		if (batch == nil) == (gap == nil) {
			t.Fatal("neither or both of batch and gap")
		}
		n := 0
		if batch != nil {
			for range batch.Samples() {
				n++
			}
		}
		if n > 1<<20 {
			t.Fatalf("%d samples from %d bytes", n, len(data))
		}
		if _, _, _, err := plugin.DecodeFrame(encode(nil, seq, batch, gap)); err != nil {
			t.Fatalf("what was decoded and encoded again is not taken: %v", err)
		}
	})
}

func FuzzScanAttach(f *testing.F) {
	frame := plugin.FrameEncoder()(nil, 42, exampleBatch(), nil)
	f.Add(plugin.PackFrames(frame))
	f.Add(plugin.PackFrames(frame, frame))
	f.Fuzz(func(t *testing.T, data []byte) {
		frames, _, err := plugin.ScanAttach(data)
		if err != nil {
			return
		}
		for _, frame := range frames {
			seq, patient, err := plugin.FrameHead(frame)
			got, batch, _, decodeErr := plugin.DecodeFrame(frame)
			if decodeErr == nil && (err != nil || got != seq || batch != nil && batch.Patient != patient) {
				t.Fatalf("scanned sequence %d, patient %v, %v; decoded %d %v", seq, patient, err, got, batch)
			}
		}
	})
}

// FuzzPump feeds the reader of a driver's standard error.
func FuzzPump(f *testing.F) {
	for _, line := range []string{
		`{"@message":1}`, `{"msg":"x","level":"WARN","a":1,"b":[[[]]],"driver":"forged"}`, "plain\r\n\n\x00\xff",
		`{"@message":"x","@level":"error","@timestamp":"2024-01-02T03:04:05Z"}`, `{"msg":null}`, `{`, `{"msg":"x","a":null}`,
		"panic: runtime error\n\ngoroutine 1 [running]:\n",
	} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var out bytes.Buffer
		lines := plugin.PumpLines(slog.New(slog.NewJSONHandler(&out, nil)), bytes.NewReader(data), 3)
		if len(lines) > 3 {
			t.Fatalf("%d lines kept", len(lines))
		}
		for _, line := range lines {
			if len(line) > 3*4096 {
				t.Fatalf("a line of %d bytes was kept", len(line))
			}
		}
	})
}

func FuzzHandshake(f *testing.F) {
	f.Add("1|1|unix|/tmp/x|grpc|")
	f.Add("1|1|tcp|127.0.0.1:1|grpc|MIIB")
	f.Fuzz(func(_ *testing.T, line string) { _ = plugin.ParseHandshake(line) })
}

func FuzzStateFromWire(f *testing.F) {
	seed, err := proto.Marshal(plugin.StateToWire(exampleState()))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, data []byte) {
		var wire driverv1.State
		if wire.UnmarshalVT(data) != nil {
			return
		}
		state, err := plugin.StateFromWire(&wire)
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
		if _, err := plugin.StateFromWire(plugin.StateToWire(state)); err != nil {
			t.Fatalf("a state that was taken is not taken again: %v", err)
		}
	})
}

// FuzzAnswers decodes what a driver answers to the core's calls.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte{})
	f.Fuzz(func(_ *testing.T, data []byte) {
		var status driverv1.StatusResponse
		if status.UnmarshalVT(data) == nil {
			plugin.StatusFromWire(&status)
		}
		var read driverv1.ReadResponse
		if read.UnmarshalVT(data) == nil {
			plugin.SamplesFromWire(read.GetSamples())
		}
		var event driverv1.Event
		if event.UnmarshalVT(data) == nil {
			plugin.EventFromWire(&event)
		}
		var description driverv1.DescribeResponse
		if description.UnmarshalVT(data) == nil {
			plugin.DescriptionFromWire(&description)
		}
	})
}

func FuzzParseRecord(f *testing.F) {
	f.Add([]byte(`{"driver":"x","pid":7,"start":1,"boot":"b","dir":"/run/x","identity":{"network":"unix","address":"/run/x/s","pid":7}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := plugin.ParseRecord(data)
		if err == nil && (r.PID <= 1 || r.Driver == "" || len(r.Identity.Address) > 107) {
			t.Errorf("%+v", r)
		}
	})
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("12 (a) b) S 1 12 12 0 -1"))
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = plugin.ParseStat(data) })
}

// FuzzFollow does to the file of a process's lines what the process can do to it: write,
// shorten it, lengthen it. What is only written is read or told of as lost.
func FuzzFollow(f *testing.F) {
	f.Add([]byte{0, 3, 0, 9, 1, 0, 0, 3})
	f.Add([]byte{0, 255, 2, 255, 1, 7, 0, 1, 2, 3, 1, 0})
	ended := make(chan struct{})
	close(ended) // so that no Read waits
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 64 {
			return
		}
		file, err := os.OpenFile(filepath.Join(t.TempDir(), "stderr"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		var written, seen, size int64
		follower := plugin.NewFollower(file, make(chan struct{}), ended, func(bytes int64) { seen += bytes })
		plain := true // nothing but written to
		for ; len(data) > 1; data = data[2:] {
			n := int64(data[1]) << 10
			switch data[0] % 3 {
			case 0:
				_, err = file.Write(bytes.Repeat([]byte("a line\n0"), int(n)/8))
				size, written = size+n, written+n
			case 1:
				size, plain = min(size, n), false
				err = file.Truncate(size)
			case 2:
				size, plain = size+n<<6, false
				err = file.Truncate(size)
			}
			if err != nil {
				t.Fatal(err)
			}
			read, err := io.Copy(io.Discard, follower)
			if err != nil || read > size {
				t.Fatalf("read %d bytes of %d: %v", read, size, err)
			}
			if seen += read; plain && seen != written {
				t.Fatalf("%d bytes read or lost, %d written", seen, written)
			}
		}
	})
}
