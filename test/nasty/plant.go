// Package nasty runs a gateway with a healthy Modbus driver on simulated devices
// beside a driver that misbehaves (test/chaos/nasty), and tells what that did to the
// gateway and to the healthy driver's intervals.
package nasty

import (
	"cmp"
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

const (
	// neighbours are the devices of the healthy driver, each on a link of its own, and
	// period is the interval of their polls.
	neighbours = 20
	period     = 100 * time.Millisecond
	// Patience bounds every wait for what is no part of a case.
	Patience = 60 * time.Second
)

// Point is where a deed is written to.
const Point = "bad/d/do"

// A Config says which driver misbehaves.
type Config struct {
	Driver string // nasty, wire, early, vast or babble
	Does   string // what it does as soon as its link is opened; empty: nothing
	Main   string // more of fieldloom.yaml; confinement is best-effort where it does not say
	Dir    string // of the configuration; default: a new one
	Wants  string // of the manifest; default: nothing
}

// A Plant is a gateway with both drivers.
type Plant struct {
	*plant.Gateway
	Driver string
	t      testing.TB
	bins   plant.Binaries
	sim    *simulator.Simulator
	begun  time.Time // when all neighbours were being polled
}

// Program builds the driver that misbehaves.
func Program(t testing.TB) string { return plant.Compile(t, "./test/chaos/nasty", "") }

// Start runs a gateway; program is what Program built. It returns when every neighbour
// has been polled for a second.
func Start(t testing.TB, program string, c Config) *Plant {
	t.Helper()
	bins := plant.Build(t)
	dir := c.Dir
	if dir == "" {
		dir = t.TempDir()
	}
	drivers := filepath.Join(dir, "drivers")
	if err := os.Mkdir(drivers, 0o755); err != nil {
		t.Fatal(err)
	}
	bins.Pack(t, plant.Package{Driver: "modbus"}, drivers)
	bins.Pack(t, plant.Package{Driver: c.Driver, Draft: draft(t, c.Driver, cmp.Or(c.Wants, "{}")), Executable: program}, drivers)
	p := &Plant{Driver: c.Driver, t: t, bins: bins, sim: simulator.Start(t, simulator.ModbusFleet(neighbours, 100, simulator.Ports))}
	bins.WriteConfig(t, dir, fmt.Sprintf("drivers: %q\n", drivers)+c.Main, p.links(c.Does))
	p.Gateway = bins.Start(t, dir)
	p.settle()
	return p
}

// draft is the nasty driver's under another name.
func draft(t testing.TB, name, wants string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "driver.json")
	text := fmt.Sprintf(`{"name": %q, "version": "1.0.0", "api": {"min": 1, "max": 1}, "wants": %s}`, name, wants)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (p *Plant) links(does string) string {
	var links strings.Builder
	links.WriteString("links:\n")
	for i := range neighbours {
		fmt.Fprintf(&links, "  plc%d: {driver: modbus, url: \"tcp://%s\", scan: {default: %v}, devices: {d: {points: {slot: {address: \"holding:0:uint32\"}}}}}\n",
			i+1, p.sim.Addr(device(i)), period)
	}
	settings := ""
	if p.Driver != "early" && p.Driver != "babble" && p.Driver != "vast" {
		settings = fmt.Sprintf("does: %q, ", does)
	}
	fmt.Fprintf(&links, "  bad: {driver: %s, %stimeout: 1s, scan: {default: %v}, devices: {d: {points: {value: {address: value}, do: {address: do, access: w}}}}}\n",
		p.Driver, settings, period)
	return links.String()
}

func device(i int) string { return fmt.Sprintf("m%d", i+1) }

// settle waits until the neighbours are polled.
func (p *Plant) settle() {
	p.t.Helper()
	plant.Eventually(p.t, Patience, func() error {
		for i := range neighbours {
			if n := p.sim.Device(device(i)).Slot(); n < uint64(time.Second/period) {
				return fmt.Errorf("%s served %d polls", device(i), n)
			}
		}
		return nil
	})
	p.begun = time.Now()
}

// Healthy waits until the driver that misbehaves runs and does nothing wrong, and
// returns it.
func (p *Plant) Healthy() client.Driver {
	p.t.Helper()
	return p.Until(Patience, func(d client.Driver) error { return Is(d, "active") })
}

// Do has the driver do something wrong. The answer to a write is no part of that.
func (p *Plant) Do(deed string) {
	p.t.Helper()
	if _, err := p.CLI("write", Point, deed); err != nil {
		p.t.Logf("write %s: %.200v", deed, err)
	}
}

// Reconfigure changes what the driver does as soon as its link is opened.
func (p *Plant) Reconfigure(does string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.Dir, "links", "links.yaml"), []byte(p.links(does)), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// Until waits until the driver's status is as it should be, and returns it.
func (p *Plant) Until(within time.Duration, holds func(client.Driver) error) client.Driver {
	p.t.Helper()
	var last client.Driver
	plant.Eventually(p.t, within, func() error {
		d, err := p.Gateway.Driver(p.Driver)
		if err != nil {
			return err
		}
		last = d
		return holds(d)
	})
	return last
}

// Is reports whether a driver is in a state.
func Is(d client.Driver, state string) error {
	if d.State != state {
		return fmt.Errorf("driver %s is %s: %.300s", d.Name, d.State, d.Cause)
	}
	return nil
}

// Restarted reports whether a driver runs again, with a process that is not pid, after what the
// cause has in it.
func Restarted(d client.Driver, pid int, cause string) error {
	if err := Is(d, "active"); err != nil {
		return err
	}
	if d.PID == pid {
		return fmt.Errorf("process %d still runs", pid)
	}
	return Caused(d, cause)
}

// Caused reports whether the cause of a driver's last trouble has a text in it.
func Caused(d client.Driver, cause string) error {
	if !strings.Contains(d.Cause, cause) {
		return fmt.Errorf("driver %s is %s, and the cause is %.300q, want %q", d.Name, d.State, d.Cause, cause)
	}
	return nil
}
