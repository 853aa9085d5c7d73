package modbus_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/drivers/modbus"
	"github.com/fieldloom/fieldloom/simulator"
	"github.com/fieldloom/fieldloom/simulator/signal"
)

// What lies in no table is read beside registers, in every framing, and a record of a file is
// written.
func TestFunctionsOfTheirOwn(t *testing.T) {
	for _, form := range forms {
		if form.sim.Over == "tls" {
			continue // no other code than over TCP
		}
		t.Run(form.name, func(t *testing.T) {
			image := &simulator.Image{Ranges: []string{"holding:0-9"}}
			for i, v := range []uint64{2, 11, 12} { // a queue of two
				image.Points = append(image.Points, simulator.Point{Name: fmt.Sprint(i), Address: fmt.Sprintf("holding:%d", i), Signal: signal.Constant(signal.Uint(v))})
			}
			c := form.sim
			c.Name, c.Protocol, c.Devices = "line", simulator.Modbus, []simulator.DeviceConfig{{Name: "d", Unit: 1, Image: image}}
			sim := simulator.Start(t, simulator.Config{Servers: []simulator.ServerConfig{c}})
			url := map[string]string{"": "tcp://", "udp": "udp://", "tty": ""}[c.Over] + sim.Addr("line")
			link, err := modbus.New().Open(t.Context(), driver.LinkConfig{Timeout: 5 * time.Second, Settings: json.RawMessage(`{"url":"` + url + `"` + form.link + `}`)}, driver.Env{})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = link.Close(t.Context()) }()
			want := []struct{ address, value string }{
				{"holding:1", "11"}, {"status", "0"}, {"events", "0"}, {"diag:12", "0"}, {"id:1", "simulator"}, {"fifo:0", "11,12"},
				{"file:4:7", "40007"}, {"file:1:2:uint32:cdab", fmt.Sprint(uint32(10003)<<16 | 10002)}, {"holding:2", "12"},
			}
			var points []driver.Point
			for i, w := range want {
				points = append(points, driver.Point{Index: i, Name: fmt.Sprint(i), Address: w.address})
			}
			d, err := link.Device(t.Context(), driver.DeviceConfig{Name: "d", Points: points, Settings: json.RawMessage(`{"unit":1}`)})
			if err != nil {
				t.Fatal(err)
			}
			r, err := d.(driver.Preparer).Prepare(points)
			if err != nil {
				t.Fatal(err)
			}
			read := func() []driver.Sample {
				out := make([]driver.Sample, len(points))
				if err := r.Read(t.Context(), points, out); err != nil {
					t.Fatal(err)
				}
				return out
			}
			for i, s := range read() {
				if got := s.Value.String(); s.Quality != driver.Good || got != want[i].value {
					t.Errorf("%s is %s (%v), want %s", want[i].address, got, s.Fault, want[i].value)
				}
			}
			if err := d.(driver.Writer).Write(t.Context(), points[6], driver.Uint64Value(4711)); err != nil {
				t.Fatal(err)
			}
			if got := read()[6].Value.String(); got != "4711" {
				t.Errorf("the record is %s after it was written", got)
			}
			if err := d.(driver.Writer).Write(t.Context(), points[4], driver.StringValue("x")); driver.CodeOf(err) != driver.Denied {
				t.Errorf("a write of the identification: %v", err)
			}
		})
	}
}

func TestOwnAddressesThatCannotBe(t *testing.T) {
	for address, want := range map[string]string{
		"status:1": "nothing follows status", "diag:10": "from 11 to 18", "diag": "from 11 to 18", "id:256": "from 0 to 255", "fifo:x": "from 0 to 65535",
		"file:4": "file:FILE:RECORD", "file:0:1": "from 1 to 65535", "file:1:9999:uint32": "records 0 to 9999", "file:1:1.3": "bits of a record", "file:1:1:string:250": "of one answer",
	} {
		err := modbus.New().(driver.Checker).Check(driver.LinkConfig{Timeout: time.Second, Settings: json.RawMessage(`{"url":"tcp://plc"}`)},
			[]driver.DeviceConfig{{Name: "d", Points: []driver.Point{{Name: "p", Address: address}}}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", address, err, want)
		}
	}
}

// FuzzOwnAnswers checks that whatever comes instead of an answer is Bad or a value, and nothing
// else.
func FuzzOwnAnswers(f *testing.F) {
	f.Add("fifo:1", []byte{0, 6, 0, 2, 0, 1, 0, 2})
	f.Add("id:0", []byte{14, 4, 0x81, 0, 0, 1, 0, 1, 'x'})
	f.Add("file:1:1:float32", []byte{6, 5, 6, 1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, address string, data []byte) {
		s, ok := modbus.OwnSample(address, data)
		if ok && (s.Quality == driver.Good) != (s.Fault == nil) {
			t.Fatalf("quality %v with fault %v", s.Quality, s.Fault)
		}
	})
}
