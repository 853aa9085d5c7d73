package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
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
    timeout: 250ms
    scan: {default: 200ms}
    devices: {m: {unit: 2, points: {v: {address: "holding:2:float32:cdab"}}}}
`, sim.Addr("line")))
	g := bins.Start(t, dir)
	plant.Eventually(t, patience, func() error {
		_, err := g.CLI("read", "line/m/v")
		return err
	})
	before := sim.Device("u2").Counts().Requests

	out, err := g.CLI("discover", "line", "--within", "1-20,95-105,240-247", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	for n, line := range lines {
		var d client.Discovery
		if err := json.Unmarshal(line, &d); err != nil || d.Done != n+1 || d.Of != 39 {
			t.Fatalf("line %d: %s, %v", n, line, err)
		}
		if d.Found != nil {
			found = append(found, d.Found.Address+": "+d.Found.Name)
		}
	}
	if len(lines) != 39 || len(found) != len(there) || !strings.HasPrefix(found[4], "unit 247: Fieldloom simulator") {
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
		"explain line/m/v":         `holding:2 is 80 00 43 66`,
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
	// Another may look then, and only at what it names.
	asked := 0
	plant.Eventually(t, patience, func() error {
		asked = 0
		return api.Discover(t.Context(), client.DiscoverOptions{Link: "line", Within: "17,99", Timeout: 20 * time.Millisecond}, func(client.Discovery) error {
			asked++
			return nil
		})
	})
	stray := sim.Server("line").Counts().Stray
	if _, err := g.CLI("discover", "line", "--within", "200-209"); err != nil {
		t.Error(err)
	}
	if more := sim.Server("line").Counts().Stray - stray; asked != 2 || more != 10 {
		t.Errorf("%d candidates, and %d requests to 10 that are not there: the one given up goes on", asked, more)
	}
}

// Hosts are looked at by a driver of their own, without a gateway that runs.
func TestDiscoverHosts(t *testing.T) {
	t.Parallel()
	sim := simulator.Start(t, simulator.Config{Servers: []simulator.ServerConfig{
		{Name: "plc", Protocol: simulator.Modbus, Devices: []simulator.DeviceConfig{{Name: "u1", Unit: 1, Image: &simulator.Image{Ranges: []string{"holding:0-9"}}}}},
	}})
	_, port, err := net.SplitHostPort(sim.Addr("plc"))
	if err != nil {
		t.Fatal(err)
	}
	bins, dir := plant.Build(t), t.TempDir()
	discover := exec.CommandContext(t.Context(), filepath.Join(string(bins), "fieldloom"), "discover", "--driver", "modbus", "--port", port,
		"--hosts", "127.0.0.1,127.0.0.9", "--config", dir, "--json")
	discover.Env = append(os.Environ(), "TMPDIR="+dir)
	var errs bytes.Buffer
	discover.Stderr = &errs
	out, err := discover.Output()
	if err != nil || !bytes.Contains(out, []byte(`"address":"tcp://127.0.0.1:`+port+`","name":"Fieldloom simulator`)) || bytes.Count(out, []byte("\n")) != 2 ||
		bytes.Count(out, []byte(`"found"`)) != 1 {
		t.Errorf("%v\n%s%s", err, out, &errs)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
