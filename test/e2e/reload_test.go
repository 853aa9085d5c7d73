package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/simulator"
	"github.com/fieldloom/fieldloom/test/plant"
)

// reloaded is a gateway whose links file a test writes again and again.
type reloaded struct {
	t   *testing.T
	sim *simulator.Simulator
	g   *plant.Gateway
}

// link is the line of one link to simulated device m<n>.
func (r *reloaded) link(n int, name, devices string) string {
	return fmt.Sprintf("  %s: {driver: modbus, url: \"tcp://%s\", scan: {default: 100ms}, devices: {%s}}\n", name, r.sim.Addr(fmt.Sprintf("m%d", n)), devices)
}

// write replaces the links file in one step, as an editor does.
func (r *reloaded) write(links ...string) {
	r.t.Helper()
	path := filepath.Join(r.g.Dir, "links", "links.yaml")
	if err := os.WriteFile(path+".new", []byte("links:\n"+strings.Join(links, "")), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		r.t.Fatal(err)
	}
}

func (r *reloaded) eventually(holds func(s client.Status) error) client.Status {
	r.t.Helper()
	var last client.Status
	plant.Eventually(r.t, patience, func() error {
		s, err := r.g.Status()
		if err != nil {
			return err
		}
		last = s
		return holds(s)
	})
	return last
}

// polls waits until the simulated device has served so many more.
func (r *reloaded) polls(device string, more uint64) {
	r.t.Helper()
	want := r.sim.Device(device).Slot() + more
	plant.Eventually(r.t, patience, func() error {
		if have := r.sim.Device(device).Slot(); have < want {
			return fmt.Errorf("%s served %d of %d", device, have, want)
		}
		return nil
	})
}

func revision(n uint64) func(client.Status) error {
	return func(s client.Status) error {
		if s.Config.Revision != n || len(s.Config.Errors) > 0 {
			return fmt.Errorf("revision %d with errors %v, want %d", s.Config.Revision, s.Config.Errors, n)
		}
		return nil
	}
}

// A changed file restarts what changed and nothing else; a wrong one changes
// nothing; what a removed device has sent stays readable.
func TestReload(t *testing.T) {
	bins := plant.Build(t)
	sim := simulator.Start(t, simulator.ModbusFleet(4, 100, simulator.Ports))
	r := &reloaded{t: t, sim: sim}
	const one = `d: {template: fleet}`
	stays, changes, goes := r.link(1, "stays", one), r.link(2, "changes", one), r.link(3, "goes", one)
	dir := t.TempDir()
	bins.WriteConfig(t, dir, templates, "links:\n"+stays+changes+goes)
	r.g = bins.Start(t, dir)
	r.eventually(revision(1))
	for _, d := range []string{"m1", "m2", "m3"} {
		r.polls(d, 3)
	}

	comes := r.link(4, "comes", one)
	r.write(stays, changes, goes, comes)
	r.eventually(revision(2))
	r.polls("m4", 3)

	r.write(stays, changes, comes)
	r.eventually(revision(3))
	gone := sim.Device("m3").Slot()
	r.polls("m1", 5)
	if now := sim.Device("m3").Slot(); now != gone {
		t.Errorf("the removed device was polled %d times more", now-gone)
	}

	r.write(stays, strings.Replace(changes, "100ms", "50ms", 1), comes)
	r.eventually(revision(4))
	r.polls("m2", 3)

	r.refuses(stays, comes)
	r.eventually(revision(4))
	judgeReloaded(t, r, bins)
}

// refuses writes a wrong file, looks that nothing changes, and rights it: now with
// a signal as well.
func (r *reloaded) refuses(stays, comes string) {
	r.t.Helper()
	right, err := os.ReadFile(filepath.Join(r.g.Dir, "links", "links.yaml"))
	if err != nil {
		r.t.Fatal(err)
	}
	r.write(stays, strings.Replace(comes, "driver: modbus", "driver: modbus, colour: red", 1))
	s := r.eventually(func(s client.Status) error {
		if len(s.Config.Errors) == 0 {
			return fmt.Errorf("the wrong file shows no error")
		}
		return nil
	})
	if text := strings.Join(s.Config.Errors, "\n"); !strings.Contains(text, "links.yaml:3:") || !strings.Contains(text, "colour") {
		r.t.Errorf("the refusal says %q", text)
	}
	if s.Config.Revision != 4 || len(s.Links) != 3 {
		r.t.Errorf("a wrong file: revision %d with %d links", s.Config.Revision, len(s.Links))
	}
	for _, d := range []string{"m1", "m2", "m4"} {
		r.polls(d, 3)
	}
	if err := os.WriteFile(filepath.Join(r.g.Dir, "links", "links.yaml"), right, 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := syscall.Kill(r.g.PID(), syscall.SIGHUP); err != nil {
		r.t.Fatal(err)
	}
}

// judgeReloaded holds the spool against the witness, and the links against one opening.
func judgeReloaded(t *testing.T, r *reloaded, bins plant.Binaries) {
	t.Helper()
	s, err := r.g.Status()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range s.Links {
		if l.Name != "changes" && l.Opens != 1 {
			t.Errorf("%s was opened %d times", l.Name, l.Opens)
		}
		if l.State != "up" {
			t.Errorf("%s is %s: %v", l.Name, l.State, l.Cause)
		}
	}
	if s.Drivers[0].Restarts != 0 || s.Drivers[0].Gaps != 0 {
		t.Errorf("the driver has %d restarts and %d gaps", s.Drivers[0].Restarts, s.Drivers[0].Gaps)
	}
	r.g.Stop()
	r.sim.Close()
	again := bins.Start(t, r.g.Dir)
	plant.Eventually(t, patience, func() error { _, err := again.Status(); return err })
	slots, err := plant.Slots(again.Stored("*/*/slot"))
	if err != nil {
		t.Fatal(err)
	}
	for device, name := range map[string]string{"stays/d": "m1", "changes/d": "m2", "goes/d": "m3", "comes/d": "m4"} {
		if err := plant.EachOnce(slots[device], r.sim.Device(name).Slot()); err != nil {
			t.Errorf("%s: %v", device, err)
		}
	}
}
