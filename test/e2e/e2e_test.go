// Package e2e_test breaks a whole gateway from outside and holds what it stored
// against what the simulator served.
package e2e_test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/simulator"
	"github.com/fieldloom/fieldloom/test/plant"
)

func TestMain(m *testing.M) { os.Exit(plant.Run(m)) }

// patience bounds every wait; it is a hang that it finds, not slowness.
const patience = 60 * time.Second

const templates = `templates:
  fleet:
    points:
      slot: {address: "holding:0:uint32"}
      reg[2..99]: {address: "holding:{n}"}
`

// fleetLinks puts each of n simulated devices on a link of its own.
func fleetLinks(sim *simulator.Simulator, n int, scan string) string {
	var links strings.Builder
	links.WriteString("links:\n")
	for i := range n {
		fmt.Fprintf(&links, "  plc%d: {driver: modbus, url: \"tcp://%s\", scan: {default: %s}, devices: {d: {template: fleet}}}\n",
			i+1, sim.Addr(fmt.Sprintf("m%d", i+1)), scan)
	}
	return links.String()
}

// startFleet runs a gateway over n devices polled every 100 ms.
func startFleet(t *testing.T, n int) (*simulator.Simulator, *plant.Gateway, plant.Binaries) {
	t.Helper()
	bins := plant.Build(t)
	sim := simulator.Start(t, simulator.ModbusFleet(n, 100, simulator.Ports))
	dir := t.TempDir()
	bins.WriteConfig(t, dir, templates, fleetLinks(sim, n, "100ms"))
	g := bins.Start(t, dir)
	waitPolls(t, sim, n, 3)
	return sim, g, bins
}

// waitPolls waits until every device has served so many more polls.
func waitPolls(t *testing.T, sim *simulator.Simulator, n int, more uint64) {
	t.Helper()
	want := make([]uint64, n)
	for i := range n {
		want[i] = sim.Device(fmt.Sprintf("m%d", i+1)).Slot() + more
	}
	plant.Eventually(t, patience, func() error {
		for i := range n {
			if have := sim.Device(fmt.Sprintf("m%d", i+1)).Slot(); have < want[i] {
				return fmt.Errorf("m%d served %d polls of %d", i+1, have, want[i])
			}
		}
		return nil
	})
}

// stored stops the gateway, notes what was served, and reads the slots back with
// a gateway started again.
func stored(t *testing.T, sim *simulator.Simulator, g *plant.Gateway, bins plant.Binaries, n int) (slots map[string]map[uint64]int, served map[string]uint64) {
	t.Helper()
	g.Stop()
	served = map[string]uint64{}
	for i := range n {
		served[fmt.Sprintf("plc%d/d", i+1)] = sim.Device(fmt.Sprintf("m%d", i+1)).Slot()
	}
	sim.Close()
	again := bins.Start(t, g.Dir)
	plant.Eventually(t, patience, func() error {
		_, err := again.Status()
		return err
	})
	slots, err := plant.Slots(again.Stored("*/*/slot"))
	if err != nil {
		t.Fatal(err)
	}
	return slots, served
}

// Every poll that the devices served is in the spool exactly once.
func TestEverySlotIsStoredOnce(t *testing.T) {
	const n = 20
	sim, g, bins := startFleet(t, n)
	waitPolls(t, sim, n, 20)
	slots, served := stored(t, sim, g, bins, n)
	for device, count := range served {
		if err := plant.EachOnce(slots[device], count); err != nil {
			t.Errorf("%s: %v", device, err)
		}
	}
}

// A driver that is killed comes back by itself, says why it died, and repeats
// nothing; what died in its ring is a gap.
func TestDriverKilled(t *testing.T) {
	const n = 20
	sim, g, bins := startFleet(t, n)
	before, err := g.Driver("modbus")
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	plant.Eventually(t, patience, func() error {
		after, err := g.Driver("modbus")
		if err == nil && (after.PID == before.PID || after.State != "active") {
			return fmt.Errorf("driver is %s with pid %d", after.State, after.PID)
		}
		return err
	})
	waitPolls(t, sim, n, 5)
	after, err := g.Driver("modbus")
	if err != nil {
		t.Fatal(err)
	}
	if after.Restarts != before.Restarts+1 || after.Gaps == 0 || !strings.Contains(after.Cause, "killed") {
		t.Errorf("status after the kill: %d restarts, %d gaps, cause %q", after.Restarts, after.Gaps, after.Cause)
	}
	slots, served := stored(t, sim, g, bins, n)
	for device, count := range served {
		missing := 0
		for i := uint64(1); i <= count; i++ {
			switch slots[device][i] {
			case 0:
				missing++
			case 1:
			default:
				t.Errorf("%s: slot %d stored %d times", device, i, slots[device][i])
			}
		}
		// What the process had read and not yet handed over died with it: at most what it polls until its next flush.
		if missing > 2 {
			t.Errorf("%s: %d of %d slots are missing", device, missing, count)
		}
	}
}

// A core that is killed leaves no driver behind, and a restart goes on with
// nothing twice and nothing lost that was acknowledged.
func TestCoreKilled(t *testing.T) {
	const n = 20
	sim, g, bins := startFleet(t, n)
	driver, err := g.Driver("modbus")
	if err != nil {
		t.Fatal(err)
	}
	// All that is shown here was stored: each of these must be there afterwards.
	acknowledged, err := plant.Slots(g.Stored("*/*/slot"))
	if err != nil {
		t.Fatal(err)
	}
	g.Kill()
	plant.Eventually(t, patience, func() error {
		if err := syscall.Kill(driver.PID, 0); err == nil {
			return fmt.Errorf("driver %d lives on without a core", driver.PID)
		}
		return nil
	})
	again := bins.Start(t, g.Dir)
	waitPolls(t, sim, n, 5)
	slots, _ := stored(t, sim, again, bins, n)
	for device, seen := range acknowledged {
		for slot := range seen {
			if slots[device][slot] != 1 {
				t.Errorf("%s: acknowledged slot %d is stored %d times", device, slot, slots[device][slot])
			}
		}
	}
	for device, seen := range slots {
		for slot, times := range seen {
			if times != 1 {
				t.Errorf("%s: slot %d stored %d times", device, slot, times)
			}
		}
	}
}
