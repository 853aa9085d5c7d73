package drivertest

import (
	"context"
	"encoding/json"
	"reflect"
	"runtime"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

// Run runs the conformance scenarios as subtests of t. A scenario of an ability
// that the Setup declares to be lacking is reported as skipped with that reason.
func Run(t *testing.T, s Setup) {
	s.complete(t)
	s.index()
	k := &kit{rig{s}}
	for _, scenario := range []struct {
		name  string
		needs Ability
		run   func(*testing.T)
	}{
		{"info is stable and its schemas are JSON", "", k.info},
		{"abilities are those declared", "", k.abilities},
		{"open refuses wrong settings", Settings, k.badSettings},
		{"open ends with its context", "", k.openCancelled},
		{"device reports all wrong addresses together", Address, k.badAddresses},
		{"check reports all wrong addresses without I/O", Check, k.check},
		{"read fills every sample", Read, k.read},
		{"a prepared read answers the same", Prepare, k.prepared},
		{"a missing point fails no other", Missing, k.missing},
		{"a written value is read back", Write, k.write},
		{"a wrong value is refused", Refusal, k.badWrite},
		{"subscribe delivers, and ends with its context", Subscribe, k.subscribe},
		{"browse lists and keeps its limit", Browse, k.browse},
		{"discover asks candidate after candidate", Discover, k.discover},
		{"concurrent calls within the window", Pipeline, k.pipeline},
		{"what a link keeps is taken, and what is no such thing does no harm", Keep, k.keep},
		{"a silent device ends with the deadline", Silence, k.silent},
		{"close ends a call in flight", Silence, k.closeInFlight},
		{"close twice, and calls after it", "", k.closeTwice},
		{"no goroutine is left", "", k.goroutines},
	} {
		t.Run(scenario.name, func(t *testing.T) {
			if scenario.needs != "" && s.lacks(scenario.needs) {
				t.Skipf("declared as lacking: %s", scenario.needs)
			}
			scenario.run(t)
		})
	}
}

// kit has a method for each scenario.
type kit struct{ rig }

func (k *kit) info(t *testing.T) {
	info := k.Driver.Info()
	if !reflect.DeepEqual(info, k.Driver.Info()) {
		t.Error("two calls of Info differ")
	}
	if info.Name == "" || info.Version == "" {
		t.Errorf("name %q, version %q", info.Name, info.Version)
	}
	for name, schema := range map[string]json.RawMessage{
		"link": info.LinkSchema, "device": info.DeviceSchema, "address": info.AddressSchema,
	} {
		var object map[string]any
		if len(schema) > 0 && json.Unmarshal(schema, &object) != nil {
			t.Errorf("the schema of the %s is no JSON object", name)
		}
	}
}

func (k *kit) abilities(t *testing.T) {
	l := k.open(t, k.Link)
	d := k.device(t, l, k.Device)
	has := map[Ability]bool{}
	_, has[Check] = k.Driver.(driver.Checker)
	_, has[Discover] = l.(driver.Discoverer)
	_, has[Pipeline] = l.(driver.Pipeliner)
	_, has[Keep] = l.(driver.Keeper)
	_, has[Read] = d.(driver.Reader)
	_, has[Prepare] = d.(driver.Preparer)
	_, has[Subscribe] = d.(driver.Subscriber)
	_, has[Write] = d.(driver.Writer)
	_, has[Browse] = d.(driver.Browser)
	for a, there := range has {
		if there == k.lacks(a) {
			t.Errorf("ability %q: implemented: %v, declared as lacking: %v", a, there, k.lacks(a))
		}
	}
	if !has[Read] && !has[Prepare] && !has[Subscribe] {
		t.Error("the device can neither be read nor subscribed to")
	}
}

func (k *kit) badSettings(t *testing.T) {
	for _, settings := range k.BadLinks {
		cfg := k.Link
		cfg.Settings = settings
		l, err := k.Driver.Open(k.bounded(t, cfg.Timeout), cfg, k.env())
		if driver.CodeOf(err) != driver.InvalidConfig {
			t.Errorf("open with %s: %v, want %v", settings, err, driver.InvalidConfig)
		}
		if err == nil {
			k.close(t, l)
		}
	}
}

func (k *kit) openCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	within(t, k.Link.Timeout+patience, "Open with a context that is done", func() {
		// Whether it fails is the driver's matter: it may need no I/O.
		if l, err := k.Driver.Open(ctx, k.Link, k.env()); err == nil {
			k.close(t, l)
		}
	})
}

func (k *kit) badAddresses(t *testing.T) {
	l := k.open(t, k.Link)
	_, err := l.Device(k.bounded(t, k.Link.Timeout), k.BadDevice)
	k.wantAllBad(t, err)
}

func (k *kit) check(t *testing.T) {
	c, ok := k.Driver.(driver.Checker)
	if !ok {
		t.Fatal("the driver is no Checker")
	}
	if err := c.Check(k.Link, []driver.DeviceConfig{k.Device}); err != nil {
		t.Errorf("a right configuration: %v", err)
	}
	if !k.lacks(Address) {
		k.wantAllBad(t, c.Check(k.Link, []driver.DeviceConfig{k.Device, k.BadDevice}))
	}
}

// wantAllBad expects at least two faults, with the names of different points.
func (k *kit) wantAllBad(t *testing.T, err error) {
	t.Helper()
	if driver.CodeOf(err) != driver.InvalidConfig {
		t.Fatalf("device with wrong addresses: %v, want %v", err, driver.InvalidConfig)
	}
	points := map[string]bool{}
	for _, f := range driver.ConfigErrors(err) {
		if f.Point != "" {
			points[f.Point] = true
		}
		if f.Text == "" {
			t.Errorf("a fault says nothing: %+v", f)
		}
	}
	if len(points) < 2 {
		t.Errorf("the faults name %d points, want all that are wrong: %v", len(points), err)
	}
}

func (k *kit) closeTwice(t *testing.T) {
	l := k.open(t, k.Link)
	d := k.device(t, l, k.Device)
	k.close(t, l)
	k.close(t, l)
	r, ok := d.(driver.Reader)
	if !ok {
		return
	}
	within(t, k.Link.Timeout+patience, "Read on a closed link", func() {
		err := r.Read(k.bounded(t, k.Link.Timeout), k.Device.Points, make([]driver.Sample, len(k.Device.Points)))
		if driver.CodeOf(err) != driver.NotConnected {
			t.Errorf("read on a closed link: %v, want %v", err, driver.NotConnected)
		}
	})
}

// goroutines opens, uses and closes a link, and waits for all that it started to
// end. The peer's own goroutines for it must end too.
func (k *kit) goroutines(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("use", func(t *testing.T) {
		d := k.device(t, k.open(t, k.Link), k.Device)
		if r, ok := d.(driver.Reader); ok {
			out := make([]driver.Sample, len(k.Device.Points))
			if err := r.Read(k.bounded(t, k.Link.Timeout), k.Device.Points, out); err != nil {
				t.Errorf("read: %v", err)
			}
		}
	})
	limit := time.After(patience)
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for runtime.NumGoroutine() > before {
		select {
		case <-poll.C:
		case <-limit:
			stacks := make([]byte, 1<<16)
			t.Fatalf("%d goroutines more than before:\n%s", runtime.NumGoroutine()-before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}
