package e2e_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/creack/pty"

	"github.com/fieldloom/fieldloom/core/confine"
	"github.com/fieldloom/fieldloom/simulator"
	"github.com/fieldloom/fieldloom/test/plant"
)

// adapter is a serial port that can be unplugged; it answers every line, and counts.
type adapter struct {
	master, tty *os.File
	served      atomic.Int64
}

func plug(t *testing.T) *adapter {
	t.Helper()
	a := &adapter{}
	var err error
	if a.master, a.tty, err = pty.Open(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for in := bufio.NewReader(a.master); ; {
			if _, err := in.ReadString('\n'); err != nil {
				return
			}
			a.served.Add(1)
			_, _ = a.master.WriteString("1\r\n")
		}
	}()
	return a
}

func (a *adapter) unplug() {
	_ = a.tty.Close()
	_ = a.master.Close()
}

func (a *adapter) await(t *testing.T, what string) {
	t.Helper()
	want := a.served.Load() + 3
	plant.Eventually(t, patience, func() error {
		if have := a.served.Load(); have < want {
			return fmt.Errorf("%s: the port served %d of %d requests", what, have, want)
		}
		return nil
	})
}

// An adapter that is unplugged and plugged in again is polled again, each time, though it
// comes back with the name and the number of the one before, and its driver is confined.
func TestReplugged(t *testing.T) {
	bins := plant.Build(t)
	dir := t.TempDir()
	port := plug(t)
	defer func() { port.unplug() }()
	bins.WriteConfig(t, dir, "confine: best-effort\n", fmt.Sprintf(
		"links:\n  line: {driver: serial, port: %s, terminator: \"\\n\", scan: {default: 100ms}, devices: {d: {requests: {v: {send: \"V?\"}}, points: {v: {address: \"v:0\"}}}}}\n", port.tty.Name()))
	g := bins.Start(t, dir)
	port.await(t, "at first")
	for i := range 3 {
		name := port.tty.Name()
		port.unplug()
		plant.Eventually(t, patience, func() error { // once the driver has closed the one before
			if port = plug(t); port.tty.Name() != name {
				port.unplug()
				return fmt.Errorf("the number of %s is not free", name)
			}
			return nil
		})
		port.await(t, fmt.Sprintf("plugged in again %d times", i+1))
	}
	if s, err := g.Status(); err != nil || len(s.Links) != 1 || s.Links[0].State != "up" {
		t.Errorf("%+v, %v", s.Links, err)
	}
}

// A driver that outlives its gateway gets a process with the groups of the next gateway:
// who adds the gateway's user to dialout restarts the gateway and nothing else.
func TestGroupsReachADetachedDriver(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can start a gateway with other groups")
	}
	const nobody, dialout = 65534, 20
	bins := plant.Build(t)
	sim := simulator.Start(t, simulator.ModbusFleet(1, 100, simulator.Ports))
	dir := t.TempDir()
	bins.WriteConfig(t, dir, "detach: true\n"+templates, fleetLinks(sim, 1, "100ms"))
	open(t, dir, nobody)
	openWay(t, string(bins)) // they stay root's, whom every gateway takes them from: other tests use them too
	run := func(groups ...uint32) (stop func()) {
		var log bytes.Buffer
		cmd := exec.Command(filepath.Join(string(bins), "fieldloom"), "run", "--config", dir)
		cmd.Stderr = &log
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody, Groups: groups}}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			if t.Failed() {
				t.Log(log.String())
			}
		}
	}
	stop := run()
	waitPolls(t, sim, 1, 3)
	before := processesWith(t, filepath.Join(dir, "data"))
	stop()
	stop = run(dialout)
	defer func() {
		stop()
		for _, pid := range processesWith(t, filepath.Join(dir, "data")) {
			_ = exec.Command("kill", "-9", pid).Run()
		}
	}()
	plant.Eventually(t, patience, func() error {
		now := processesWith(t, filepath.Join(dir, "data"))
		if len(now) != 1 || slices.Equal(now, before) {
			return fmt.Errorf("processes %v, before %v", now, before)
		}
		var pid int
		if _, err := fmt.Sscan(now[0], &pid); err != nil {
			return err
		}
		groups, err := confine.GroupsOf(pid)
		if err == nil && !slices.Contains(groups, dialout) {
			err = fmt.Errorf("process %d is in groups %v", pid, groups)
		}
		return err
	})
	waitPolls(t, sim, 1, 3)
}

// open gives all below a directory to a user, and lets everybody into those above it.
func open(t *testing.T, dir string, user int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, user, user)
	})
	for up := dir; err == nil && strings.HasPrefix(up, os.TempDir()+"/"); up = filepath.Dir(up) {
		err = os.Chmod(up, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}
