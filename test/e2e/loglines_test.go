package e2e_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/fieldloom/fieldloom/simulator"
	"github.com/fieldloom/fieldloom/simulator/signal"
	"github.com/fieldloom/fieldloom/test/plant"
)

// awaitLog waits until the gateway's log has a text.
func awaitLog(t *testing.T, g *plant.Gateway, text string) {
	t.Helper()
	plant.Eventually(t, patience, func() error {
		if !strings.Contains(g.Log(), text) {
			return fmt.Errorf("%q does not come in the log", text)
		}
		return nil
	})
}

// many is a gateway over one link with so many units.
func many(t *testing.T, n int) (*simulator.Simulator, *plant.Gateway, plant.Binaries) {
	t.Helper()
	bins := plant.Build(t)
	server := simulator.ServerConfig{Name: "plc", Protocol: simulator.Modbus}
	var devices strings.Builder
	for i := 1; i <= n; i++ {
		server.Devices = append(server.Devices, simulator.DeviceConfig{Name: fmt.Sprintf("m%d", i), Unit: byte(i),
			Image: &simulator.Image{Points: []simulator.Point{
				{Name: "slot", Address: "holding:0", Type: "uint32", Signal: signal.Slot()}, {Name: "level", Address: "holding:2"}}}})
		fmt.Fprintf(&devices, "      m%d: {unit: %d, points: {slot: {address: \"holding:0:uint32\"}, level: {address: \"holding:2\"}}}\n", i, i)
	}
	sim := simulator.Start(t, simulator.Config{Servers: []simulator.ServerConfig{server}})
	dir := t.TempDir()
	bins.WriteConfig(t, dir, "", fmt.Sprintf("links:\n  plc:\n    driver: modbus\n    url: \"tcp://%s\"\n    scan: {default: 200ms}\n    devices:\n%s",
		sim.Addr("plc"), devices.String()))
	g := bins.Start(t, dir)
	waitPolls(t, sim, 1, 3)
	return sim, g, bins
}

// A link of 50 devices that goes down and comes back is one line each in the gateway's log,
// whatever is tried meanwhile.
func TestLinkThatIsDownIsOneLineInTheLog(t *testing.T) {
	sim, g, _ := many(t, 50)
	before := len(g.Log())
	if err := sim.Server("plc").Fault(simulator.Fault{Kind: simulator.Refused}); err != nil {
		t.Fatal(err)
	}
	awaitLog(t, g, "link is down")
	if err := sim.Server("plc").Clear(); err != nil {
		t.Fatal(err)
	}
	awaitLog(t, g, "link is up again")
	waitPolls(t, sim, 1, 30) // time for what should not come
	lines := regexp.MustCompile(`(?m)^.*(level=WARN|level=ERROR|link is|device).*$`).FindAllString(g.Log()[before:], -1)
	if len(lines) != 2 || !strings.Contains(lines[0], "devices=50") || !strings.Contains(lines[0], "attempts=") ||
		!strings.Contains(lines[1], "for=") {
		t.Errorf("%d lines:\n%s", len(lines), strings.Join(lines, "\n"))
	}
}

// The level debug of a driver shows bytes and values, and the level info nothing of them.
func TestDriverAtLevelDebugShowsBytesAndValues(t *testing.T) {
	_, g, bins := many(t, 1)
	if strings.Contains(g.Log(), "bytes=") {
		t.Errorf("at level info there are bytes in the log")
	}
	if code, said := fieldloom(t, bins, "driver", "level", "modbus", "debug", "--config", g.Dir); code != 0 {
		t.Fatal(said)
	}
	awaitLog(t, g, "0006010300000003") // a request, after its transaction id
	awaitLog(t, g, "000901030600")     // an answer
	awaitLog(t, g, "level=0")          // a value
}
