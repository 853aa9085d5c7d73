package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/simulator"
	"github.com/fieldloom/fieldloom/test/plant"
)

// operated is a gateway over a fleet, with drivers of its own directory, that a test
// operates from the command line.
type operated struct {
	t    *testing.T
	bins plant.Binaries
	sim  *simulator.Simulator
	g    *plant.Gateway
	n    int
}

// operate runs a gateway over n devices polled every 100 ms. main is added to its
// fieldloom.yaml.
func operate(t *testing.T, n int, main string) *operated {
	t.Helper()
	bins := plant.Build(t)
	sim := simulator.Start(t, simulator.ModbusFleet(n+1, 100, simulator.Ports)) // one more than is configured
	dir := t.TempDir()
	drivers := filepath.Join(dir, "drivers")
	if err := os.Mkdir(drivers, 0o755); err != nil {
		t.Fatal(err)
	}
	bins.Pack(t, plant.Package{Driver: "modbus", Version: "1.0.0"}, drivers)
	bins.WriteConfig(t, dir, fmt.Sprintf("drivers: %q\n%s%s", drivers, main, templates), fleetLinks(sim, n, "100ms"))
	o := &operated{t: t, bins: bins, sim: sim, n: n, g: bins.Start(t, dir)}
	waitPolls(t, sim, n, 3)
	return o
}

// do runs a command and demands its exit code and a text in what it says.
func (o *operated) do(code int, text string, args ...string) {
	o.t.Helper()
	got, said := fieldloom(o.t, o.bins, append(args, "--config", o.g.Dir)...)
	if got != code || !strings.Contains(said, text) {
		o.t.Fatalf("fieldloom %s: exit code %d, want %d, and it says %q, want %q", strings.Join(args, " "), got, code, said, text)
	}
}

// again starts the gateway that was stopped or killed.
func (o *operated) again() {
	o.t.Helper()
	o.g = o.bins.Start(o.t, o.g.Dir)
	plant.Eventually(o.t, patience, func() error {
		_, err := o.g.Status()
		return err
	})
}

// eachOnce stops everything and demands that each poll that was served is stored once.
func (o *operated) eachOnce() {
	o.t.Helper()
	o.do(0, "has stopped", "stop", "--drivers")
	served := map[string]uint64{}
	for i := range o.n {
		served[fmt.Sprintf("plc%d/d", i+1)] = o.sim.Device(fmt.Sprintf("m%d", i+1)).Slot()
	}
	o.sim.Close()
	o.again()
	slots, err := plant.Slots(o.g.Stored("*/*/slot"))
	if err != nil {
		o.t.Fatal(err)
	}
	o.do(0, "has stopped", "stop", "--drivers")
	for device, count := range served {
		if err := plant.EachOnce(slots[device], count); err != nil {
			o.t.Errorf("%s: %v", device, err)
		}
	}
}

func (o *operated) driver() client.Driver {
	o.t.Helper()
	d, err := o.g.Driver("modbus")
	if err != nil {
		o.t.Fatal(err)
	}
	return d
}

// An upgrade, a rollback and a reload that needs another port cost no poll.
func TestUpgradeCostsNoPoll(t *testing.T) {
	o := operate(t, 10, "processes: {modbus: {probation: 500ms}}\n")
	next := o.bins.Pack(t, plant.Package{Driver: "modbus", Version: "1.1.0"}, t.TempDir())
	o.do(0, "driver modbus 1.1.0 is installed", "driver", "install", next)
	if d := o.driver(); d.Version != "1.0.0" {
		t.Errorf("installing made it version %s", d.Version)
	}
	o.do(0, "driver modbus is at version 1.1.0", "driver", "upgrade", "modbus")
	waitPolls(t, o.sim, o.n, 3)
	o.do(0, "driver modbus is at version 1.0.0", "driver", "rollback", "modbus")
	waitPolls(t, o.sim, o.n, 3)
	o.addLink()
	o.eachOnce()
}

// addLink configures the spare device, whose port the running process may not reach.
func (o *operated) addLink() {
	o.t.Helper()
	before := o.driver()
	spare := fmt.Sprintf("m%d", o.n+1)
	text := fmt.Sprintf("links:\n  extra: {driver: modbus, url: \"tcp://%s\", scan: {default: 100ms}, devices: {d: {template: fleet}}}\n", o.sim.Addr(spare))
	if err := os.WriteFile(filepath.Join(o.g.Dir, "links", "extra.yaml"), []byte(text), 0o600); err != nil {
		o.t.Fatal(err)
	}
	plant.Eventually(o.t, patience, func() error {
		if have := o.sim.Device(spare).Slot(); have < 3 {
			return fmt.Errorf("the device with another port served %d polls", have)
		}
		return nil
	})
	plant.Eventually(o.t, patience, func() error {
		if d := o.driver(); d.PID == before.PID || d.Upgrade != nil || d.Restarts != 0 {
			return fmt.Errorf("process %d, before %d, %d restarts, upgrade %+v", d.PID, before.PID, d.Restarts, d.Upgrade)
		}
		return nil
	})
}

// A restart of the core, planned or not, costs no poll of a detached driver.
func TestRestartOfTheCoreCostsNoPoll(t *testing.T) {
	o := operate(t, 10, "detach: true\n")
	pid := o.driver().PID
	for _, end := range []func(){
		func() { o.do(0, "has stopped", "stop") },
		func() { o.g.Stop() },
		func() { o.g.Kill() },
		func() { o.g.Kill() },
	} {
		end()
		waitPolls(t, o.sim, o.n, 5) // without a gateway
		o.again()
		waitPolls(t, o.sim, o.n, 3)
		if d := o.driver(); d.PID != pid || d.State != "active" || !d.Processes[0].Adopted {
			t.Fatalf("driver is %s with pid %d, want %d", d.State, d.PID, pid)
		}
	}
	o.eachOnce()
}

// What is off line is not polled, and comes back only when it answers.
func TestOffline(t *testing.T) {
	o := operate(t, 2, "")
	o.do(0, "plc1: off line", "offline", "plc1")
	quiet := o.sim.Device("m1").Slot()
	before := o.sim.Device("m2").Slot()
	plant.Eventually(t, patience, func() error {
		if have := o.sim.Device("m2").Slot(); have < before+10 {
			return fmt.Errorf("the other link was polled %d times", have-before)
		}
		return nil
	})
	if polls := o.sim.Device("m1").Slot(); polls != quiet {
		t.Errorf("the link was polled %d times while it was off line", polls-quiet)
	}
	o.do(1, "taken off line by the operator", "read", "plc1/d/slot")
	o.do(0, "plc1: on line", "online", "plc1")
	waitPolls(t, o.sim, 2, 5)
	o.do(0, "plc2: off line", "offline", "plc2")
	o.sim.Close()
	o.do(1, "plc2: stays off line: ", "online", "plc2")
	s, err := o.g.Status()
	if err != nil || len(s.Offline) != 1 || s.Offline[0].Name != "plc2" || s.Offline[0].Since.IsZero() {
		t.Errorf("off line is %+v, %v", s.Offline, err)
	}
}

// A package that nobody signed, one signed by a stranger and one that was tampered with
// are refused at the gateway's door, and leave nothing.
func TestInstallRefuses(t *testing.T) {
	o := operate(t, 1, "")
	for name, spoil := range map[string]func(dir string) error{
		"the signature":         func(dir string) error { return os.Remove(filepath.Join(dir, "manifest.json.minisig")) },
		"modbus-7.0.0":          func(dir string) error { return appendTo(filepath.Join(dir, "manifest.json"), " ") },
		"linux-amd64/driver":    func(dir string) error { return appendTo(executable(dir), "x") },
		"manifest.json.minisig": func(dir string) error { return os.Truncate(filepath.Join(dir, "manifest.json.minisig"), 10) },
	} {
		dir := o.bins.Pack(t, plant.Package{Driver: "modbus", Version: "7.0.0"}, t.TempDir())
		if err := spoil(dir); err != nil {
			t.Fatal(err)
		}
		code, said := fieldloom(t, o.bins, "driver", "install", dir, "--config", o.g.Dir)
		if code != 1 || strings.Count(said, "\n") != 1 {
			t.Errorf("%s: exit code %d: %s", name, code, said)
		}
	}
	left, err := os.ReadDir(filepath.Join(o.g.Dir, "drivers"))
	if err != nil || len(left) != 1 {
		t.Errorf("the drivers directory holds %v, %v", left, err)
	}
	waitPolls(t, o.sim, 1, 3)
}

func appendTo(path, text string) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(old, text...), 0o755)
}

// executable is the path of the executable of a package.
func executable(dir string) string {
	found, _ := filepath.Glob(filepath.Join(dir, "*", "driver-*"))
	return found[0]
}
