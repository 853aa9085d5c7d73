//go:build peers

package simulator_test

import (
	"fmt"
	"net"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/simulator"
	"github.com/fieldloom/fieldloom/simulator/signal"
)

// Programs that others wrote talk to the simulator, as Debian has them.

// run runs a program and returns what it printed.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// values takes `[12]: 34` lines out of what mbpoll printed.
func values(out string) string {
	var list []string
	for _, m := range regexp.MustCompile(`(?m)^\[\d+\]:\s*(\S+)`).FindAllStringSubmatch(out, -1) {
		list = append(list, m[1])
	}
	return strings.Join(list, " ")
}

func TestPeerMbpoll(t *testing.T) {
	for _, over := range []string{"tcp", "tty"} {
		t.Run(over, func(t *testing.T) { againstMbpoll(t, over) })
	}
}

// modeOf is how mbpoll reaches a server: over TCP, or by RTU on its tty.
func modeOf(t *testing.T, over, addr string) (mode []string, where string) {
	t.Helper()
	if over == "tty" {
		return []string{"-m", "rtu", "-b", "115200", "-P", "none"}, addr
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return []string{"-m", "tcp", "-p", port}, host
}

func againstMbpoll(t *testing.T, over string) {
	img := &simulator.Image{
		Points: []simulator.Point{
			{Name: "slot", Address: "holding:0", Type: "uint32", Order: "cdab", Signal: signal.Slot()},
			{Name: "f", Address: "holding:2", Type: "float32", Order: "cdab", Signal: signal.Constant(signal.Float(20.5)), Writable: true},
			{Name: "in", Address: "input:0", Type: "int16", Signal: signal.Constant(signal.Int(-5))},
			{Name: "d1", Address: "discrete:1", Signal: signal.Constant(signal.Bool(true))},
		},
		Ranges: []string{"holding:0-20", "coil:0-15", "discrete:0-3"},
	}
	sim := simulator.Start(t, simulator.Config{Servers: []simulator.ServerConfig{{
		Name: "s", Protocol: simulator.Modbus, Over: over, Devices: []simulator.DeviceConfig{{Name: "d", Unit: 7, Image: img}},
	}}})
	mode, where := modeOf(t, over, sim.Addr("s"))
	poll := func(args ...string) string {
		return values(run(t, "mbpoll", slices.Concat(mode, []string{"-a", "7", "-0", "-1", "-q"}, args, []string{where})...))
	}
	write := func(option, address, value string) {
		run(t, "mbpoll", slices.Concat(mode, []string{"-a", "7", "-0", "-q", "-t", option, "-r", address, where, value})...)
	}
	write("4", "10", "4711")
	write("4:float", "2", "1.5")
	write("0", "5", "1")
	for _, c := range []struct{ option, address, count, want string }{
		{"4:int", "0", "1", "1"},
		{"4:int", "0", "1", "2"},
		{"4:float", "2", "1", "1.5"},
		{"4", "10", "2", "4711 0"},
		{"3", "0", "1", "65531"},
		{"0", "4", "3", "0 1 0"},
		{"1", "0", "3", "0 1 0"},
	} {
		got := poll("-t", c.option, "-r", c.address, "-c", c.count)
		if got != c.want {
			t.Errorf("-t %s -r %s -c %s: %q, want %q", c.option, c.address, c.count, got, c.want)
		}
	}
	if out, err := exec.Command("mbpoll", slices.Concat(mode, []string{"-a", "7", "-0", "-1", "-q", "-t", "4", "-r", "30", where})...).CombinedOutput(); err == nil || !strings.Contains(string(out), "Illegal data address") {
		t.Errorf("outside: %v\n%s", err, out)
	}
	if n := sim.Device("d").Counts(); n.Writes != 3 || n.Polls != 2 {
		t.Errorf("counts %+v", n)
	}
}

func TestPeerMosquitto(t *testing.T) {
	cfg := simulator.MQTTFleet(3, 20*time.Millisecond)
	cfg.Servers[0].Devices[0].Points = append(cfg.Servers[0].Devices[0].Points, simulator.Point{Name: "valve", Writable: true})
	cfg.Servers[0].Devices[0].Set = "set/{device}/{point}"
	sim := simulator.Start(t, cfg)
	host, port, err := net.SplitHostPort(strings.TrimPrefix(sim.Addr("mqtt"), "tcp://"))
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{"311", "5"} {
		out := run(t, "mosquitto_sub", "-V", version, "-h", host, "-p", port, "-q", "1", "-t", "fleet/d2/slot", "-C", "20") //nolint:misspell // a program's name
		slots := strings.Fields(out)
		for i := 1; i < len(slots); i++ {
			var a, b int
			if n, _ := fmt.Sscan(slots[i-1]+" "+slots[i], &a, &b); n != 2 || b != a+1 {
				t.Errorf("slots %v", slots)
				break
			}
		}
	}
	run(t, "mosquitto_pub", "-h", host, "-p", port, "-q", "1", "-t", "set/d1/valve", "-m", "42") //nolint:misspell // a program's name
	eventually(t, func() bool { v, _ := sim.Device("d1").Get("valve"); return v == int64(42) })
}

func TestPeerSocat(t *testing.T) {
	sim := simulator.Start(t, simulator.SerialLine(2, 9600))
	cmd := exec.Command("socat", "-t", "1", "-", sim.Addr("serial")+",raw,echo=0")
	cmd.Stdin = strings.NewReader("?1\n?2\n?1\n")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if !regexp.MustCompile(`^1 1 [\d.]+\r\n2 1 [\d.]+\r\n1 2 [\d.]+\r\n$`).Match(out) {
		t.Errorf("%q", out)
	}
}
