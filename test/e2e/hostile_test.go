package e2e_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/simulator"
	"github.com/fieldloom/fieldloom/simulator/signal"
	"github.com/fieldloom/fieldloom/test/plant"
)

// hostile is one fault and what status says of a device that has it.
type hostile struct {
	name  string
	fault simulator.Fault
	codes []string // one of them is the cause's code
	alone bool     // it takes the whole server: there is no shared link with it
}

var hostiles = []hostile{
	{"silent", simulator.Fault{Kind: simulator.Silent}, []string{"timeout"}, false},
	{"slow", simulator.Fault{Kind: simulator.Slow, Delay: 700 * time.Millisecond}, []string{"timeout"}, false},
	{"drip", simulator.Fault{Kind: simulator.Drip, Delay: time.Second}, []string{"timeout"}, false},
	{"garbage", simulator.Fault{Kind: simulator.Garbage}, []string{"protocol"}, false},
	{"half", simulator.Fault{Kind: simulator.Half}, []string{"timeout"}, false},
	{"cut", simulator.Fault{Kind: simulator.Cut}, []string{"protocol"}, false},
	{"exception", simulator.Fault{Kind: simulator.Exception, Code: 4}, []string{"protocol"}, false},
	{"unit", simulator.Fault{Kind: simulator.Unit}, []string{"timeout", "protocol"}, false},
	{"transaction", simulator.Fault{Kind: simulator.Transaction}, []string{"timeout", "protocol"}, false},
	{"refused", simulator.Fault{Kind: simulator.Refused}, []string{"not-connected"}, true},
}

// victims are what the faults hit: `own` devices with a link each, and the second
// of three units on a shared link. Its neighbours and `calm` are hit by nothing.
type victims struct {
	config simulator.Config
	mark   map[string]string // LINK/DEVICE to the value of its constant
	device map[string]string // LINK/DEVICE to the simulated device
}

func newVictims() *victims {
	v := &victims{mark: map[string]string{}, device: map[string]string{}}
	for _, h := range hostiles {
		v.add("own-"+h.name, 1)
		if !h.alone {
			v.add("shared-"+h.name, 3)
		}
	}
	v.add("calm", 1)
	return v
}

func (v *victims) add(link string, units int) {
	server := simulator.ServerConfig{Name: link, Protocol: simulator.Modbus}
	for u := 1; u <= units; u++ {
		mark := len(v.mark) + 4001
		name := fmt.Sprintf("%s-u%d", link, u)
		server.Devices = append(server.Devices, simulator.DeviceConfig{Name: name, Unit: byte(u), Image: &simulator.Image{Points: []simulator.Point{
			{Name: "slot", Address: "holding:0", Type: "uint32", Signal: signal.Slot()},
			{Name: "mark", Address: "holding:2", Signal: signal.Constant(signal.Uint(uint64(mark)))},
		}}})
		v.mark[fmt.Sprintf("%s/u%d", link, u)] = fmt.Sprint(mark)
		v.device[fmt.Sprintf("%s/u%d", link, u)] = name
	}
	v.config.Servers = append(v.config.Servers, server)
}

func (v *victims) yaml(sim *simulator.Simulator) string {
	text := "links:\n"
	for _, s := range v.config.Servers {
		text += fmt.Sprintf("  %s: {driver: modbus, url: \"tcp://%s\", timeout: 200ms, scan: {default: 100ms}, devices: {\"u[1..%d]\": {unit: \"{n}\", template: v}}}\n",
			s.Name, sim.Addr(s.Name), len(s.Devices))
	}
	return text
}

const victimTemplate = `templates:
  v: {points: {slot: {address: "holding:0:uint32"}, mark: {address: "holding:2"}}}
`

// hit reports whether a fault is put on the device, by its LINK/DEVICE.
func hit(device string) bool {
	return strings.HasPrefix(device, "own-") || strings.HasPrefix(device, "shared-") && strings.HasSuffix(device, "/u2")
}

// spoils reports whether a fault leaves a shared connection of no use: it is closed and opened
// again, and what the neighbours are then told is a matter of the moment.
func spoils(path string) bool {
	link, _, _ := strings.Cut(path, "/")
	return slices.Contains([]string{"shared-cut", "shared-garbage", "shared-half", "shared-drip"}, link)
}

// delays reports whether a fault holds up the answers of the neighbours on the same connection,
// which the simulator gives in turn: they may be served too late.
func delays(path string) bool {
	return strings.HasPrefix(path, "shared-slow/") || strings.HasPrefix(path, "shared-drip/")
}

func (v *victims) fault(t *testing.T, sim *simulator.Simulator, on bool) {
	t.Helper()
	for _, h := range hostiles {
		if h.alone {
			server := sim.Server("own-" + h.name)
			if err := map[bool]func() error{true: func() error { return server.Fault(h.fault) }, false: server.Clear}[on](); err != nil {
				t.Fatal(err)
			}
			continue
		}
		for _, name := range []string{"own-" + h.name + "-u1", "shared-" + h.name + "-u2"} {
			if !on {
				sim.Device(name).Clear()
			} else if err := sim.Device(name).Fault(h.fault); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// grow waits until the devices that fit have served so many more polls.
func (v *victims) grow(t *testing.T, sim *simulator.Simulator, more uint64, fits func(device string) bool) {
	t.Helper()
	want := map[string]uint64{}
	for path, name := range v.device {
		if fits(path) {
			want[path] = sim.Device(name).Slot() + more
		}
	}
	plant.Eventually(t, patience, func() error {
		for path, n := range want {
			if have := sim.Device(v.device[path]).Slot(); have < n {
				return fmt.Errorf("%s served %d polls of %d", path, have, n)
			}
		}
		return nil
	})
}

// devices returns the status of all devices by LINK/DEVICE.
func devices(t *testing.T, g *plant.Gateway) (map[string]client.Device, error) {
	t.Helper()
	s, err := g.Status()
	all := map[string]client.Device{}
	for _, l := range s.Links {
		for _, d := range l.Devices {
			all[l.Name+"/"+d.Name] = d
		}
	}
	return all, err
}

// Devices that answer wrongly, in parts, late or not at all cost nobody else a
// poll, are never believed, and come back by themselves.
func TestHostileDevices(t *testing.T) {
	v := newVictims()
	bins := plant.Build(t)
	sim := simulator.Start(t, v.config)
	dir := t.TempDir()
	bins.WriteConfig(t, dir, victimTemplate, v.yaml(sim))
	g := bins.Start(t, dir)
	everything := func(string) bool { return true }
	v.grow(t, sim, 3, everything)

	v.fault(t, sim, true)
	v.judgeDown(t, g)
	v.grow(t, sim, 10, func(d string) bool { return !hit(d) && !delays(d) })
	v.judgeNeighbours(t, g)
	v.fault(t, sim, false)
	v.grow(t, sim, 4, everything)
	plant.Eventually(t, patience, func() error {
		all, err := devices(t, g)
		for path, d := range all {
			if d.State != "up" || d.Cause != nil {
				return fmt.Errorf("%s is %s with %v after the fault", path, d.State, d.Cause)
			}
		}
		return err
	})
	v.judgeStored(t, sim, g, bins)
}

// judgeDown waits until each device that is hit says so, with its cause.
func (v *victims) judgeDown(t *testing.T, g *plant.Gateway) {
	t.Helper()
	plant.Eventually(t, patience, func() error {
		all, err := devices(t, g)
		if err != nil {
			return err
		}
		for _, h := range hostiles {
			for _, path := range []string{"own-" + h.name + "/u1", "shared-" + h.name + "/u2"} {
				d, ok := all[path]
				if !ok {
					continue
				}
				if d.State == "up" || d.Cause == nil {
					return fmt.Errorf("%s is %s with cause %v", path, d.State, d.Cause)
				}
				// Where the stream had to be cut the shared link is opened again, and for that moment the cause is the link's.
				codes := h.codes
				if spoils(path) {
					codes = append(slices.Clip(codes), "not-connected")
				}
				if !slices.Contains(codes, d.Cause.Code) {
					return fmt.Errorf("%s is %s with cause %v, want one of %v", path, d.State, d.Cause, codes)
				}
			}
		}
		return nil
	})
}

// judgeNeighbours looks while the faults are there.
func (v *victims) judgeNeighbours(t *testing.T, g *plant.Gateway) {
	t.Helper()
	all, err := devices(t, g)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range slices.Sorted(maps.Keys(all)) {
		if d := all[path]; hit(path) {
			t.Logf("%s is %s: %v (%d polls, %d failures)", path, d.State, d.Cause, d.Polls, d.Failures)
		} else if d.State != "up" && !spoils(path) && !delays(path) {
			t.Errorf("%s is %s: %v: it has no fault", path, d.State, d.Cause)
		}
	}
}

// judgeStored holds all that is in the spool against what was served.
func (v *victims) judgeStored(t *testing.T, sim *simulator.Simulator, g *plant.Gateway, bins plant.Binaries) {
	t.Helper()
	g.Stop()
	sim.Close()
	again := bins.Start(t, g.Dir)
	plant.Eventually(t, patience, func() error { _, err := again.Status(); return err })
	slots, err := plant.Slots(again.Stored("*/*/slot"))
	if err != nil {
		t.Fatal(err)
	}
	for path, name := range v.device {
		served := sim.Device(name).Slot()
		if !hit(path) && !delays(path) {
			if err := plant.EachOnce(slots[path], served); err != nil {
				t.Errorf("%s: %v", path, err)
			}
			continue
		}
		given := served + uint64(len(sim.Device(name).Unserved()))
		for slot, times := range slots[path] {
			if slot == 0 || slot > given || times != 1 {
				t.Errorf("%s: slot %d is stored %d times, %d were given out", path, slot, times, given)
			}
		}
	}
	for _, s := range again.Stored("*/*/mark") {
		path := s.Link + "/" + s.Device
		if s.Quality == "good" && string(s.Value) != v.mark[path] {
			t.Errorf("%s: mark %s is stored as good, it is %s", path, s.Value, v.mark[path])
		}
	}
}
