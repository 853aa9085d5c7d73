package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/simulator"
	"github.com/fieldloom/fieldloom/simulator/signal"
	"github.com/fieldloom/fieldloom/test/plant"
)

// Units that nobody has configured are found on a line, beside the polls of those that are; what
// they are, and every reading of an address, is shown.
func TestExplore(t *testing.T) {
	t.Parallel()
	image := &simulator.Image{
		Ranges: []string{"holding:0-9"},
		Points: []simulator.Point{{Name: "v", Address: "holding:2", Type: "float32", Order: "cdab", Signal: signal.Constant(signal.Float(230.5))}},
	}
	there := []byte{1, 2, 17, 100, 247}
	c := simulator.ServerConfig{Name: "line", Protocol: simulator.Modbus, Framing: "rtu"}
	for _, unit := range there {
		c.Devices = append(c.Devices, simulator.DeviceConfig{Name: fmt.Sprintf("u%d", unit), Unit: unit, Image: image})
	}
	sim := simulator.Start(t, simulator.Config{Servers: []simulator.ServerConfig{c}})
	bins, dir := plant.Build(t), t.TempDir()
	bins.WriteConfig(t, dir, "gateway: explorer\n", fmt.Sprintf(`links:
  line:
    driver: modbus
    url: tcp://%s
    framing: rtu
    timeout: 40ms
    scan: {default: 200ms}
    devices: {m: {unit: 2, points: {v: {address: "holding:2:float32:cdab"}}}}
`, sim.Addr("line")))
	g := bins.Start(t, dir)
	plant.Eventually(t, patience, func() error {
		_, err := g.CLI("read", "line/m/v")
		return err
	})
	before := sim.Device("u2").Counts().Requests

	out, err := g.CLI("discover", "line", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	for n, line := range lines {
		var d client.Discovery
		if err := json.Unmarshal(line, &d); err != nil || d.Done != n+1 || d.Of != 247 {
			t.Fatalf("line %d: %s, %v", n, line, err)
		}
		if d.Found != nil {
			found = append(found, d.Found.Address+": "+d.Found.Name)
		}
	}
	if len(lines) != 247 || len(found) != len(there) || !strings.HasPrefix(found[4], "unit 247: Fieldloom simulator") {
		t.Errorf("%d candidates, found %q", len(lines), found)
	}
	if polls := sim.Device("u2").Counts().Requests - before; polls < 10 {
		t.Errorf("%d polls were made while the line was looked over", polls)
	}
	for _, s := range g.Stored("line/m/v") {
		if s.Quality != "good" {
			t.Errorf("a poll beside it is %s: %s", s.Quality, s.Fault)
		}
	}

	for words, want := range map[string]string{
		"browse line/m":            "VendorName.*Fieldloom",
		"explain line/m/holding:2": `\*.*holding:2:float32:cdab.*230.5`,
		"explain line/m/v":         `holding:2.*raw`,
	} {
		out, err := g.CLI(strings.Fields(words)...)
		if err != nil || !regexp.MustCompile(want).Match(out) {
			t.Errorf("%s: %v\n%s", words, err, out)
		}
	}
	for words, want := range map[string]string{
		"explain line/m/holding:x":    "is not a number",
		"explain line/m/holding:5000": "illegal data address",
	} {
		if _, err := g.CLI(strings.Fields(words)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", words, err, want)
		}
	}

	// Who goes ends it: the gateway asks no further.
	api := client.New(filepath.Join(dir, "data", "fieldloom.sock"))
	defer api.Close()
	ctx, cancel := context.WithCancel(t.Context())
	if err := api.Discover(ctx, client.DiscoverOptions{Link: "line"}, func(d client.Discovery) error {
		if d.Done == 5 {
			cancel()
		}
		return nil
	}); err == nil {
		t.Error("it went on to its end")
	}
	time.Sleep(time.Second)
	stray := sim.Server("line").Counts().Stray
	time.Sleep(time.Second)
	if more := sim.Server("line").Counts().Stray - stray; more > 0 {
		t.Errorf("%d candidates were asked after the caller had gone", more)
	}
}
