package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/simulator"
	"github.com/fieldloom/fieldloom/test/plant"
)

const (
	// manyLinks to few devices are more than a process has descriptors for.
	manyLinks = 300
	fewFiles  = 200
)

func linksTo(sim *simulator.Simulator, n int, timeout string) string {
	var text strings.Builder
	text.WriteString("links:\n")
	for i := range n {
		fmt.Fprintf(&text, "  plc%d: {driver: modbus, url: \"tcp://%s\", timeout: %s, scan: {default: 500ms}, devices: {d: {points: {slot: {address: \"holding:0:uint32\"}}}}}\n",
			i+1, sim.Addr(fmt.Sprintf("m%d", i%4+1)), timeout)
	}
	return text.String()
}

// upAll reports which links are not up.
func upAll(s client.Status, n int) error {
	up := 0
	for i := range s.Links {
		if s.Links[i].State == "up" {
			up++
		}
	}
	if up != n {
		return fmt.Errorf("%d links of %d are up", up, n)
	}
	return nil
}

// Where a process may open fewer files than there are links, check says so and what to set
// before any link stays down; links that nobody bound to one process are shared by as many
// as have room for them.
func TestMoreLinksThanFiles(t *testing.T) {
	bins := plant.Build(t)
	sim := simulator.Start(t, simulator.ModbusFleet(4, 100, simulator.Ports))
	bound := t.TempDir()
	bins.WriteConfig(t, bound, "processes: {modbus: {instances: 1}}\n", linksTo(sim, manyLinks, "1s"))
	out, err := bins.WithFiles(fewFiles, "check", "--config", bound).Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"300 links in 1 processes", "200 are possible", "LimitNOFILE=364", "processes.modbus.instances to at least 3", "300 links, 300 devices"} {
		if !strings.Contains(string(out), part) {
			t.Errorf("check does not say %q:\n%s", part, out)
		}
	}
	dir := t.TempDir()
	bins.WriteConfig(t, dir, "", linksTo(sim, manyLinks, "1s"))
	g := bins.StartWithFiles(t, dir, fewFiles)
	plant.Eventually(t, patience, func() error {
		s, err := g.Status()
		if err != nil {
			return err
		}
		if s.Drivers[0].Instances != 3 || !strings.Contains(strings.Join(s.Warnings, "\n"), "300 links are shared by 3 processes") {
			return fmt.Errorf("%d instances, warnings %q", s.Drivers[0].Instances, s.Warnings)
		}
		return upAll(s, manyLinks)
	})
}
