package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// watchRun is what a line costs, in CPU nanoseconds.
type watchRun struct{ json, text, core, bare float64 }

// watch is what a line of `fieldloom watch` costs the client, as JSON and for people, and
// the core, which reads it from the spool. The limit is a bare copy of the same bytes through
// a socket, both of its ends.
func (b *bench) watch() error {
	s, err := startSim(300, 101)
	if err != nil {
		return err
	}
	defer s.stop()
	var runs []watchRun
	for range b.runs {
		r, err := b.watchOnce(fleetConfig{addrs: s.addrs, registers: 101, period: "1s", window: 1})
		if err != nil {
			return err
		}
		runs = append(runs, r)
	}
	column := func(of func(watchRun) float64) (values []float64) {
		for _, r := range runs {
			values = append(values, of(r))
		}
		return values
	}
	bare := column(func(r watchRun) float64 { return r.bare })
	return errors.Join(
		report("watch-client-json", "CPU ns/line", column(func(r watchRun) float64 { return r.json }), bare),
		report("watch-client-text", "CPU ns/line", column(func(r watchRun) float64 { return r.text }), bare),
		report("watch-core", "CPU ns/line", column(func(r watchRun) float64 { return r.core }), bare))
}

// watchOnce fills a spool for a run's length and watches it.
func (b *bench) watchOnce(f fleetConfig) (r watchRun, err error) {
	g, err := startGateway(b.bin, f.links())
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	time.Sleep(settle + b.length)
	path := filepath.Join(g.dir, "lines")
	if _, err := g.watchTo(path, "--json"); err != nil {
		return r, err
	}
	body, err := os.ReadFile(path)
	if err != nil {
		return r, err
	}
	idle, err1 := g.coreCPU(func() error { time.Sleep(time.Second); return nil })
	began := time.Now()
	core, err2 := g.coreCPU(func() error { r.json, err = g.watchTo(os.DevNull, "--json"); return err })
	core -= time.Duration(float64(idle) * time.Since(began).Seconds())
	var err3 error
	r.text, err3 = g.watchTo(os.DevNull)
	bare, err4 := copyBare(body)
	lines := float64(bytes.Count(body, []byte{'\n'}))
	if lines == 0 {
		err4 = errors.Join(err4, errors.New("nothing was stored"))
	}
	r.json, r.text, r.core, r.bare = r.json/lines, r.text/lines, float64(core)/lines, float64(bare)/lines
	return r, errors.Join(err1, err2, err3, err4)
}

// watchTo shows all that is stored, and returns the client's CPU nanoseconds.
func (g *gateway) watchTo(path string, flags ...string) (float64, error) {
	out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, err
	}
	defer out.Close()
	cmd := exec.Command(g.bin, append([]string{"watch", "--since", "24h", "--for", "1ms", "--config", g.dir}, flags...)...)
	var wrong bytes.Buffer
	cmd.Stdout, cmd.Stderr = out, &wrong
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("watch: %w\n%s", err, wrong.String())
	}
	return float64(cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()), nil
}

// coreCPU is what the core uses while f runs, its drivers left out.
func (g *gateway) coreCPU(f func() error) (time.Duration, error) {
	before, err1 := cpuOf(g.cmd.Process.Pid)
	err2 := f()
	after, err3 := cpuOf(g.cmd.Process.Pid)
	return after - before, errors.Join(err1, err2, err3)
}

// copyBare sends bytes through a socket to nowhere, and returns the CPU time of both ends.
func copyBare(body []byte) (time.Duration, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return 0, err
	}
	from, err1 := fileConn(fds[0])
	to, err2 := fileConn(fds[1])
	if err := errors.Join(err1, err2); err != nil {
		return 0, err
	}
	defer from.Close()
	before := ownCPU()
	sent := make(chan error, 1)
	go func() {
		_, err := to.Write(body)
		sent <- errors.Join(err, to.Close())
	}()
	_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{from}, make([]byte, 128<<10))
	return ownCPU() - before, errors.Join(err, <-sent)
}

func fileConn(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close()
	return net.FileConn(f)
}

func ownCPU() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0 // it cannot
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
