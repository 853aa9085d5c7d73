package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// A bench holds what all figures share.
type bench struct {
	bin    string
	runs   int
	length time.Duration
	links  string        // of scale: LINKS/INSTANCES, with commas
	period time.Duration // of scale
	keep   string        // of scale: where to keep the gateway's logs; empty: nowhere
}

// settle is how long a gateway runs before it is measured: start, first
// polls and the growth of its heap are not the steady state.
const settle = 8 * time.Second

var figures = []struct {
	name string
	take func(*bench) error
}{
	{"boundary", (*bench).boundary},
	{"gateway", (*bench).gateway},
	{"lean", (*bench).lean},
	{"flatout", (*bench).flatOut},
	{"growth", (*bench).growth},
	{"start", (*bench).start},
	{"idle", (*bench).idle},
	{"scale", (*bench).scale},
	{"watch", (*bench).watch},
	{"discover", (*bench).discover},
}

// load is what a gateway used while it polled for a run's length.
type load struct {
	cpuPerMillion float64 // CPU seconds a million points, core and drivers
	residentMB    float64
	pollsASecond  float64
}

// measure runs the gateway over the fleet for one run.
func (b *bench) measure(s *simProcess, f fleetConfig) (load, error) {
	g, err := startGateway(b.bin, f.links())
	if err != nil {
		return load{}, err
	}
	defer g.stop()
	time.Sleep(settle)
	if err := f.awaitRate(s); err != nil {
		return load{}, err
	}
	before, err1 := usageOf(g.cmd.Process.Pid)
	polls1, err2 := s.requests()
	begin := time.Now()
	time.Sleep(b.length)
	after, err3 := usageOf(g.cmd.Process.Pid)
	polls2, err4 := s.requests()
	elapsed := time.Since(begin)
	for _, err := range []error{err1, err2, err3, err4} {
		if err != nil {
			return load{}, fmt.Errorf("%w: see %s", err, g.dir)
		}
	}
	polls := float64(polls2 - polls1)
	if polls == 0 {
		text, _ := os.ReadFile(g.log.Name())
		return load{}, fmt.Errorf("the gateway made no poll:\n%s", text)
	}
	perPoll := float64(min(f.registers-1, 100))
	return load{
		cpuPerMillion: (after.cpu - before.cpu).Seconds() / (polls * perPoll / 1e6),
		residentMB:    float64(after.resident) / 1e6,
		pollsASecond:  polls / elapsed.Seconds(),
	}, nil
}

// awaitRate waits until a plant that is polled once a second is: thousands of links come in
// steps.
func (f fleetConfig) awaitRate(s *simProcess) error {
	if f.period != "1s" {
		return nil
	}
	for range 120 {
		before, err := s.requests()
		if err != nil {
			return err
		}
		time.Sleep(time.Second)
		after, err := s.requests()
		if err != nil {
			return err
		}
		if float64(after-before) > 0.97*float64(len(f.addrs)) {
			return nil
		}
	}
	return fmt.Errorf("%d devices are not polled once a second within two minutes", len(f.addrs))
}

// gateway is the whole gateway against a bare loop: 1,000 devices, 100 registers
// each, at 1 s, spool on.
func (b *bench) gateway() error {
	s, err := startSim(1000, 101)
	if err != nil {
		return err
	}
	defer s.stop()
	var cpu, bare, resident, limit []float64
	for range b.runs {
		r, err := runBare("slots", s.addrs, 101, 1, b.length)
		if err != nil {
			return err
		}
		l, err := b.measure(s, fleetConfig{addrs: s.addrs, registers: 101, period: "1s", window: 1})
		if err != nil {
			return err
		}
		bare = append(bare, r.CPU.Seconds()/(float64(r.Polls)*100/1e6))
		cpu = append(cpu, l.cpuPerMillion)
		resident, limit = append(resident, l.residentMB), append(limit, 120)
	}
	if err := report("gateway-cpu-1000x100", "CPU s/M points", cpu, bare); err != nil {
		return err
	}
	return report("gateway-resident-1000x100", "MB", resident, limit)
}

// lean is the CPU of the whole gateway against the leanest loop that does the same polls, as the
// plant grows.
func (b *bench) lean() error {
	const ports = 1000 // a simulator with a port for each of 10,000 devices has no descriptors left
	for _, n := range []int{100, 1000, 10_000} {
		s, err := startSim(min(n, ports), 101)
		if err != nil {
			return err
		}
		addrs := slices.Concat(slices.Repeat([][]string{s.addrs}, n/len(s.addrs))...)
		var cpu, bare, memory, limit []float64
		for range b.runs {
			r, err := runBare("lean", addrs, 101, 1, b.length)
			if err != nil {
				return err
			}
			l, err := b.measure(s, fleetConfig{addrs: addrs, registers: 101, period: "1s", window: 1})
			if err != nil {
				return err
			}
			bare = append(bare, r.CPU.Seconds()/(float64(r.Polls)*100/1e6))
			cpu = append(cpu, l.cpuPerMillion)
			memory, limit = append(memory, l.residentMB*1000/float64(n)), append(limit, 20)
		}
		if err := s.stop(); err != nil {
			return err
		}
		if err := report(fmt.Sprintf("lean-cpu-%dx100", n), "CPU s/M points", cpu, bare); err != nil {
			return err
		}
		if err := report(fmt.Sprintf("lean-resident-%dx100", n), "KB a device", memory, limit); err != nil {
			return err
		}
	}
	return nil
}

// flatOut is one device as fast as it answers, 100 registers a request.
func (b *bench) flatOut() error {
	for _, inFlight := range []int{1, 8} {
		registers := 100 * inFlight
		s, err := startSim(1, registers)
		if err != nil {
			return err
		}
		var rates, bare []float64
		for range b.runs {
			r, err := runBare("flat", s.addrs, 100, 1, b.length)
			if err != nil {
				return err
			}
			l, err := b.measure(s, fleetConfig{addrs: s.addrs, registers: registers, period: "0s", window: inFlight})
			if err != nil {
				return err
			}
			bare = append(bare, float64(r.Polls)/r.Elapsed.Seconds())
			rates = append(rates, l.pollsASecond)
		}
		if err := s.stop(); err != nil {
			return err
		}
		if err := report(fmt.Sprintf("flatout-%d-in-flight", inFlight), "requests/s", rates, bare); err != nil {
			return err
		}
	}
	return nil
}

// growth is the cost a point and a device as the plant grows; the limit is the
// cost at ten devices.
func (b *bench) growth() error {
	var first load
	for _, n := range []int{10, 100, 1000, 5000} {
		s, err := startSim(n, 101)
		if err != nil {
			return err
		}
		var cpu, memory []float64
		for range b.runs {
			l, err := b.measure(s, fleetConfig{addrs: s.addrs, registers: 101, period: "1s", window: 1})
			if err != nil {
				return err
			}
			cpu, memory = append(cpu, l.cpuPerMillion), append(memory, l.residentMB/float64(n))
		}
		if err := s.stop(); err != nil {
			return err
		}
		if n == 10 {
			first = load{cpuPerMillion: median(cpu), residentMB: median(memory)}
		}
		if err := report(fmt.Sprintf("growth-cpu-%d-devices", n), "CPU s/M points", cpu, repeat(first.cpuPerMillion, len(cpu))); err != nil {
			return err
		}
		if err := report(fmt.Sprintf("growth-resident-%d-devices", n), "MB/device", memory, repeat(first.residentMB, len(memory))); err != nil {
			return err
		}
	}
	return nil
}

func repeat(v float64, n int) []float64 {
	all := make([]float64, n)
	for i := range all {
		all[i] = v
	}
	return all
}

// metric is one value of a line that `go test -bench` prints.
var metric = regexp.MustCompile(`([0-9.e+]+) ([A-Za-z][A-Za-z0-9/-]*)`)

// boundary runs the benchmark of core/plugin, which measures the bare socket in
// the same run, and prints its figures.
func (b *bench) boundary() error {
	cmd := exec.CommandContext(context.Background(), "go", "test", "-run", "^$", "-bench", "^BenchmarkBoundary$",
		"-benchtime", "2s", "-count", fmt.Sprint(b.runs), "./core/plugin")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	values, err := metrics(out)
	if err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil {
		return err
	}
	cpu, rate, bare := values["cpu-s/Mpoints"], values["points/s"], values["bare-points/s"]
	if len(cpu) == 0 || len(cpu) != len(rate) || len(rate) != len(bare) {
		return fmt.Errorf("the benchmark printed %v", values)
	}
	if err := report("boundary-cpu", "CPU s/M points", cpu, repeat(0.12, len(cpu))); err != nil {
		return err
	}
	return report("boundary-throughput", "points/s", rate, bare)
}

// metrics collects the values of each metric from a benchmark's output.
func metrics(out io.Reader) (map[string][]float64, error) {
	values := map[string][]float64{}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		for _, m := range metric.FindAllStringSubmatch(lines.Text(), -1) {
			if v, err := strconv.ParseFloat(m[1], 64); err == nil {
				values[m[2]] = append(values[m[2]], v)
			}
		}
	}
	return values, lines.Err()
}

// readLines reads all lines.
func readLines(r io.Reader) ([]string, error) {
	var all []string
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		all = append(all, lines.Text())
	}
	return all, lines.Err()
}
