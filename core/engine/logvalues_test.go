package engine_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/engine"
)

// At level debug the values of each poll are in the log, with link and device, and at info
// nothing is; what a device sends cannot break out of its line.
func TestDebugShowsTheValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		var level slog.LevelVar
		r := newRig(t, engine.Options{Log: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: &level}))})
		d := r.set("l", "d1", 2)
		d.Set("a1", driver.StringValue("x\x1b[2J\n"))
		r.apply(link("l", 1, table(2)))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if out.Len() > 0 {
			t.Errorf("at level info:\n%s", out.String())
		}
		level.Set(slog.LevelDebug)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if n := strings.Count(out.String(), `link=l device=d1 call=Read points=2 values="p0=0 p1=\"x\\x1b[2J\\n\""`); n != 5 {
			t.Errorf("%d lines of 5 polls:\n%s", n, out.String())
		}
	})
}

// While a link does not open, or a device does not answer, what is told has the attempts that
// failed, now and then; and the engine says nothing of it above debug.
func TestAttemptsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		r := newRig(t, engine.Options{Log: slog.New(slog.NewTextHandler(&out, nil))})
		r.set("l", "d1", 1)
		r.fake.Link("l").FailOpen(driver.Errorf(driver.NotConnected, "refused"))
		r.apply(link("l", 1, table(1)))
		time.Sleep(10 * time.Minute)
		r.fake.Link("l").FailOpen(nil)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		r.mu.Lock()
		defer r.mu.Unlock()
		var last, told uint64
		up := false
		for _, e := range r.events {
			if e.Device != "" || up {
				continue
			}
			if e.Failures < last {
				t.Errorf("%d failures after %d", e.Failures, last)
			}
			last, up = e.Failures, e.Condition == control.Up
			told++
		}
		if !up || last < 15 || told < 8 || told > 25 {
			t.Errorf("up %v, %d failures in %d events", up, last, told)
		}
		if out.Len() > 0 {
			t.Errorf("the engine says too:\n%s", out.String())
		}
	})
}
