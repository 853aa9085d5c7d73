package modbus_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/drivers/modbus"
	"github.com/fieldloom/fieldloom/simulator"
)

// BenchmarkRTU polls 100 registers of one unit on a tty: without a pace, which shows what the
// driver costs, and at the pace of a line, as a share of what that allows: request and answer with
// 11 bits a character, and 3.5 characters of silence before each of the two (1.75 ms above 19200
// bit/s; Modbus over Serial Line V1.02, clause 2.5.1.1).
func BenchmarkRTU(b *testing.B) {
	for _, baud := range []int{0, 9600, 115200} {
		b.Run(fmt.Sprint(baud), func(b *testing.B) {
			sim := simulator.Start(b, simulator.Config{Servers: []simulator.ServerConfig{{
				Name: "line", Protocol: simulator.Modbus, Over: "tty", Line: simulator.Line{Baud: baud},
				Devices: []simulator.DeviceConfig{{Name: "d", Unit: 1, Image: simulator.StandardImage(100)}},
			}}})
			rate := baud
			if rate == 0 {
				rate = 4_000_000
			}
			settings := fmt.Sprintf(`{"url":%q,"baud":%d}`, sim.Addr("line"), rate)
			link, err := modbus.New().Open(b.Context(), driver.LinkConfig{Timeout: 10 * time.Second, Settings: json.RawMessage(settings)}, driver.Env{})
			if err != nil {
				b.Fatal(err)
			}
			defer link.Close(b.Context())
			points := make([]driver.Point, 100)
			for i := range points {
				points[i] = driver.Point{Index: i, Name: fmt.Sprint(i), Address: fmt.Sprintf("holding:%d", i)}
			}
			d, err := link.Device(b.Context(), driver.DeviceConfig{Name: "d", Points: points})
			if err != nil {
				b.Fatal(err)
			}
			r, err := d.(driver.Preparer).Prepare(points)
			if err != nil {
				b.Fatal(err)
			}
			out := make([]driver.Sample, len(points))
			for b.Loop() {
				if err := r.Read(b.Context(), points, out); err != nil {
					b.Fatal(err)
				}
			}
			took := b.Elapsed() / time.Duration(b.N)
			b.ReportMetric(float64(time.Second)/float64(took), "requests/s")
			if baud > 0 {
				char := 11 * time.Second / time.Duration(baud)
				silence := 7 * char / 2
				if baud > 19200 {
					silence = 1750 * time.Microsecond
				}
				allowed := time.Duration(8+5+2*len(points))*char + 2*silence
				b.ReportMetric(float64(allowed)/float64(took), "of-the-line")
			}
		})
	}
}
