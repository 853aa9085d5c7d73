//go:build load

// Package load_test holds the gateway against a thousand devices, with the
// simulator's witness as the judge.
package load_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/simulator"
	"github.com/fieldloom/fieldloom/test/plant"
)

func TestMain(m *testing.M) { os.Exit(plant.Run(m)) }

const (
	devices = 1000
	length  = 60 * time.Second
)

// Every poll of 1,000 Modbus devices is made in its time, and every poll that the
// devices served is in the spool exactly once.
func TestModbusThousandDevices(t *testing.T) {
	bins := plant.Build(t)
	sim := simulator.Start(t, simulator.ModbusFleet(devices, 102, simulator.Ports))
	var links strings.Builder
	links.WriteString("links:\n")
	for i := range devices {
		fmt.Fprintf(&links, "  plc%d: {driver: modbus, url: \"tcp://%s\", devices: {d: {template: fleet}}}\n",
			i+1, sim.Addr(fmt.Sprintf("m%d", i+1)))
	}
	dir := t.TempDir()
	bins.WriteConfig(t, dir, "templates:\n  fleet:\n    points:\n      slot: {address: \"holding:0:uint32\"}\n      reg[2..101]: {address: \"holding:{n}\"}\n", links.String())
	g := bins.Start(t, dir)
	plant.Eventually(t, 30*time.Second, func() error {
		for i := range devices {
			if sim.Device(fmt.Sprintf("m%d", i+1)).Slot() == 0 {
				return fmt.Errorf("device %d was not polled", i+1)
			}
		}
		return nil
	})
	begin := time.Now()
	time.Sleep(length + 2*time.Second)
	g.Stop()
	judgePolls(t, sim, begin.Add(time.Second))

	served := map[string]uint64{}
	for i := range devices {
		served[fmt.Sprintf("plc%d/d", i+1)] = sim.Device(fmt.Sprintf("m%d", i+1)).Slot()
	}
	sim.Close()
	again := bins.Start(t, dir)
	judgeStored(t, waitSamples(t, again, "*/*/slot"), served)
}

// judgePolls counts the polls in the minute from begin, and how late the latest was.
func judgePolls(t *testing.T, sim *simulator.Simulator, begin time.Time) {
	t.Helper()
	var worst time.Duration
	least, most := 1<<30, 0
	for i := range devices {
		name := fmt.Sprintf("m%d", i+1)
		var inside []time.Time
		for _, at := range sim.Device(name).PollTimes() {
			if !at.Before(begin) && at.Before(begin.Add(length)) {
				inside = append(inside, at)
			}
		}
		least, most = min(least, len(inside)), max(most, len(inside))
		if len(inside) < 59 || len(inside) > 61 {
			t.Errorf("%s: %d polls in %v", name, len(inside), length)
			continue
		}
		late := lateness(inside)
		worst = max(worst, late)
		if late > 100*time.Millisecond {
			t.Errorf("%s: a poll %v late", name, late)
		}
	}
	t.Logf("polls a device: %d to %d; latest poll: %v late", least, most, worst)
}

// lateness is the largest distance of a poll behind the grid of one second on
// which the earliest poll lies.
func lateness(polls []time.Time) time.Duration {
	var early, late time.Duration
	for i, at := range polls {
		off := at.Sub(polls[0]) - time.Duration(i)*time.Second
		early, late = min(early, off), max(late, off)
	}
	return late - early
}

func waitSamples(t *testing.T, g *plant.Gateway, pattern string) []plant.Sample {
	t.Helper()
	plant.Eventually(t, 30*time.Second, func() error {
		_, err := g.CLI("status", "--json")
		return err
	})
	return g.Stored(pattern)
}

func judgeStored(t *testing.T, stored []plant.Sample, served map[string]uint64) {
	t.Helper()
	slots, err := plant.Slots(stored)
	if err != nil {
		t.Fatal(err)
	}
	total, wrong := uint64(0), 0
	for device, n := range served {
		total += n
		if err := plant.EachOnce(slots[device], n); err != nil {
			wrong++
			t.Errorf("%s: %v", device, err)
		}
	}
	t.Logf("%d slots served by %d devices; each stored exactly once but for %d devices", total, len(served), wrong)
}
