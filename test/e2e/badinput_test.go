package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fieldloom/fieldloom/simulator"
	"github.com/fieldloom/fieldloom/simulator/signal"
	"github.com/fieldloom/fieldloom/test/plant"
)

// fieldloom runs a command line and returns its exit code and what it said.
func fieldloom(t *testing.T, bins plant.Binaries, args ...string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join(string(bins), "fieldloom"), args...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if exit != nil {
		return exit.ExitCode(), string(out)
	}
	return 0, string(out)
}

// clear says what is wrong with an answer that should be a short error with a text in it.
func clear(code, want int, said, text string) error {
	switch {
	case code != want:
		return fmt.Errorf("exit code %d, want %d: %s", code, want, said)
	case !strings.Contains(said, text):
		return fmt.Errorf("it says %q, want %q", said, text)
	case strings.Contains(said, "goroutine "):
		return fmt.Errorf("it crashed: %s", said)
	case strings.Count(said, "\n") > 5:
		return fmt.Errorf("it says %d lines: %s", strings.Count(said, "\n"), said)
	}
	return nil
}

// abused is a gateway over one device with a slot, a register and a set point.
func abused(t *testing.T) (*simulator.Simulator, *plant.Gateway, plant.Binaries) {
	t.Helper()
	bins := plant.Build(t)
	sim := simulator.Start(t, simulator.Config{Servers: []simulator.ServerConfig{{Name: "m1", Protocol: simulator.Modbus,
		Devices: []simulator.DeviceConfig{{Name: "m1", Unit: 1, Image: &simulator.Image{Points: []simulator.Point{
			{Name: "slot", Address: "holding:0", Type: "uint32", Signal: signal.Slot()},
			{Name: "set", Address: "holding:2", Writable: true},
			{Name: "fixed", Address: "holding:3"},
		}}}}}}})
	dir := t.TempDir()
	bins.WriteConfig(t, dir, "", fmt.Sprintf(`links:
  plc1:
    driver: modbus
    url: "tcp://%s"
    scan: {default: 100ms}
    devices:
      d:
        points:
          slot: {address: "holding:0:uint32"}
          set: {address: "holding:2", access: rw}
          level: {address: "holding:2", access: rw, min: 0, max: 80}
          far: {address: "holding:900", access: rw}
`, sim.Addr("m1")))
	g := bins.Start(t, dir)
	waitPolls(t, sim, 1, 3)
	return sim, g, bins
}

// Whatever is asked of a gateway that cannot be is one clear error, and it goes on polling.
func TestAbuse(t *testing.T) {
	sim, g, bins := abused(t)
	for _, c := range []struct {
		args []string
		code int
		text string
	}{
		{[]string{"read", "plc9/d/slot"}, 1, "no link plc9"},
		{[]string{"read", "plc1/e/slot"}, 1, "no device e"},
		{[]string{"read", "plc1/d/nothing"}, 1, "no point nothing"},
		{[]string{"read", "plc1/d[/slot"}, 2, "a bracket or a backslash is not closed"},
		{[]string{"read", "plc1/d/far"}, 1, "illegal data address"},
		{[]string{"read", ""}, 1, "LINK/DEVICE/POINT"},
		{[]string{"read", "plc1/d/" + strings.Repeat("x", 100_000)}, 1, "no point"},
		{[]string{"write", "plc1/d/slot", "1"}, 1, "read-only"},
		{[]string{"write", "plc1/d/set", "yes"}, 1, "plc1/d/set"},
		{[]string{"write", "plc1/d/set", "65536"}, 1, "plc1/d/set"},
		{[]string{"write", "plc1/d/set", "-1"}, 1, "plc1/d/set"},
		{[]string{"write", "plc1/d/set", "1.5"}, 1, "plc1/d/set"},
		{[]string{"write", "plc1/d/set", "1e300"}, 1, "plc1/d/set"},
		{[]string{"write", "plc1/d/set", strings.Repeat("9", 1000)}, 1, "plc1/d/set"},
		{[]string{"write", "plc1/d/level", "80.5"}, 1, "maximum of 80"},
		{[]string{"write", "plc1/d/level", "NaN"}, 1, "number"},
		{[]string{"write", "plc1/d/far", "1"}, 1, "illegal data address"},
		{[]string{"write", "plc1/d/*", "1"}, 1, "a pattern is only for reading"},
		{[]string{"watch", "plc1/d[/x", "--for", "1s"}, 2, "a bracket or a backslash is not closed"},
		{[]string{"run"}, 1, "another gateway runs on it"},
	} {
		code, said := fieldloom(t, bins, append(c.args, "--config", g.Dir)...)
		if err := clear(code, c.code, strings.ReplaceAll(said, strings.Repeat("x", 100_000), "x"), c.text); err != nil {
			t.Errorf("%.60s: %v", c.args, err)
		}
	}
	if n := len(sim.Device("m1").Writes()); n != 0 {
		t.Errorf("the device executed %d writes, all were wrong", n)
	}
	abuseSocket(t, filepath.Join(g.Dir, "data", "fieldloom.sock"))
	waitPolls(t, sim, 1, 3)
	if s, err := g.Status(); err != nil || s.PID != g.PID() || s.Drivers[0].Restarts != 0 || s.Links[0].Opens != 1 {
		t.Errorf("after the abuse: %+v, %v", s, err)
	}
}

// abuseSocket sends what no client of ours would.
func abuseSocket(t *testing.T, socket string) {
	t.Helper()
	dial := func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", socket) }
	c := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}, Timeout: patience}
	for _, r := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/v1/nothing", "", 404},
		{"GET", "/v1/../../etc/passwd", "", 404},
		{"DELETE", "/v1/status", "", 405},
		{"POST", "/v1/read", "", 400},
		{"POST", "/v1/read", "{", 400},
		{"POST", "/v1/read", `{"points":"plc1/d/slot"}`, 422},
		{"POST", "/v1/read", `{"points":[]}`, 422},
		{"POST", "/v1/read", `{"points":null}`, 422},
		{"POST", "/v1/read", `{"points":["` + strings.Repeat("a", 1<<20) + `"]}`, 413},
		{"POST", "/v1/read", strings.Repeat("[", 20_000), 400},
		{"POST", "/v1/write", `{"point":"plc1/d/set","value":{"a":1}}`, 422},
		{"POST", "/v1/write", `{"point":"plc1/d/set","value":null}`, 422},
		{"POST", "/v1/write", `{"point":"plc1/d/set"}`, 422},
		{"POST", "/v1/write", `{"point":7,"value":1}`, 422},
		{"GET", "/v1/samples?since=yesterday", "", 422},
		{"GET", "/v1/samples?for=-1s", "", 400},
		{"GET", "/v1/points?pattern=a[", "", 400},
	} {
		req, err := http.NewRequestWithContext(t.Context(), r.method, "http://fieldloom"+r.path, strings.NewReader(r.body))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := c.Do(req)
		if err != nil {
			// Who sends too much may find the connection closed before the answer is read.
			if r.status != http.StatusRequestEntityTooLarge {
				t.Errorf("%s %s %.40s: %v", r.method, r.path, r.body, err)
			}
			continue
		}
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<16))
		answer.Body.Close()
		if answer.StatusCode != r.status || len(text) >= 1<<16 {
			t.Errorf("%s %s %.40s: %d %.200s, want %d", r.method, r.path, r.body, answer.StatusCode, text, r.status)
		}
	}
	for _, raw := range []string{"\x00\x01\x02\xff", "GET / HTTP/9.9\r\n\r\n", "POST /v1/read HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
		"GET /" + strings.Repeat("a", 3<<20) + " HTTP/1.1\r\n\r\n", "POST /v1/write HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{"} {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatalf("the API does not answer any more: %v", err)
		}
		_, _ = conn.Write([]byte(raw)) // it may be closed in the middle: that is an answer
		conn.Close()
	}
}

// A place where a gateway cannot run is one clear error at the start.
func TestCannotStart(t *testing.T) {
	bins := plant.Build(t)
	const link = "links:\n  a: {driver: modbus, url: \"tcp://127.0.0.1:9\", devices: {d: {points: {x: {address: \"holding:0\"}}}}}\n"
	script := func(text string, mode os.FileMode) func(t *testing.T, dir string) string {
		return func(t *testing.T, dir string) string {
			if err := os.MkdirAll(filepath.Join(dir, "drv"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "drv", "driver-modbus"), []byte(text), mode); err != nil {
				t.Fatal(err)
			}
			return "drivers: drv\nunsigned: allow-dev\n"
		}
	}
	plain := func(main string) func(*testing.T, string) string {
		return func(*testing.T, string) string { return main }
	}
	drivers := fmt.Sprintf("drivers: %q\n", filepath.Join(string(bins), "drivers"))
	for _, c := range []struct {
		name  string
		words []string // of check and of run, where they do not end at the start
		main  func(t *testing.T, dir string) string
		code  int
		text  string
	}{
		{"no drivers directory", []string{"check"}, plain("drivers: nowhere\n"), 2, "nowhere"},
		{"a driver without execute right", []string{"check"}, script("#!/bin/sh\n", 0o600), 2, "check its mode"},
		{"a driver that exits", []string{"check"}, script("#!/bin/sh\necho no licence >&2\nexit 3\n", 0o700), 2, "no licence"},
		{"a driver that prints nonsense", []string{"check"}, script("#!/bin/sh\necho hello\nsleep 60\n", 0o700), 2, "hello"},
		{"a driver that is no program", []string{"check"}, script("\x00\x01\x02", 0o700), 2, "neither a program nor a script"},
		{"a data directory that is a file", []string{"run"}, plain(drivers + "data: fieldloom.yaml\n"), 1, "data directory"},
		{"a data directory in a place that refuses", []string{"run"}, plain(drivers + "data: /proc/fieldloom\n"), 1, "/proc/fieldloom"},
		{"a socket path too long", []string{"check", "run"}, plain(drivers + "socket: /tmp/" + strings.Repeat("s", 200) + "\n"), 2, "fieldloom.yaml:2:"},
		{"a socket in no directory", []string{"run"}, plain(drivers + "socket: nowhere/s\n"), 1, "nowhere/s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			bins.WriteConfig(t, dir, "", link)
			if err := os.WriteFile(filepath.Join(dir, "fieldloom.yaml"), []byte(c.main(t, dir)), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, word := range c.words {
				code, said := fieldloom(t, bins, word, "--config", dir)
				if word == "run" {
					said = withoutLog(said)
				}
				if err := clear(code, c.code, said, c.text); err != nil {
					t.Errorf("%s: %v", word, err)
				}
			}
		})
	}
}

// withoutLog leaves out the lines of the log.
func withoutLog(said string) string {
	var kept bytes.Buffer
	for line := range strings.Lines(said) {
		if !strings.HasPrefix(line, "time=") {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

// A driver that hangs before its handshake is told, and the others run.
func TestDriverThatHangs(t *testing.T) {
	bins := plant.Build(t)
	sim := simulator.Start(t, simulator.ModbusFleet(1, 100, simulator.Ports))
	dir := t.TempDir()
	bins.WriteConfig(t, dir, templates, fleetLinks(sim, 1, "100ms")+"  hung: {driver: hung, devices: {d: {points: {x: {address: a}}}}}\n")
	drv := filepath.Join(dir, "drv")
	if err := os.Mkdir(drv, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(bins.Executables(), "driver-modbus"), filepath.Join(drv, "driver-modbus")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(drv, "driver-hung"), []byte("#!/bin/sh\nexec sleep 600\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "fieldloom.yaml"), []byte("drivers: drv\nunsigned: allow-dev\ndetach: false\n"+templates), 0o600); err != nil {
		t.Fatal(err)
	}
	g := bins.Start(t, dir)
	waitPolls(t, sim, 1, 3)
	plant.Eventually(t, patience, func() error {
		d, err := g.Driver("hung")
		if err == nil && (d.State == "active" || !strings.Contains(d.Cause, "it was not ready in time")) {
			return fmt.Errorf("it is %s: %s", d.State, d.Cause)
		}
		return err
	})
}
