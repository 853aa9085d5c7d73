// Package ordeal breaks a running gateway in the ways in which a plant does, and holds
// what it stored against what its devices served.
//
// A Field is the built gateway with signed drivers over simulated devices. An ordeal (Kills,
// Upgrades, BadUpgrades, Restarts, Writes) does one thing to it many times. The simulator's
// witness is the judge, and the spool the evidence: what must not depend on the machine fails
// the test, what does is printed as a figure, one line of JSON.
//
// The tests of e2e run each ordeal in short, those of chaos as long as it has to be.
package ordeal

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/simulator"
	"github.com/fieldloom/fieldloom/test/plant"
)

// patience bounds every wait; it is a hang that it finds, not slowness.
const patience = 60 * time.Second

// Options make a field.
type Options struct {
	Devices   int           // each on a link of its own
	Period    time.Duration // in which each is polled once
	Registers int           // of a device, with the two of its slot
	Process   string        // the keys of processes.modbus, in YAML's short form
}

// A Field is a gateway over simulated devices.
type Field struct {
	Sim *simulator.Simulator
	G   *plant.Gateway
	API *client.Client

	t       testing.TB
	o       Options
	bins    plant.Binaries
	dir     string // of the configuration
	drivers string
	pulse   *pulse
}

// first is the version of the drivers that a field starts with.
const first = "0.1.0"

// newField starts a gateway, and returns when every device has been polled.
func newField(t testing.TB, o Options) *Field {
	t.Helper()
	f := &Field{t: t, o: o, bins: plant.Build(t), dir: t.TempDir(), drivers: filepath.Join(t.TempDir(), "drivers")}
	fleet := simulator.ModbusFleet(o.Devices, o.Registers, simulator.Ports)
	image := fleet.Servers[0].Devices[0].Image // of all of them
	image.Ranges = append(image.Ranges, "holding:1000-1001")
	f.Sim = simulator.Start(t, fleet)
	if err := os.Mkdir(f.drivers, 0o755); err != nil {
		t.Fatal(err)
	}
	f.bins.Pack(t, plant.Package{Driver: "modbus", Version: first}, f.drivers)
	f.configure()
	f.API = client.New(f.socket())
	t.Cleanup(f.API.Close)
	f.pulse = newPulse(t)
	f.start(f.bins)
	t.Cleanup(f.abandon)
	f.polled(3)
	return f
}

// configure writes the configuration. The slot is not the first point: that is what a
// device is probed with that was given up, and a probe is no poll.
func (f *Field) configure() {
	f.t.Helper()
	var links strings.Builder
	links.WriteString("links:\n")
	for i := range f.o.Devices {
		fmt.Fprintf(&links, "  %s: {driver: modbus, url: \"tcp://%s\", scan: {default: %v}, devices: {d: {template: fleet}}}\n",
			linkName(i), f.Sim.Addr(deviceName(i)), f.o.Period)
	}
	main := fmt.Sprintf(`drivers: %q
trust: %q
orphan: 1m
detach: true
processes: {modbus: {%s}}
templates: {fleet: {points: {"reg[2..%d]": {address: "holding:{n}"}, slot: {address: "holding:0:uint32"}, target: {address: "holding:1000:uint32", access: w}}}}
`, f.drivers, f.bins.Trust(), f.o.Process, f.o.Registers-1)
	for name, text := range map[string]string{"fieldloom.yaml": main, "links/links.yaml": links.String()} {
		path := filepath.Join(f.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			f.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			f.t.Fatal(err)
		}
	}
}

func deviceName(i int) string { return fmt.Sprintf("m%d", i+1) }

func linkName(i int) string { return fmt.Sprintf("plc%d", i+1) }

func (f *Field) socket() string { return filepath.Join(f.dir, "data", "fieldloom.sock") }

// start runs the gateway of bins and waits until it serves.
func (f *Field) start(bins plant.Binaries) {
	f.t.Helper()
	f.G = bins.Start(f.t, f.dir)
	plant.Eventually(f.t, patience, func() error {
		h, err := f.API.Health(f.t.Context())
		if err == nil && h.PID != f.G.PID() {
			return fmt.Errorf("gateway %d serves, not %d", h.PID, f.G.PID())
		}
		return err
	})
}

// end drains and stops everything, the drivers too, so that all is in the spool.
func (f *Field) end() {
	f.t.Helper()
	if _, err := f.API.Stop(f.t.Context(), true); err != nil {
		f.t.Fatal(err)
	}
	f.G.Wait()
	if err := f.Sim.Close(); err != nil {
		f.t.Error(err)
	}
}

// abandon stops the drivers of a test that did not come to its end.
func (f *Field) abandon() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := f.API.Stop(ctx, true); err == nil {
		f.G.Wait()
	}
}

// polled waits until every device has served so many more polls.
func (f *Field) polled(more uint64) {
	f.t.Helper()
	want := make([]uint64, f.o.Devices)
	for i := range want {
		want[i] = f.Sim.Device(deviceName(i)).Slot() + more
	}
	plant.Eventually(f.t, patience, func() error {
		for i, n := range want {
			if have := f.Sim.Device(deviceName(i)).Slot(); have < n {
				return fmt.Errorf("%s served %d polls of %d", deviceName(i), have, n)
			}
		}
		return nil
	})
}

// polledSince waits until every device has been polled after a time.
func (f *Field) polledSince(at time.Time) {
	f.t.Helper()
	plant.Eventually(f.t, patience, func() error {
		for i := range f.o.Devices {
			if last := f.Sim.Device(deviceName(i)).Counts().Last; last == nil || !last.After(at) {
				return fmt.Errorf("%s is not polled any more", deviceName(i))
			}
		}
		return nil
	})
}

// active waits until the driver is active and its spares are warm, and tells its process.
func (f *Field) active(spares int) client.Process {
	f.t.Helper()
	var found client.Process
	plant.Eventually(f.t, patience, func() error {
		s, err := f.API.Status(f.t.Context())
		if err != nil {
			return err
		}
		if len(s.Drivers) != 1 {
			return fmt.Errorf("%d drivers", len(s.Drivers))
		}
		d := s.Drivers[0]
		warm := 0
		found = client.Process{}
		for _, p := range d.Processes {
			switch {
			case p.State == "active" && p.Links == f.o.Devices:
				found = p
			case p.State == "standby":
				warm++
			}
		}
		if found.PID == 0 || warm != spares || d.State != "active" {
			return fmt.Errorf("driver is %s (%s) with %d warm processes of %d", d.State, d.Cause, warm, len(d.Processes))
		}
		return nil
	})
	return found
}
