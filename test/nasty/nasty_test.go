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

// most is what a deed may make the gateway's memory grow by. It holds up to 4 MiB of a
// driver that are not stored yet, and Go lets the heap grow before it collects.
const most = 64 << 20

// A verdict is what a driver has to become.
type verdict func(p *nasty.Plant, before, now client.Driver) error

// restarted is a process that was killed, or died, and another that is healthy.
func restarted(cause string) verdict {
	return func(_ *nasty.Plant, before, now client.Driver) error { return nasty.Restarted(now, before.PID, cause) }
}

// goesOn is the same process, with a line in its log.
func goesOn(line string) verdict {
	return func(p *nasty.Plant, before, now client.Driver) error {
		if err := nasty.Is(now, "active"); err != nil {
			return err
		}
		if now.PID != before.PID {
			return fmt.Errorf("process %d was replaced: %s", before.PID, now.Cause)
		}
		if log := logs(p); line != "" && !strings.Contains(log, line) {
			return fmt.Errorf("its log has no %q:\n%.500s", line, log)
		}
		return nil
	}
}

// sees is a process that goes on, and whose link is in a state with a cause.
func sees(state, cause string) verdict {
	return func(p *nasty.Plant, before, now client.Driver) error {
		if err := goesOn("")(p, before, now); err != nil {
			return err
		}
		l, err := badLink(p)
		if err != nil {
			return err
		}
		text := ""
		for _, c := range []*client.Fault{l.Cause, l.Devices[0].Cause} {
			if c != nil {
				text += c.Text + "\n"
			}
		}
		if l.Devices[0].State != state || !strings.Contains(text, cause) {
			return fmt.Errorf("link is %s, device is %s: %.300s", l.State, l.Devices[0].State, text)
		}
		return nil
	}
}

func badLink(p *nasty.Plant) (client.Link, error) {
	s, err := p.Status()
	if err != nil {
		return client.Link{}, err
	}
	for _, l := range s.Links {
		if l.Name == "bad" {
			return l, nil
		}
	}
	return client.Link{}, fmt.Errorf("there is no link bad")
}

// stores is a process that goes on, and whose samples are Bad with a fault that is not
// as long as the driver made it.
func stores(fault string) verdict {
	return func(p *nasty.Plant, before, now client.Driver) error {
		if err := goesOn("")(p, before, now); err != nil {
			return err
		}
		all := p.Stored("bad/d/value")
		if len(all) == 0 {
			return fmt.Errorf("no sample of it is stored")
		}
		if s := all[len(all)-1]; s.Quality != "bad" || !strings.Contains(s.Fault, fault) || len(s.Fault) > 2000 {
			return fmt.Errorf("its last sample is %s: %.300q of %d bytes", s.Quality, s.Fault, len(s.Fault))
		}
		return nil
	}
}

// refuses is a process that goes on, and of which nothing can be asked.
func refuses(fault string) verdict {
	return func(p *nasty.Plant, before, now client.Driver) error {
		if err := goesOn("")(p, before, now); err != nil {
			return err
		}
		out, err := p.CLI("read", "bad/d/value")
		if err == nil || !strings.Contains(string(out)+err.Error(), fault) {
			return fmt.Errorf("a read answers %.200s %w, want %q", out, err, fault)
		}
		return nil
	}
}

func logs(p *nasty.Plant) string {
	out, err := p.CLI("driver", "logs", p.Driver)
	if err != nil {
		return err.Error()
	}
	return string(out)
}

// One driver does something wrong while it runs, and ends in the right state; the
// other's intervals do not move, and the gateway's memory does not grow.
func TestDeeds(t *testing.T) {
	program := nasty.Program(t)
	for _, c := range []struct {
		name, driver, deed string
		main               string
		within             time.Duration
		end                verdict
		atLeast            time.Duration // the deed goes on for so long
	}{
		{"SIGSTOP", "nasty", "SIGSTOP", "", 15 * time.Second, restarted("no heartbeat"), 0},
		{"heartbeats stop", "wire", "mute", "", 15 * time.Second, restarted("no heartbeat"), 0},
		{"progress stops, heartbeats go on", "wire", "stall", "", 25 * time.Second, restarted("no progress"), 0},
		{"a call that never returns", "nasty", "hang", "", 20 * time.Second, sees("up", ""), 8 * time.Second},
		{"deadlock in every call", "nasty", "deadlock", "", 150 * time.Second, restarted("it hangs"), 0},
		{"spins on all processors", "nasty", "spin", "", 20 * time.Second, goesOn(""), 10 * time.Second},
		{"eats memory, confined", "nasty", "eat", "processes: {nasty: {memory: 128MiB}}\n", 30 * time.Second, restarted("memory"), 0},
		{"floods stderr", "nasty", "flood", "", 60 * time.Second, goesOn("the flood is over"), 0},
		{"floods stderr, detached", "nasty", "flood", "detach: true\n", 60 * time.Second, goesOn("the flood is over"), 0},
		{"forks, confined", "nasty", "fork", "", 10 * time.Second, goesOn("no child:"), 0},
		{"answers with a value of 100 MB", "nasty", "huge", "", 20 * time.Second, stores("longer"), 5 * time.Second},
		{"answers with a fault of 100 MB", "nasty", "fault", "", 20 * time.Second, stores("fff"), 5 * time.Second},
		{"sends a message of 100 MB", "wire", "batch", "", 30 * time.Second, restarted("broke 5 times"), 0},
		{"answers calls with 100 MB", "wire", "answer", "", 20 * time.Second, refuses("larger"), 5 * time.Second},
		{"panics", "nasty", "panic", "", 10 * time.Second, restarted("panic: the driver has a bug"), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := nasty.Start(t, program, nasty.Config{Driver: c.driver, Main: c.main})
			before := p.Healthy()
			time.Sleep(quiet)
			w := p.Watch()
			if c.deed == "SIGSTOP" {
				if err := syscall.Kill(before.PID, syscall.SIGSTOP); err != nil {
					t.Fatal(err)
				}
			} else {
				p.Do(c.deed)
			}
			time.Sleep(c.atLeast)
			after := p.Until(c.within, func(now client.Driver) error { return c.end(p, before, now) })
			judge(t, p, w, fmt.Sprintf("%s, %d restarts, %.120q", after.State, after.Restarts, after.Cause))
		})
	}
}

// judge ends a case: its toll, what was stored, and the end of the gateway.
func judge(t *testing.T, p *nasty.Plant, w *nasty.Watch, end string) {
	t.Helper()
	toll := w.Toll()
	t.Logf("%s: %v", end, toll)
	if err := toll.Check(most); err != nil {
		t.Error(err)
	}
	if n := len(p.Log()); n > 4<<20 {
		t.Errorf("the gateway logged %d bytes", n)
	}
	if err := p.EachOnce(); err != nil {
		t.Error(err)
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
			quarantined := func(d client.Driver) error {
				if err := nasty.Is(d, "quarantined"); err != nil {
					return err
				}
				return nasty.Caused(d, c.cause)
			}
			d := p.Until(90*time.Second, quarantined)
			end := fmt.Sprintf("%s, %.160q", d.State, d.Cause)
			if !strings.Contains(d.Cause, "5 deaths in 5m0s") {
				t.Errorf("the cause is %q", d.Cause)
			}
			if c.does == "chatter" {
				judgeLines(t, p, d)
			}
			lift(t, p, c.does != "", quarantined)
			judge(t, p, w, end)
		})
	}
}

// judgeLines wants the last lines of a driver that wrote 300 in every life.
func judgeLines(t *testing.T, p *nasty.Plant, d client.Driver) {
	t.Helper()
	if n := len(d.Stderr); n == 0 || d.Stderr[n-1] != "line 300 of 300" {
		t.Errorf("status has the lines %q", d.Stderr)
	}
	lines := strings.Split(strings.TrimSpace(logs(p)), "\n")
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

// A driver that ignores Drain is stopped in bounded time, whoever asks for it.
func TestIgnoresDrain(t *testing.T) {
	program := nasty.Program(t)
	for _, driver := range []string{"nasty", "wire"} {
		t.Run(driver, func(t *testing.T) {
			p := nasty.Start(t, program, nasty.Config{Driver: driver})
			before := p.Healthy()
			time.Sleep(quiet)
			w := p.Watch()
			p.Do("stay")
			begun := time.Now()
			if out, err := p.CLI("driver", "disable", driver); err != nil {
				t.Errorf("disable: %v %s", err, out)
			}
			d := p.Until(20*time.Second, func(d client.Driver) error { return nasty.Is(d, "stopped") })
			t.Logf("stopped after %v", time.Since(begun).Round(time.Millisecond))
			dead(t, before.PID, 15*time.Second)
			toll := w.Toll()
			t.Logf("disabled: %s, %q: %v", d.State, d.Cause, toll)
			if err := toll.Check(most); err != nil {
				t.Error(err)
			}
			if out, err := p.CLI("driver", "enable", driver); err != nil {
				t.Errorf("enable: %v %s", err, out)
			}
			p.Healthy()
			p.Do("stay")
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
				m := regexp.MustCompile(`child (\d+)`).FindStringSubmatch(logs(p))
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
			judge(t, p, w, fmt.Sprintf("active again %v after the kill", took.Round(time.Millisecond)))
		})
	}
}
