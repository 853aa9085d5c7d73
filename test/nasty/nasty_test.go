//go:build chaos

package nasty_test

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/test/nasty"
	"github.com/fieldloom/fieldloom/test/plant"
)

func TestMain(m *testing.M) { os.Exit(plant.Run(m)) }

// quiet is how long the neighbours are watched before anything is done to them.
const quiet = 4 * time.Second

// One driver does something wrong while it runs, and ends in the right state; the
// other's intervals do not move, and the gateway's memory does not grow.
func TestDeeds(t *testing.T) {
	program := nasty.Program(t)
	for _, d := range nasty.Deeds() {
		t.Run(d.Name, func(t *testing.T) {
			p, toll := d.Run(t, program, quiet)
			judge(t, p, toll)
		})
	}
}

// judge ends a case: its toll, what was stored, and the end of the gateway.
func judge(t *testing.T, p *nasty.Plant, toll nasty.Toll) {
	t.Helper()
	for _, err := range []error{toll.Check(nasty.Most), p.Bounded(), p.EachOnce()} {
		if err != nil {
			t.Error(err)
		}
	}
}

// A driver that cannot start, or dies whenever it does, is quarantined after five
// deaths with its last lines, and lifted out of it by the operator or by a
// change.
func TestQuarantine(t *testing.T) {
	program := nasty.Program(t)
	for _, c := range []struct {
		name, driver, does string
		main               string
		cause              string
	}{
		{"prints before its handshake", "early", "", "", `it printed "hello from the author" before its handshake`},
		{"prints 100 MB in place of a handshake", "babble", "", "", "before its handshake"},
		{"describes itself with 100 MB", "vast", "", "", "larger"},
		{"exits", "nasty", "exit", "", "exit code 3"},
		{"eats memory, confined", "nasty", "eat", "processes: {nasty: {memory: 128MiB}}\n", "memory"},
		{"forges whenever it starts", "wire", "points", "", "not all its own"},
		{"writes 300 lines and exits", "nasty", "chatter", "", "line 300 of 300"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := nasty.Start(t, program, nasty.Config{Driver: c.driver, Main: c.main})
			time.Sleep(quiet)
			w := p.Watch()
			if c.does != "" {
				p.Healthy()
				p.Reconfigure(c.does)
			}
			quarantined := func(d client.Driver) error { return nasty.Quarantined(d, c.cause) }
			d := p.Until(90*time.Second, quarantined)
			toll := w.Toll()
			t.Logf("%s, %.160q: %v", d.State, d.Cause, toll)
			if c.does == "chatter" {
				judgeLines(t, p, d)
			}
			lift(t, p, c.does != "", quarantined)
			judge(t, p, toll)
		})
	}
}

// judgeLines wants the last lines of a driver that wrote 300 in every life.
func judgeLines(t *testing.T, p *nasty.Plant, d client.Driver) {
	t.Helper()
	if n := len(d.Stderr); n == 0 || d.Stderr[n-1] != "line 300 of 300" {
		t.Errorf("status has the lines %q", d.Stderr)
	}
	lines := strings.Split(strings.TrimSpace(p.Lines()), "\n")
	if len(lines) != 200 || !strings.HasSuffix(lines[0], "line 101 of 300") || !strings.HasSuffix(lines[199], "line 300 of 300") {
		t.Errorf("%d lines are kept, from %q to %q", len(lines), lines[0], lines[len(lines)-1])
	}
}

// lift takes a driver out of quarantine: it dies another five times when nothing has
// changed, and runs when its configuration was mended.
func lift(t *testing.T, p *nasty.Plant, mendable bool, quarantined func(client.Driver) error) {
	t.Helper()
	since := time.Now()
	if out, err := p.CLI("driver", "enable", p.Driver); err != nil {
		t.Errorf("enable: %v %s", err, out)
	}
	p.Until(90*time.Second, func(d client.Driver) error {
		if d.Since.Before(since) {
			return fmt.Errorf("it is %s since %v, before it was enabled", d.State, d.Since)
		}
		return quarantined(d)
	})
	if mendable {
		p.Reconfigure("")
		p.Until(20*time.Second, func(d client.Driver) error { return nasty.Is(d, "active") })
	}
}

// A driver that ignores Drain, or promises in it what never comes, is stopped in bounded
// time, whoever asks for it.
func TestIgnoresDrain(t *testing.T) {
	program := nasty.Program(t)
	for _, c := range []struct{ driver, deed string }{{"nasty", "stay"}, {"wire", "stay"}, {"wire", "lie"}} {
		t.Run(c.driver+" "+c.deed, func(t *testing.T) {
			p := nasty.Start(t, program, nasty.Config{Driver: c.driver})
			before := p.Healthy()
			time.Sleep(quiet)
			w := p.Watch()
			p.Do(c.deed)
			begun := time.Now()
			if out, err := p.CLI("driver", "disable", c.driver); err != nil {
				t.Errorf("disable: %v %s", err, out)
			}
			d := p.Until(20*time.Second, func(d client.Driver) error { return nasty.Is(d, "stopped") })
			t.Logf("stopped after %v", time.Since(begun).Round(time.Millisecond))
			dead(t, before.PID, 15*time.Second)
			toll := w.Toll()
			t.Logf("disabled: %s, %q: %v", d.State, d.Cause, toll)
			if err := toll.Check(nasty.Most); err != nil {
				t.Error(err)
			}
			if out, err := p.CLI("driver", "enable", c.driver); err != nil {
				t.Errorf("enable: %v %s", err, out)
			}
			p.Healthy()
			p.Do(c.deed)
			begun = time.Now()
			if err := p.EachOnce(); err != nil { // the gateway stops in 30 s, or the test fails
				t.Error(err)
			}
			t.Logf("the gateway stopped and was read again in %v", time.Since(begun).Round(time.Millisecond))
		})
	}
}

// dead waits for the end of a process; its remains are for whoever its parent is.
func dead(t *testing.T, pid int, within time.Duration) {
	t.Helper()
	plant.Eventually(t, within, func() error {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if _, rest, _ := strings.Cut(string(text), ") "); err == nil && !strings.HasPrefix(rest, "Z") {
			return fmt.Errorf("process %d lives: %s", pid, text)
		}
		return nil
	})
}

// A child that keeps the pipes of a driver neither hides its death nor outlives it;
// confined, there is no child at all (see TestDeeds).
func TestForks(t *testing.T) {
	program := nasty.Program(t)
	for _, c := range []struct {
		deed, main string
		outlives   bool // the child left the driver's session, which only a cgroup would see
	}{
		{"fork", "confine: off\n", false},
		{"fork", "confine: off\ndetach: true\n", false},
		{"escape", "confine: off\n", true},
	} {
		t.Run(c.deed+" "+strings.ReplaceAll(c.main, "\n", " "), func(t *testing.T) {
			p := nasty.Start(t, program, nasty.Config{Driver: "nasty", Main: c.main})
			before := p.Healthy()
			time.Sleep(quiet)
			w := p.Watch()
			p.Do(c.deed)
			var child int
			plant.Eventually(t, nasty.Patience, func() error {
				m := regexp.MustCompile(`child (\d+)`).FindStringSubmatch(p.Lines())
				if m == nil {
					return fmt.Errorf("no child")
				}
				child, _ = strconv.Atoi(m[1])
				return nil
			})
			killed := time.Now()
			if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			p.Until(5*time.Second, func(d client.Driver) error { return nasty.Restarted(d, before.PID, "killed") })
			took := time.Since(killed)
			if c.outlives {
				t.Cleanup(func() { _ = syscall.Kill(child, syscall.SIGKILL) })
			} else {
				dead(t, child, time.Second)
			}
			toll := w.Toll()
			t.Logf("active again %v after the kill: %v", took.Round(time.Millisecond), toll)
			judge(t, p, toll)
		})
	}
}
