package samples

import (
	"fmt"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/frame"
	"github.com/fieldloom/fieldloom/core/gateway/internal/datadir"
	"github.com/fieldloom/fieldloom/core/gateway/internal/inforce"
	"github.com/fieldloom/fieldloom/core/internal/catalog"
	"github.com/fieldloom/fieldloom/core/internal/spool"
	"github.com/fieldloom/fieldloom/core/internal/stream"
	"github.com/fieldloom/fieldloom/core/internal/wire"
)

// encodeSink encodes as the API does.
type encodeSink struct {
	encoder client.Encoder
	buffer  []byte
	bytes   int64
}

func (s *encodeSink) Begin(client.Position) {}

func (s *encodeSink) Sample(sample *client.Sample) error {
	s.buffer = append(s.encoder.Append(s.buffer[:0], sample), '\n')
	s.bytes += int64(len(s.buffer))
	return nil
}

func (s *encodeSink) Flush() error { return nil }

// BenchmarkWatch is what a line costs the core: from the spool to the line of JSON. One
// iteration is one sample; the frames are polls of 100 registers of different devices.
func BenchmarkWatch(b *testing.B) {
	d, err := datadir.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	points, err := catalog.Open(d.DB)
	if err != nil {
		b.Fatal(err)
	}
	const devices = 100
	cfg, err := config.Parse(map[string][]byte{"fieldloom.yaml": fmt.Appendf(nil,
		"links: {line1: {driver: modbus, devices: {\"m[1..%d]\": {unit: \"{n}\", points: {\"reg[0..99]\": {address: \"holding:{n}\", unit: V}}}}}}\n", devices)})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := points.States(cfg, 1); err != nil {
		b.Fatal(err)
	}
	stored, err := spool.Open(b.TempDir(), spool.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = stored.Close() }()
	const frames, samples = 300, 1000
	for n := range frames {
		batch := &frame.Batch{}
		for poll := range samples / 100 {
			floats := make([]float64, 100)
			for i := range floats {
				floats[i] = 200 + float64(i)/10 + float64(n)
			}
			device := uint32((n*7 + poll) % devices)
			batch.Blocks = append(batch.Blocks, frame.Block{Runs: []uint32{1 + device*100, 100}, Time: time.Now().UnixNano(), Kind: driver.KindFloat64, Floats: floats})
		}
		stored.Append(spool.Record{Driver: "modbus", Epoch: 1, Sequence: uint64(n + 1), Stored: time.Now(), Data: wire.AppendFrame(nil, uint64(n+1), batch, nil)},
			func(error) {})
	}
	for stored.End() <= frames {
		stored.Commit()
	}
	service := New(inforce.NewCurrent(cfg, time.Now()), stream.Store{Spool: stored, Catalog: points}, nil)
	b.ReportAllocs()
	sink := &encodeSink{}
	for done := 0; done < b.N; done += frames * samples {
		if err := service.Watch(b.Context(), client.WatchOptions{Replay: true}, sink); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(sink.bytes)/float64(b.N), "B/line")
}
