package e2e_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fieldloom/fieldloom/simulator"
	"github.com/fieldloom/fieldloom/test/plant"
)

// processesWith are the processes whose environment has a text.
func processesWith(t *testing.T, text string) (list []string) {
	t.Helper()
	environments, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range environments {
		if env, err := os.ReadFile(path); err == nil && bytes.Contains(env, []byte(text)) {
			list = append(list, filepath.Base(filepath.Dir(path)))
		}
	}
	return list
}

func awaitNone(t *testing.T, text string) {
	t.Helper()
	plant.Eventually(t, patience, func() error {
		if left := processesWith(t, text); len(left) > 0 {
			return fmt.Errorf("processes %v go on", left)
		}
		return nil
	})
}

// Without a gateway, `stop --drivers` drains and stops what one that was killed has left,
// with a configuration that is wrong by now too, and what they have read is stored.
func TestStopDriversWithoutAGateway(t *testing.T) {
	o := operate(t, 3, "detach: true\n")
	run := filepath.Join(o.g.Dir, "data")
	o.do(0, "has stopped", "stop")
	o.do(0, "1 of its driver processes went on, and have stopped", "stop", "--drivers")
	awaitNone(t, run)
	o.do(0, "0 of its driver processes went on", "stop", "--drivers")
	o.again()
	waitPolls(t, o.sim, o.n, 3)
	o.g.Kill()
	waitPolls(t, o.sim, o.n, 3)
	wrong := filepath.Join(o.g.Dir, "links", "wrong.yaml")
	if err := os.WriteFile(wrong, []byte("links: [\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o.do(0, "1 of its driver processes went on, and have stopped", "stop", "--drivers")
	awaitNone(t, run)
	if err := os.Remove(wrong); err != nil {
		t.Fatal(err)
	}
	o.again()
	o.eachOnce()
}

// Beside a gateway that runs, and where none ever has, nothing is stopped or made.
func TestStopDriversOfNoGateway(t *testing.T) {
	bins := plant.Build(t)
	dir := t.TempDir()
	bins.WriteConfig(t, dir, "", "links: {}\n")
	if code, said := fieldloom(t, bins, "stop", "--drivers", "--config", dir); code != 1 || !strings.Contains(said, "no gateway has run on the data directory") {
		t.Errorf("exit code %d: %s", code, said)
	}
	if _, err := os.Stat(filepath.Join(dir, "data")); err == nil {
		t.Error("a data directory was made")
	}
	o := operate(t, 1, "detach: true\n")
	if err := os.Remove(filepath.Join(o.g.Dir, "data", "fieldloom.sock")); err != nil {
		t.Fatal(err)
	}
	o.do(1, "another gateway runs on it", "stop", "--drivers")
	waitPolls(t, o.sim, o.n, 3)
	o.g.Kill()
	o.do(0, "1 of its driver processes", "stop", "--drivers")
}

// A driver that is tried ends when whoever tries it is killed, and when nobody reads its
// samples any more, also while there are none.
func TestATriedDriverIsNotLeftPolling(t *testing.T) {
	bins := plant.Build(t)
	sim := simulator.Start(t, simulator.ModbusFleet(1, 100, simulator.Ports))
	for name, tc := range map[string]struct {
		scan string
		end  func(cmd *exec.Cmd, out *os.File) error
	}{
		"killed":       {"100ms", func(cmd *exec.Cmd, _ *os.File) error { return cmd.Process.Kill() }},
		"reader gone":  {"100ms", func(_ *exec.Cmd, out *os.File) error { return out.Close() }},
		"quiet reader": {"1h", func(_ *exec.Cmd, out *os.File) error { return out.Close() }},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			links := filepath.Join(dir, "links.yaml")
			if err := os.WriteFile(links, []byte(templates+fleetLinks(sim, 1, tc.scan)), 0o600); err != nil {
				t.Fatal(err)
			}
			read, write, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(filepath.Join(string(bins), "fieldloom"), "driver", "try",
				filepath.Join(string(bins), "driver-modbus"), "--config", links, "--json")
			cmd.Stderr = os.Stderr
			cmd.Stdout, cmd.Env = write, append(os.Environ(), "TMPDIR="+dir)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if err := write.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := read.Read(make([]byte, 100)); err != nil { // the first sample
				t.Fatal(err)
			}
			if err := tc.end(cmd, read); err != nil {
				t.Error(err)
			}
			_ = cmd.Wait()
			awaitNone(t, "TMPDIR="+dir)
			_ = read.Close()
		})
	}
}
