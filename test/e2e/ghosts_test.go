package e2e_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/simulator"
	"github.com/fieldloom/fieldloom/test/plant"
)

// A core that is killed at random moments around the start of its driver, ghostKills
// times, never leaves more than one driver process, and no device is polled by two.
func TestKilledStartsLeaveNoGhost(t *testing.T) {
	const devices = 2
	bins := plant.Build(t)
	sim := simulator.Start(t, simulator.ModbusFleet(devices, 100, simulator.Ports))
	k := &killedStarts{t: t, bins: bins, sim: sim, dir: t.TempDir(), devices: devices, random: rand.New(rand.NewPCG(7, ghostKills))}
	bins.WriteConfig(t, k.dir, "detach: true\n"+templates, fleetLinks(sim, devices, "50ms"))
	defer k.end()
	k.measure()
	for range ghostKills {
		k.round()
		if t.Failed() {
			break
		}
	}
	t.Logf("%d kills: %d while the driver had not begun, %d beside a driver; %d drivers were killed before; %d polls; killed within %v", ghostKills, k.without, k.beside, k.drivers, k.polls(), k.window.Round(time.Millisecond))
	g := bins.Start(t, k.dir)
	plant.Eventually(t, patience, func() error {
		_, err := g.Status()
		return err
	})
	waitPolls(t, sim, devices, 3)
	k.judge("with the last gateway")
	slots, _ := stored(t, sim, g, bins, devices)
	for device, seen := range slots {
		for slot, times := range seen {
			if times != 1 {
				t.Errorf("%s: slot %d is stored %d times", device, slot, times)
			}
		}
	}
	if len(slots) != devices {
		t.Errorf("samples of %d devices are stored", len(slots))
	}
}

// killedStarts is a plant whose core is killed again and again.
type killedStarts struct {
	t       *testing.T
	bins    plant.Binaries
	sim     *simulator.Simulator
	dir     string
	devices int
	random  *rand.Rand
	window  time.Duration // in which the cores are killed: twice what a driver takes until it runs

	without, beside, drivers int // cores killed before a driver ran, and after; drivers killed
}

// measure takes the time that a driver takes until it runs, on this machine as it is.
func (k *killedStarts) measure() {
	k.t.Helper()
	began := time.Now()
	core := k.start()
	plant.Eventually(k.t, patience, func() error {
		if len(k.running()) == 0 {
			return errors.New("no driver runs")
		}
		return nil
	})
	k.window = 2 * time.Since(began)
	_ = core.Process.Kill()
	_ = core.Wait()
}

func (k *killedStarts) start() *exec.Cmd {
	k.t.Helper()
	core := exec.Command(filepath.Join(string(k.bins), "fieldloom"), "run", "--config", k.dir)
	core.Stderr = io.Discard
	if err := core.Start(); err != nil {
		k.t.Fatal(err)
	}
	return core
}

// round kills what an earlier core has left, mostly, so that there is a start; starts a
// core, and kills it at a random moment.
func (k *killedStarts) round() {
	k.t.Helper()
	if k.random.IntN(4) > 0 {
		k.killDrivers()
	}
	core := k.start()
	<-time.After(time.Duration(k.random.Int64N(int64(k.window))))
	if k.random.IntN(8) == 0 {
		k.killDrivers() // and so a start by a core that has been up for a while
		<-time.After(time.Duration(k.random.Int64N(int64(k.window))))
	}
	if err := core.Process.Kill(); err != nil {
		k.t.Fatal(err)
	}
	_ = core.Wait()
	if k.judge("after a kill") == 0 {
		k.without++
	} else {
		k.beside++
	}
}

func (k *killedStarts) killDrivers() {
	for _, pid := range k.running() {
		if syscall.Kill(pid, syscall.SIGKILL) == nil {
			k.drivers++
		}
	}
}

// judge demands that there is one driver process at most, and that no device has two
// connections: the end of one whose process is dead may come late, of one that polls it
// does not come. It returns how many processes there are.
func (k *killedStarts) judge(when string) int {
	k.t.Helper()
	running := k.running()
	if len(running) > 1 {
		k.t.Errorf("%s: driver processes %v run side by side", when, running)
	}
	plant.Eventually(k.t, patience, func() error {
		for i := range k.devices {
			if open := k.sim.Server(fmt.Sprintf("m%d", i+1)).Counts().Open; open > 1 {
				return fmt.Errorf("%s: device m%d has %d connections", when, i+1, open)
			}
		}
		return nil
	})
	return len(running)
}

// running are the processes that execute the driver: not those which wait to be let run.
func (k *killedStarts) running() (list []int) {
	found, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		k.t.Fatal(err)
	}
	for _, path := range found {
		env, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(env, []byte(k.dir)) || !bytes.Contains(env, []byte("PLUGIN_UNIX_SOCKET_DIR=")) {
			continue
		}
		args, err := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		if err != nil || len(args) == 0 || bytes.Contains(args, []byte("confine")) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			list = append(list, pid)
		}
	}
	return list
}

func (k *killedStarts) polls() (n uint64) {
	for i := range k.devices {
		n += k.sim.Device(fmt.Sprintf("m%d", i+1)).Slot()
	}
	return n
}

// end stops what is left of a test that failed.
func (k *killedStarts) end() {
	for _, pid := range k.running() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// A core that is killed at any moment of an upgrade leaves two driver processes at most, of
// which the next core keeps one, and no device is polled by two.
func TestKilledUpgradesLeaveNoGhost(t *testing.T) {
	o := operate(t, 3, "detach: true\nprocesses: {modbus: {probation: 200ms}}\n")
	o.bins.Pack(t, plant.Package{Driver: "modbus", Version: "1.1.0"}, filepath.Join(o.g.Dir, "drivers"))
	o.do(0, "1.1.0", "driver", "list")
	k := &killedStarts{t: t, bins: o.bins, sim: o.sim, dir: o.g.Dir, devices: o.n, random: rand.New(rand.NewPCG(7, 7))}
	defer k.end()
	for i := range 8 {
		to := []string{"1.1.0", "1.0.0"}[i%2]
		upgrade := exec.Command(filepath.Join(string(o.bins), "fieldloom"), "driver", "upgrade", "modbus", to, "--config", o.g.Dir)
		if err := upgrade.Start(); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Duration(k.random.Int64N(int64(time.Second))))
		o.g.Kill()
		_ = upgrade.Wait()
		if n := len(k.running()); n > 2 {
			t.Errorf("killed in the upgrade to %s: %d driver processes run", to, n)
		}
		o.again()
		plant.Eventually(t, patience, func() error {
			d := o.driver()
			if running := k.running(); d.State != "active" || d.Upgrade != nil || len(running) != 1 || running[0] != d.PID {
				return fmt.Errorf("killed in the upgrade to %s: driver is %s with pid %d, processes %v, upgrade %v", to, d.State, d.PID, running, d.Upgrade)
			}
			return nil
		})
		waitPolls(t, o.sim, o.n, 2)
		k.judge("after an upgrade that was cut")
	}
	o.do(0, "has stopped", "stop", "--drivers")
	if running := k.running(); len(running) > 0 {
		t.Errorf("processes %v are left", running)
	}
}
