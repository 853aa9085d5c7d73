//go:build load

package load_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/simulator"
	"github.com/fieldloom/fieldloom/test/plant"
)

const slotPoint = "points: {slot: {address: \"holding:0:uint32\"}}"

// One of 100 devices on links of their own becomes a black hole: the other links
// do not move.
func TestBlackHoleAmongLinks(t *testing.T) {
	bins := plant.Build(t)
	sim := simulator.Start(t, simulator.ModbusFleet(100, 100, simulator.Ports))
	var links strings.Builder
	links.WriteString("links:\n")
	for i := range 100 {
		fmt.Fprintf(&links, "  plc%d: {driver: modbus, url: \"tcp://%s\", timeout: 500ms, scan: {default: 200ms}, devices: {d: {%s}}}\n",
			i+1, sim.Addr(fmt.Sprintf("m%d", i+1)), slotPoint)
	}
	dir := t.TempDir()
	bins.WriteConfig(t, dir, "", links.String())
	bins.Start(t, dir)
	settled(t, sim, 100)
	if err := sim.Device("m1").Fault(simulator.Fault{Kind: simulator.Silent}); err != nil {
		t.Fatal(err)
	}
	broken := time.Now()
	time.Sleep(15 * time.Second)
	before, after := shifts(sim, 100, broken, 200*time.Millisecond)
	t.Logf("largest lateness of 99 other links: %v in the 5 s before, %v in the 15 s after", before, after)
	if after > before+50*time.Millisecond {
		t.Errorf("other links moved by %v", after-before)
	}
}

// One of 10 units on a shared link dies: before it is demoted its neighbours move
// by at most one time-out, afterwards not at all.
func TestDeadUnitOnSharedLink(t *testing.T) {
	const timeout = 300 * time.Millisecond
	bins := plant.Build(t)
	sim := simulator.Start(t, simulator.ModbusFleet(10, 100, simulator.Units))
	dir := t.TempDir()
	bins.WriteConfig(t, dir, "", fmt.Sprintf("links:\n  line: {driver: modbus, url: \"tcp://%s\", timeout: %v, scan: {default: 1s}, devices: {\"m[1..10]\": {unit: \"{d}\", %s}}}\n",
		sim.Addr("modbus1"), timeout, slotPoint))
	g := bins.Start(t, dir)
	settled(t, sim, 10)
	if err := sim.Device("m1").Fault(simulator.Fault{Kind: simulator.Silent}); err != nil {
		t.Fatal(err)
	}
	broken := time.Now()
	var demoted time.Time
	plant.Eventually(t, 30*time.Second, func() error {
		s, err := g.Status()
		if err != nil {
			return err
		}
		for _, d := range s.Links[0].Devices {
			if d.Name == "m1" && d.State == "down" {
				demoted = d.Since
				return nil
			}
		}
		return fmt.Errorf("m1 is not demoted")
	})
	time.Sleep(30 * time.Second)
	undisturbed, _ := shifts(sim, 10, broken, time.Second)
	during, after := shifts(sim, 10, demoted.Add(timeout), time.Second)
	t.Logf("demoted after %v; largest lateness of 9 neighbours: %v before, %v until the demotion, %v in the 30 s after", demoted.Sub(broken).Round(time.Millisecond), undisturbed, during, after)
	if during > undisturbed+timeout+50*time.Millisecond {
		t.Errorf("a neighbour moved by %v before the demotion, the time-out is %v", during-undisturbed, timeout)
	}
	if after > undisturbed+50*time.Millisecond {
		t.Errorf("a neighbour moved by %v after the demotion", after-undisturbed)
	}
}

// settled waits until every device was polled for 5 s.
func settled(t *testing.T, sim *simulator.Simulator, n int) {
	t.Helper()
	plant.Eventually(t, 30*time.Second, func() error {
		for i := range n {
			if sim.Device(fmt.Sprintf("m%d", i+1)).Slot() == 0 {
				return fmt.Errorf("m%d was not polled", i+1)
			}
		}
		return nil
	})
	time.Sleep(5 * time.Second)
}

// shifts tells how late the latest poll of any device but m1 was against its
// grid of one period, in the 8 s before at and from then on.
func shifts(sim *simulator.Simulator, n int, at time.Time, period time.Duration) (before, after time.Duration) {
	for i := 1; i < n; i++ {
		polls := sim.Device(fmt.Sprintf("m%d", i+1)).PollTimes()
		before = max(before, worst(offGrid(polls, at.Add(-8*time.Second), at, period)))
		after = max(after, worst(offGrid(polls, at, time.Now(), period)))
	}
	return before, after
}

// offGrid lists how far each poll between two times is behind the grid that
// starts at the middle of all polls' phases.
func offGrid(polls []time.Time, from, to time.Time, period time.Duration) []time.Duration {
	phases := make([]time.Duration, len(polls))
	for i, at := range polls {
		phases[i] = time.Duration(at.UnixNano() % int64(period))
	}
	sorted := slices.Sorted(slices.Values(phases))
	phase := sorted[len(sorted)/2]
	var off []time.Duration
	for i, at := range polls {
		if at.Before(from) || at.After(to) {
			continue
		}
		d := phases[i] - phase
		if d < -period/2 {
			d += period
		} else if d > period/2 {
			d -= period
		}
		off = append(off, d)
	}
	return off
}

// worst is the largest of the distances, and 0 for none.
func worst(off []time.Duration) time.Duration {
	if len(off) == 0 {
		return 0
	}
	return max(0, slices.Max(off))
}
