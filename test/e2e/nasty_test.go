package e2e_test

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/test/nasty"
)

// A driver that misbehaves ends in the right state, and its neighbour's samples are
// stored once each; `make chaos` does the rest of it and looks at the clock.
func TestNastyDriver(t *testing.T) {
	program := nasty.Program(t)
	quick := []string{"SIGSTOP", "floods stderr", "sends a message of 100 MB", "eats memory, confined", "forks, confined",
		"forges another's points", "claims a million nulls in 24 bytes", "floods with texts of 7 MB"}
	for _, d := range nasty.Deeds() {
		if !slices.Contains(quick, d.Name) {
			continue
		}
		t.Run(d.Name, func(t *testing.T) {
			t.Parallel()
			p, toll := d.Run(t, program, 0)
			if toll.Peak-toll.Before > nasty.Most {
				t.Errorf("the gateway took %d MB more memory", (toll.Peak-toll.Before)>>20)
			}
			if err := p.EachOnce(); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("has the epoch of the process before", func(t *testing.T) {
		t.Parallel()
		p := nasty.Start(t, program, nasty.Config{Driver: "again"})
		if err := syscall.Kill(p.Healthy().PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		p.Until(time.Minute, func(d client.Driver) error { return nasty.Quarantined(d, "that of a process before it") })
		if err := p.EachOnce(); err != nil {
			t.Error(err)
		}
	})
	t.Run("prints before its handshake", func(t *testing.T) {
		t.Parallel()
		p := nasty.Start(t, program, nasty.Config{Driver: "early"})
		p.Until(time.Minute, func(d client.Driver) error { return nasty.Quarantined(d, "before its handshake") })
		if err := p.EachOnce(); err != nil {
			t.Error(err)
		}
	})
}
