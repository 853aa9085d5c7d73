package plugin_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fieldloom/fieldloom/core/internal/host"
	"github.com/fieldloom/fieldloom/core/internal/wire"
)

func TestReattachWantsTheSameProcess(t *testing.T) {
	p := launch(t, detached("fake"))
	stranger := launch(t, detached("fake"))
	for name, tc := range map[string]struct {
		change func(*wire.Record)
		gone   bool
	}{
		"number given to another": {func(r *wire.Record) { r.PID = os.Getpid() }, true},
		"started later":           {func(r *wire.Record) { r.Start++ }, true},
		"other executable":        {func(r *wire.Record) { r.Image = strings.Repeat("0", 64) }, false},
		"other epoch":             {func(r *wire.Record) { r.Epoch++ }, false},
		"other socket":            {func(r *wire.Record) { r.Identity.Address = stranger.Identity().Address }, false},
		"other key":               {func(r *wire.Record) { r.Identity.Driver = stranger.Identity().Driver }, false},
	} {
		r := p.Record()
		r.Dir = t.TempDir() // not to be cleaned up after a process that lives
		if name == "other epoch" {
			r.Dir = p.Record().Dir
		}
		tc.change(&r)
		got, err := host.Reattach(t.Context(), r, command(""))
		if err == nil {
			_ = got.Release()
		}
		if !errors.Is(err, host.ErrNotTheSame) || errors.Is(err, host.ErrGone) != tc.gone {
			t.Errorf("%s: %v", name, err)
		}
	}
	r := p.Record()
	r.Boot, r.Dir = "another", t.TempDir()
	if _, err := host.Reattach(t.Context(), r, command("")); !errors.Is(err, host.ErrGone) {
		t.Errorf("another boot: %v", err)
	}
	if _, err := p.Status(t.Context()); err != nil {
		t.Errorf("the process was touched: %v", err)
	}
}

func TestTwoCoresFight(t *testing.T) {
	c := detached("saturate")
	older := launch(t, c)
	to := newCollector(t)
	first := attach(t, older, host.Hello{CoreEpoch: 1, Frames: 100}, to)
	c.RunDir = t.TempDir()
	newer := reattach(t, older.Record(), c)
	second := attach(t, newer, host.Hello{CoreEpoch: 2, Frames: 100}, newCollector(t))
	waitFor(t, first.Done(), "eviction")
	if !errors.Is(first.Err(), wire.ErrEvicted) {
		t.Errorf("%v", first.Err())
	}
	if _, err := older.Attach(t.Context(), host.Hello{CoreEpoch: 1}, to); !errors.Is(err, wire.ErrEvicted) {
		t.Errorf("the older core attached again: %v", err)
	}
	if err := older.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := newer.Status(t.Context()); err != nil {
		t.Errorf("the older core ended the newer's process: %v", err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if err := newer.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestReattachToStoppedProcess(t *testing.T) {
	o := startOther(t, ",parent:")
	o.kill(t)
	if err := unix.PidfdSendSignal(o.driver, unix.SIGSTOP, nil, 0); err != nil {
		t.Fatal(err)
	}
	c := command("")
	c.StartTimeout = 300 * time.Millisecond
	began := time.Now()
	_, err := host.Reattach(t.Context(), o.record, c)
	if err == nil || errors.Is(err, host.ErrGone) || errors.Is(err, host.ErrNotTheSame) || time.Since(began) > 20*time.Second {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
	child := childIn(t, o)
	other := o.record
	other.Start++
	if err := host.Kill(t.Context(), other); !errors.Is(err, host.ErrNotTheSame) {
		t.Errorf("kill of another: %v", err)
	}
	if err := host.Kill(t.Context(), o.record); err != nil {
		t.Fatal(err)
	}
	waitDead(t, o.driver)
	waitDead(t, child)
}
