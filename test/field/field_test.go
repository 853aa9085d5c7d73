// Package field_test tries habits of real devices, each a report from the field, on a whole
// gateway: the device is simulated or a few lines here, the link's settings stand in
// CASE/link.yaml.
package field_test

import (
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/simulator"
	"github.com/fieldloom/fieldloom/simulator/signal"
	"github.com/fieldloom/fieldloom/test/plant"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// The gateways here wait for their devices, most of the time.
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	os.Exit(plant.Run(m))
}

// Every directory with settings is tried by a test.
func TestEveryCaseIsTried(t *testing.T) {
	var source strings.Builder
	for _, name := range []string{"modbus_test.go", "serial_test.go"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		source.Write(text)
	}
	cases, err := filepath.Glob("*/link.yaml")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, path := range cases {
		if name := filepath.Dir(path); !strings.Contains(source.String(), strconv.Quote(name)) {
			t.Errorf("no test starts %s", name)
		}
	}
}

// A field is one gateway with the link of a case.
type field struct {
	t *testing.T
	g *plant.Gateway
}

// start runs a gateway with the settings of a case, in which @PORT@ is where the device is.
func start(t *testing.T, name, port string) *field {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(name, "link.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	bins := plant.Build(t)
	bins.WriteConfig(t, dir, "gateway: field\n", strings.ReplaceAll(string(text), "@PORT@", port))
	return run(t, bins, dir)
}

// run starts the gateway of a directory, and returns when it answers.
func run(t *testing.T, bins plant.Binaries, dir string) *field {
	t.Helper()
	f := &field{t, bins.Start(t, dir)}
	plant.Eventually(t, 20*time.Second, func() error {
		_, err := f.g.CLI("status")
		return err
	})
	return f
}

// samples are those of a point that are stored, oldest first.
func (f *field) samples(device, point string) []plant.Sample {
	f.t.Helper()
	return f.g.Stored("*/" + device + "/" + point)
}

// good counts the good samples, and returns the last value among them.
func good(samples []plant.Sample) (n int, last string) {
	for _, s := range samples {
		if s.Quality == "good" {
			n++
			last = string(s.Value)
		}
	}
	return n, last
}

// wait waits until a point has had a good sample, and returns its last good value.
func (f *field) wait(device, point string, within time.Duration) (value string) {
	f.t.Helper()
	plant.Eventually(f.t, within, func() error {
		samples := f.samples(device, point)
		n, last := good(samples)
		if n == 0 {
			return &nothingGood{device + "/" + point, samples}
		}
		value = last
		return nil
	})
	return value
}

type nothingGood struct {
	point   string
	samples []plant.Sample
}

func (e *nothingGood) Error() string {
	if len(e.samples) == 0 {
		return e.point + " has no sample at all"
	}
	last := e.samples[len(e.samples)-1]
	return e.point + " has no good sample; the last: " + last.Quality + " " + last.Fault
}

// gather waits until a point has so many good samples, from now on, and returns all that came.
func (f *field) gather(device, point string, n int, within time.Duration) (all []plant.Sample) {
	f.t.Helper()
	before := len(f.samples(device, point))
	plant.Eventually(f.t, within, func() error {
		all = f.samples(device, point)[before:]
		if got, _ := good(all); got < n {
			return &nothingGood{device + "/" + point + ": " + strconv.Itoa(got) + " of " + strconv.Itoa(n), all}
		}
		return nil
	})
	return all
}

// mustBeGood fails where a sample is not.
func (f *field) mustBeGood(samples []plant.Sample) {
	f.t.Helper()
	for _, s := range samples {
		if s.Quality != "good" {
			f.t.Errorf("%s/%s is %s: %s", s.Device, s.Point, s.Quality, s.Fault)
			return
		}
	}
}

// mustBe fails where a good sample has another value.
func (f *field) mustBe(samples []plant.Sample, want ...string) {
	f.t.Helper()
	for _, s := range samples {
		if s.Quality != "good" {
			continue
		}
		ok := false
		for _, w := range want {
			ok = ok || string(s.Value) == w
		}
		if !ok {
			f.t.Errorf("%s/%s is good with %s, want %v", s.Device, s.Point, s.Value, want)
			return
		}
	}
}

// write writes a value by the command line.
func (f *field) write(point, value string) {
	f.t.Helper()
	if _, err := f.g.CLI("write", point, value); err != nil {
		f.t.Errorf("write %s: %v", point, err)
	}
}

// quiet fails where the log has a line of a level that an operator has to look at.
func (f *field) quiet() {
	f.t.Helper()
	for _, line := range strings.Split(f.g.Log(), "\n") {
		if strings.Contains(line, "WARN") || strings.Contains(line, "ERROR") {
			f.t.Errorf("the log has: %s", line)
		}
	}
}

// A unit is a simulated Modbus unit: its registers by their addresses.
func unit(name string, id byte, registers map[int]uint16) simulator.DeviceConfig {
	image := &simulator.Image{}
	for at, v := range registers {
		image.Points = append(image.Points, simulator.Point{
			Name: "r" + strconv.Itoa(at), Address: "holding:" + strconv.Itoa(at), Writable: true,
			Signal: signal.Constant(signal.Uint(uint64(v))),
		})
		image.Ranges = append(image.Ranges, "holding:"+strconv.Itoa(at))
	}
	return simulator.DeviceConfig{Name: name, Unit: id, Image: image}
}

// modbus starts a simulated Modbus server.
func modbus(t *testing.T, framing string, devices ...simulator.DeviceConfig) *simulator.Simulator {
	t.Helper()
	return simulator.Start(t, simulator.Config{Servers: []simulator.ServerConfig{{
		Name: "plc", Protocol: simulator.Modbus, Framing: framing, Devices: devices,
	}}})
}

// portOf is the number of a simulated server's port.
func portOf(sim *simulator.Simulator) string {
	addr := sim.Addr("plc")
	return addr[strings.LastIndexByte(addr, ':')+1:]
}
