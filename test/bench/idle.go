package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/simulator"
)

// idleDrivers are those of this repository; each has one link that is up and has one
// device with one point, which is due once an hour.
var idleDrivers = []string{"modbus", "mqtt", "serial"}

// upWithin is how long the links may take to be up.
const upWithin = 30 * time.Second

// idle is what a gateway with three drivers costs that have nothing to do. The limit
// is four processes that do what heartbeats demand and nothing else.
func (b *bench) idle() error {
	dir, err := os.MkdirTemp("", "fieldloom-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	blank := filepath.Join(dir, "blank")
	build := exec.Command("go", "build", "-trimpath", "-o", blank, "./test/bench/blank")
	if text, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, text)
	}
	plant := idlePlant()
	sim, err := simulator.Run(context.Background(), &plant)
	if err != nil {
		return err
	}
	defer sim.Close()
	var runs idleRuns
	for range b.runs {
		limit, err1 := b.idleBlank(blank)
		have, err2 := b.idleGateway(idleLinks(sim))
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		runs.have, runs.limit = append(runs.have, have), append(runs.limit, limit)
	}
	return runs.report()
}

// idlePlant is a device for each driver. In this process it takes no CPU of the gateway's.
func idlePlant() simulator.Config {
	plant := simulator.ModbusFleet(1, 2, simulator.Ports)
	plant.Servers = append(plant.Servers, simulator.MQTTFleet(1, time.Hour).Servers...)
	plant.Servers = append(plant.Servers, simulator.SerialLine(1, 0).Servers...)
	return plant
}

func idleLinks(sim *simulator.Simulator) string {
	var b strings.Builder
	b.WriteString("links:\n")
	fmt.Fprintf(&b, "  modbus: {driver: modbus, url: \"tcp://%s\", scan: {default: 1h}, devices: {d: {points: {slot: {address: \"holding:0:uint32\"}}}}}\n", sim.Addr("m1"))
	fmt.Fprintf(&b, "  mqtt: {driver: mqtt, broker: %q, devices: {d: {points: {slot: {address: \"fleet/d1/slot $ integer\"}}}}}\n", sim.Addr("mqtt"))
	fmt.Fprintf(&b, "  serial: {driver: serial, port: %q, scan: {default: 1h}, devices: {d: {requests: {all: {send: \"?1\", expect: \"^1 \", split: \" \"}}, points: {slot: {address: \"all:2:integer\"}}}}}\n",
		sim.Addr("serial"))
	return b.String()
}

// An idleUse is what one run took.
type idleUse struct {
	cpu    float64  // milliseconds a second, all processes together
	memory []memory // of each driver
}

// idleRuns are pairs of runs.
type idleRuns struct{ have, limit []idleUse }

func (r *idleRuns) report() error {
	for i, d := range idleDrivers {
		limit := column(r.limit, func(u idleUse) float64 { return megabytes(u.memory[i].resident) })
		resident := column(r.have, func(u idleUse) float64 { return megabytes(u.memory[i].resident) })
		held := column(r.have, func(u idleUse) float64 { return megabytes(u.memory[i].held) })
		if err := errors.Join(report("idle-resident-"+d, "MB", resident, limit), report("idle-held-"+d, "MB", held, limit)); err != nil {
			return err
		}
	}
	cpu := func(u idleUse) float64 { return u.cpu }
	return report("idle-cpu-3-drivers", "CPU ms/s", column(r.have, cpu), column(r.limit, cpu))
}

func column(runs []idleUse, of func(idleUse) float64) []float64 {
	var values []float64
	for _, u := range runs {
		values = append(values, of(u))
	}
	return values
}

func megabytes(n int64) float64 { return float64(n) / 1e6 }

// idleGateway measures one run of a gateway.
func (b *bench) idleGateway(links string) (idleUse, error) {
	g, err := startGateway(b.bin, links)
	if err != nil {
		return idleUse{}, err
	}
	defer g.stop()
	pids, err := g.idlePIDs()
	if err != nil {
		text, _ := os.ReadFile(g.log.Name())
		return idleUse{}, fmt.Errorf("%w\n%s", err, text)
	}
	return b.watchIdle(g.cmd.Process.Pid, pids)
}

// idleBlank measures one run of the limit.
func (b *bench) idleBlank(blank string) (idleUse, error) {
	cmd := exec.Command(blank, strconv.Itoa(len(idleDrivers)))
	cmd.Stderr = os.Stderr
	end, err := cmd.StdinPipe()
	if err != nil {
		return idleUse{}, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return idleUse{}, err
	}
	if err := cmd.Start(); err != nil {
		return idleUse{}, err
	}
	defer cmd.Wait()
	defer end.Close()
	pids, err := readNumbers(out, len(idleDrivers))
	if err != nil {
		return idleUse{}, err
	}
	return b.watchIdle(cmd.Process.Pid, pids)
}

// watchIdle lets a process and its children settle, and gives what they take.
func (b *bench) watchIdle(pid int, children []int) (u idleUse, err error) {
	time.Sleep(settle)
	before, err := usageOf(pid)
	if err != nil {
		return u, err
	}
	began := time.Now()
	time.Sleep(b.length)
	after, err := usageOf(pid)
	if err != nil {
		return u, err
	}
	u.cpu = milliseconds(after.cpu-before.cpu) / time.Since(began).Seconds()
	for _, child := range children {
		m, err := memoryOf(child)
		if err != nil {
			return u, err
		}
		u.memory = append(u.memory, m)
	}
	return u, nil
}

// readNumbers reads n lines of one number each.
func readNumbers(r io.Reader, n int) ([]int, error) {
	lines := bufio.NewScanner(r)
	numbers := make([]int, n)
	for i := range numbers {
		if !lines.Scan() {
			return nil, fmt.Errorf("%d lines of %d: %w", i, n, lines.Err())
		}
		var err error
		if numbers[i], err = strconv.Atoi(lines.Text()); err != nil {
			return nil, err
		}
	}
	return numbers, nil
}

// idlePIDs waits until all links are up, and gives the process of each driver.
func (g *gateway) idlePIDs() ([]int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), upWithin)
	defer cancel()
	c := client.New(filepath.Join(g.dir, "data", "fieldloom.sock"))
	defer c.Close()
	for {
		s, err := c.Status(ctx)
		if err == nil && allUp(s) {
			return pidsOf(s)
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("not all links are up within %v", upWithin)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func allUp(s *client.Status) bool {
	down := func(l client.Link) bool { return l.State != "up" }
	return len(s.Links) == len(idleDrivers) && !slices.ContainsFunc(s.Links, down)
}

func pidsOf(s *client.Status) (pids []int, err error) {
	for _, name := range idleDrivers {
		i := slices.IndexFunc(s.Drivers, func(d client.Driver) bool { return d.Name == name && d.PID > 0 })
		if i < 0 {
			return nil, fmt.Errorf("status has no process of driver %s", name)
		}
		pids = append(pids, s.Drivers[i].PID)
	}
	return pids, nil
}
