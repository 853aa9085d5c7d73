package modbus_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/drivers/modbus"
	"github.com/fieldloom/fieldloom/simulator"
	"github.com/fieldloom/fieldloom/simulator/signal"
)

// forms are the ways in which a simulated plant is reached.
var forms = []struct {
	name string
	sim  simulator.ServerConfig
	link string // more settings
	long int    // polls under each fault: from the second failure on a block is held back for a second
}{
	{"mbap over tcp", simulator.ServerConfig{}, ``, 3},
	{"mbap over tls", simulator.ServerConfig{Over: "tls"}, ``, 1},
	{"mbap over udp", simulator.ServerConfig{Over: "udp"}, ``, 1},
	{"rtu over tcp", simulator.ServerConfig{Framing: "rtu"}, `,"framing":"rtu"`, 1},
	{"rtu over udp", simulator.ServerConfig{Over: "udp", Framing: "rtu"}, `,"framing":"rtu"`, 1},
	{"ascii over tcp", simulator.ServerConfig{Framing: "ascii"}, `,"framing":"ascii"`, 1},
	{"rtu on a tty", simulator.ServerConfig{Over: "tty"}, `,"baud":115200`, 3},
	{"ascii on a tty", simulator.ServerConfig{Over: "tty", Framing: "ascii"}, `,"baud":115200,"framing":"ascii"`, 1},
}

// plantOf starts two units behind one line, and returns a link to them.
func plantOf(t *testing.T, c simulator.ServerConfig, more string, timeout time.Duration) (*simulator.Simulator, driver.Link) {
	t.Helper()
	image := func(base int) *simulator.Image {
		i := &simulator.Image{Ranges: []string{"holding:0-399"}}
		for n := range 3 {
			i.Points = append(i.Points, simulator.Point{Name: fmt.Sprintf("p%d", n), Address: fmt.Sprintf("holding:%d", 100*n), Type: "uint32", Signal: signal.Constant(signal.Uint(uint64(base + n)))})
		}
		return i
	}
	c.Name, c.Protocol = "line", simulator.Modbus
	c.Devices = []simulator.DeviceConfig{{Name: "bad", Unit: 1, Image: image(7_000_000)}, {Name: "well", Unit: 2, Image: image(9_000_000)}}
	sim := simulator.Start(t, simulator.Config{Servers: []simulator.ServerConfig{c}})
	url := sim.Addr("line")
	switch {
	case c.Over == "tls":
		ca := filepath.Join(t.TempDir(), "ca.pem")
		if err := os.WriteFile(ca, sim.Server("line").Authority(), 0o600); err != nil {
			t.Fatal(err)
		}
		url, more = "tls://"+url, `,"tls":{"ca":"`+ca+`"}`
	case c.Over == "udp":
		url = "udp://" + url
	case c.Over != "tty":
		url = "tcp://" + url
	}
	link, err := modbus.New().Open(t.Context(), driver.LinkConfig{Timeout: timeout, Settings: json.RawMessage(`{"url":"` + url + `"` + more + `}`)}, driver.Env{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = link.Close(t.Context()) })
	return sim, link
}

// A polledUnit is a unit with its three blocks.
type polledUnit struct {
	reader driver.Reader
	points []driver.Point
	base   uint64
}

func unitOf(t *testing.T, link driver.Link, unit int, base uint64) *polledUnit {
	t.Helper()
	u := &polledUnit{base: base}
	for n := range 3 {
		u.points = append(u.points, driver.Point{Index: n, Name: fmt.Sprintf("p%d", n), Address: fmt.Sprintf("holding:%d:uint32", 100*n)})
	}
	d, err := link.Device(t.Context(), driver.DeviceConfig{Name: fmt.Sprint(unit), Points: u.points, Settings: json.RawMessage(fmt.Sprintf(`{"unit":%d}`, unit))})
	if err != nil {
		t.Fatal(err)
	}
	if u.reader, err = d.(driver.Preparer).Prepare(u.points); err != nil {
		t.Fatal(err)
	}
	return u
}

// poll counts the Good samples of a poll, and fails where one is Good and wrong.
func (u *polledUnit) poll(t *testing.T) (good int, out []driver.Sample, err error) {
	t.Helper()
	out = make([]driver.Sample, len(u.points))
	err = u.reader.Read(t.Context(), u.points, out)
	for n, s := range out {
		switch {
		case s.Quality != driver.Good:
		case s.Value.Uint64() != u.base+uint64(n):
			t.Errorf("point %d is Good with %v, where the device has %d", n, s.Value, u.base+uint64(n))
		default:
			good++
		}
	}
	return good, out, err
}

// A habit is what is expected of a fault: what becomes of the samples while it lasts.
type habit struct {
	fault simulator.Fault
	good  int           // points that stay Good although the device has the fault; -1: any number
	codes []driver.Code // of the points that do not
	skip  func(form string) bool
}

func onBus(form string) bool { return form[:4] != "mbap" }

// habits has every fault that a simulated device can have.
var habits = []habit{
	{fault: simulator.Fault{Kind: simulator.Silent}, codes: []driver.Code{driver.Timeout}},
	{fault: simulator.Fault{Kind: simulator.Silent, Range: "holding:100-101"}, good: 2, codes: []driver.Code{driver.Timeout}},
	{fault: simulator.Fault{Kind: simulator.Slow, Delay: 10 * time.Millisecond}, good: 3},
	{fault: simulator.Fault{Kind: simulator.Late, Delay: 150 * time.Millisecond}, codes: []driver.Code{driver.Timeout, driver.Protocol}},
	{fault: simulator.Fault{Kind: simulator.Drip, Delay: time.Millisecond}, good: -1, codes: []driver.Code{driver.Timeout, driver.Protocol}},
	{fault: simulator.Fault{Kind: simulator.Garbage}, codes: []driver.Code{driver.Protocol, driver.Timeout}},
	{fault: simulator.Fault{Kind: simulator.Prefix}, good: -1, codes: []driver.Code{driver.Protocol, driver.Timeout}},
	{fault: simulator.Fault{Kind: simulator.Cut}, codes: []driver.Code{driver.Protocol, driver.Timeout, driver.NotConnected}},
	{fault: simulator.Fault{Kind: simulator.Half}, codes: []driver.Code{driver.Timeout, driver.Protocol}},
	{fault: simulator.Fault{Kind: simulator.Exception, Code: 4}, codes: []driver.Code{driver.Protocol}},
	{fault: simulator.Fault{Kind: simulator.Busy}, codes: []driver.Code{driver.Busy}},
	{fault: simulator.Fault{Kind: simulator.Busy, Range: "holding:200-201"}, good: 2, codes: []driver.Code{driver.Busy}},
	{fault: simulator.Fault{Kind: simulator.Most, Most: 1}, codes: []driver.Code{driver.NotFound}},
	{fault: simulator.Fault{Kind: simulator.Unit}, codes: []driver.Code{driver.Protocol, driver.Timeout}},
	{fault: simulator.Fault{Kind: simulator.Transaction}, codes: []driver.Code{driver.Timeout}, skip: onBus},
	{fault: simulator.Fault{Kind: simulator.NoTransaction}, codes: []driver.Code{driver.Timeout}, skip: onBus},
	{fault: simulator.Fault{Kind: simulator.Length}, codes: []driver.Code{driver.Timeout, driver.Protocol}, skip: onBus},
	{fault: simulator.Fault{Kind: simulator.Extra}, good: -1, codes: []driver.Code{driver.Timeout, driver.Protocol}},
	{fault: simulator.Fault{Kind: simulator.Checksum}, codes: []driver.Code{driver.Protocol, driver.Timeout}, skip: func(f string) bool { return !onBus(f) }},
	{fault: simulator.Fault{Kind: simulator.Duplicate}, good: 3},
	{fault: simulator.Fault{Kind: simulator.Echo}, good: 3, skip: func(f string) bool { return !onBus(f) }},
	{fault: simulator.Fault{Kind: simulator.NoisyEcho}, good: 3, skip: func(f string) bool { return !onBus(f) }},
	{fault: simulator.Fault{Kind: simulator.Frozen}, good: 3},
	{fault: simulator.Fault{Kind: simulator.Jump, Delay: time.Hour}, good: 3},
	{fault: simulator.Fault{Kind: simulator.Deaf, Delay: 50 * time.Millisecond}, good: -1, codes: []driver.Code{driver.Timeout}},
	{fault: simulator.Fault{Kind: simulator.Hasty, Delay: time.Nanosecond}, good: 3},
	{fault: simulator.Fault{Kind: simulator.Reset}, codes: []driver.Code{driver.Protocol, driver.Timeout}},
	{fault: simulator.Fault{Kind: simulator.Once}, good: 3},
}

// Every fault of a device, in every form of the protocol: what it concerns has the right fault,
// nothing wrong is ever Good, the other unit of the line keeps all its values, and with the
// fault's end everything is well again.
func TestEveryHabitInEveryForm(t *testing.T) {
	var seen []simulator.FaultKind
	for _, h := range habits {
		seen = append(seen, h.fault.Kind)
	}
	for _, kind := range simulator.Faults(simulator.Modbus, false) {
		if !slices.Contains(seen, kind) {
			t.Errorf("no habit has the fault %s", kind)
		}
	}
	for _, form := range forms {
		t.Run(form.name, func(t *testing.T) {
			t.Parallel()
			for _, h := range habits {
				if h.skip != nil && h.skip(form.name) {
					continue
				}
				name := string(h.fault.Kind)
				if h.fault.Range != "" {
					name += " in a range"
				}
				t.Run(name, func(t *testing.T) { h.try(t, form.sim, form.link, form.long) })
			}
		})
	}
}

func (h habit) try(t *testing.T, c simulator.ServerConfig, more string, polls int) {
	const timeout = 100 * time.Millisecond
	sim, link := plantOf(t, c, more, timeout)
	bad, well := unitOf(t, link, 1, 7_000_000), unitOf(t, link, 2, 9_000_000)
	for _, u := range []*polledUnit{bad, well} {
		if good, _, err := u.poll(t); good != 3 || err != nil {
			t.Fatalf("before the fault: %d of 3 Good, %v", good, err)
		}
	}
	if err := sim.Device("bad").Fault(h.fault); err != nil {
		t.Fatal(err)
	}
	for range polls {
		good, out, err := bad.poll(t)
		if h.good >= 0 && good != h.good {
			t.Errorf("%d points are Good, want %d (%v)", good, h.good, err)
		}
		for n, s := range out {
			fault := driver.CodeOf(err)
			if s.Fault != nil {
				fault = s.Fault.Code
			}
			if s.Quality != driver.Good && !slices.Contains(h.codes, fault) {
				t.Errorf("point %d: %v (%v), want one of %v", n, fault, err, h.codes)
			}
		}
		if good, _, err := well.poll(t); good != 3 || err != nil {
			t.Errorf("the other unit: %d of 3 Good, %v", good, err)
		}
	}
	sim.Device("bad").Clear()
	if h.fault.Kind != simulator.Most { // what is refused as an address is left alone for a minute
		h.recovers(t, bad)
	}
}

// recovers polls until all is well: a block that failed is held back for some seconds at most.
func (h habit) recovers(t *testing.T, u *polledUnit) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		good, _, err := u.poll(t)
		if good == 3 && err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("after the fault: %d of 3 Good, %v", good, err)
		}
	}
}

// What is opened is closed: descriptors and goroutines are where they were after every form.
func TestFormsLeaveNothingBehind(t *testing.T) {
	descriptors := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip("there is no /proc")
		}
		return len(list)
	}
	before, running := descriptors(), runtime.NumGoroutine()
	for range 3 {
		for _, form := range forms {
			t.Run(form.name, func(t *testing.T) {
				_, link := plantOf(t, form.sim, form.link, time.Second)
				u := unitOf(t, link, 2, 9_000_000)
				if good, _, err := u.poll(t); good != 3 || err != nil {
					t.Errorf("%d of 3 Good, %v", good, err)
				}
			})
		}
	}
	for end := time.Now().Add(5 * time.Second); descriptors() > before || runtime.NumGoroutine() > running; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d descriptors where there were %d, %d goroutines where there were %d", descriptors(), before, runtime.NumGoroutine(), running)
		}
	}
}
