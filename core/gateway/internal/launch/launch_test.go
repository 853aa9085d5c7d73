package launch

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/confine"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/internal/depot"
	"github.com/fieldloom/fieldloom/core/internal/host"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
	"github.com/fieldloom/fieldloom/core/pack"
)

func TestMain(m *testing.M) {
	confine.Main() // the shim of the drivers that the tests start
	m.Run()
}

// TestShortageOfDescriptorsIsTold starts a driver with too few descriptors, with one more
// each time. That the gateway is short of something is no death of the driver, so it must
// be seen wherever the start fails.
func TestShortageOfDescriptorsIsTold(t *testing.T) {
	c := parsed(t, "unsigned: allow-dev\n")
	drivers := t.TempDir()
	if err := os.WriteFile(filepath.Join(drivers, "driver-acme"), []byte("#!/bin/sh\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	d, err := depot.Open(depot.Options{Dir: depot.Fixed(drivers), Policy: depot.Fixed(depot.AllowDev)})
	if err != nil {
		t.Fatal(err)
	}
	l := &Launcher{
		depot: d, configs: func() []*config.Config { return []*config.Config{c} }, fleet: new(fleet), runDir: t.TempDir(),
		logs:     newDriverLogs(slog.New(slog.DiscardHandler), func(string) slog.Level { return slog.LevelInfo }),
		services: func(string) host.Services { return nil },
	}
	img, err := l.Image("acme", "")
	if err != nil {
		t.Fatal(err)
	}
	failed := 0
	for more := range uint64(40) {
		err := withFewFiles(t, more, func() error {
			_, err := l.Launch(context.Background(), supervise.LaunchSpec{Driver: "acme", Image: img})
			return err
		})
		if err == nil || strings.Contains(err.Error(), "it ended before it was ready") {
			break
		}
		if failed++; !errors.Is(err, syscall.EMFILE) {
			t.Errorf("with %d descriptors: %v", more, err)
		}
	}
	if failed < 4 {
		t.Errorf("%d starts failed for want of descriptors", failed)
	}
}

// withFewFiles calls f with so many descriptors left to this process.
func withFewFiles(t *testing.T, more uint64, f func() error) error {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	lowest, err := unix.Dup(0)
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(lowest)
	few := limit
	few.Cur = uint64(lowest) + more
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	err = f()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	return err
}

func TestDriverEnvKeepsBelowTheLimit(t *testing.T) {
	for _, tc := range []struct {
		policy confine.Policy
		want   string
	}{
		{confine.Policy{Mode: confine.BestEffort}, "GOMEMLIMIT=469762048"}, // 448 of 512 MiB
		{confine.Policy{Mode: confine.Required, Memory: 32 << 20}, "GOMEMLIMIT=29360128"},
		{confine.Policy{Mode: confine.Required, Memory: 8 << 30}, "GOMEMLIMIT=7516192768"},
	} {
		if env := Env(&tc.policy); !slices.Contains(env, tc.want) {
			t.Errorf("%+v: %v, want %s", tc.policy, env, tc.want)
		}
	}
	if env := Env(&confine.Policy{Memory: 32 << 20}); len(env) != 1 {
		t.Errorf("%v where no limit is in force", env)
	}
}

// A process that was given more rights while it ran is what the next gateway wants too.
func TestRenewalsSurviveARestart(t *testing.T) {
	c := &config.Config{}
	of := &depot.Image{Driver: "acme", Version: "1.2-3", Manifest: &pack.Manifest{Name: "acme"}}
	launcherOf := func() *Launcher {
		return &Launcher{configs: func() []*config.Config { return []*config.Config{c} }}
	}
	hash := func(l *Launcher) string { return image{of, l.rights("acme", of)}.Hash() }
	before := launcherOf()
	before.renewals = map[string]int{"acme": 11}
	old := hash(before)
	next := launcherOf()
	if hash(next) == old {
		t.Fatalf("both have the hash %s", old)
	}
	for _, adopted := range []string{old, "", "no number", hash(launcherOf())} {
		next.renewed("acme", adopted)
		if got := hash(next); got != old {
			t.Errorf("after %q: %s, want %s", adopted, got, old)
		}
	}
}

// A driver that somebody is to start by hand is waited for: that it is not there is no
// death of it.
func TestADriverThatNobodyHasStartedYet(t *testing.T) {
	c := parsed(t, "gateway: g\n")
	l := &Launcher{
		configs: func() []*config.Config { return []*config.Config{c} }, attach: map[string]string{"acme": filepath.Join(t.TempDir(), "record.json")},
		logs:     newDriverLogs(slog.New(slog.DiscardHandler), func(string) slog.Level { return slog.LevelInfo }),
		services: func(string) host.Services { return nil },
	}
	_, err := l.Launch(t.Context(), supervise.LaunchSpec{Driver: "acme"})
	if driver.CodeOf(err) != driver.InvalidConfig || !strings.Contains(err.Error(), "start it by hand with FIELDLOOM_SERVE") {
		t.Errorf("%v: %v", driver.CodeOf(err), err)
	}
}
