package plugin_test

import (
	"errors"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fieldloom/fieldloom/core/internal/host"
)

// TestNothingIsLeftOfManyProcesses starts and ends processes in every way, and counts
// what this process has of them afterwards.
func TestNothingIsLeftOfManyProcesses(t *testing.T) {
	const rounds = 5
	dir := t.TempDir()
	everyWay(t, dir)
	files, goroutines := openFiles(t), runtime.NumGoroutine()
	for range rounds {
		everyWay(t, dir)
	}
	leftIn(t, dir)
	if err := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil); !errors.Is(err, unix.ECHILD) {
		t.Errorf("a process is left: %v", err)
	}
	if now := openFiles(t); now > files {
		t.Errorf("%d descriptors, and %d after %d rounds", files, now, rounds)
	}
	if now := runtime.NumGoroutine(); now > goroutines+rounds/2 { // some are about to end
		t.Errorf("%d goroutines, and %d after %d rounds", goroutines, now, rounds)
	}
}

// everyWay starts processes and ends them, each in its own way.
func everyWay(t *testing.T, dir string) {
	t.Helper()
	start := func(c host.Command) *host.Process {
		c.RunDir = dir
		p, err := host.Launch(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	stop := func(p *host.Process) {
		if err := p.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
	stop(start(command("fake")))
	for _, c := range []host.Command{command("fake"), detached("fake")} {
		p := start(c)
		a := attach(t, p, host.Hello{CoreEpoch: 1}, newCollector(t))
		if err := syscall.Kill(p.PID(), syscall.SIGKILL); err != nil {
			t.Error(err)
		}
		waitFor(t, p.Done(), "death")
		_ = a.Close()
		stop(p)
	}
	p := start(detached("fake"))
	for range 2 {
		if err := p.Release(); err != nil {
			t.Fatal(err)
		}
		var err error
		if p, err = host.Reattach(t.Context(), p.Record(), command("")); err != nil {
			t.Fatal(err)
		}
	}
	stop(p)
	for _, mode := range []string{"crash", "loud"} {
		c := command(mode)
		c.RunDir = dir
		if _, err := host.Launch(t.Context(), c); err == nil {
			t.Errorf("%s: started", mode)
		}
	}
	c := command("fake")
	c.RunDir, c.Prepare = dir, func(*exec.Cmd, string) (func(error), error) { return nil, syscall.EMFILE }
	if _, err := host.Launch(t.Context(), c); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("a preparation that fails: %v", err)
	}
}
