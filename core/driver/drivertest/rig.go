package drivertest

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

// patience is how much longer than its deadline a call may take on a busy machine.
const patience = 5 * time.Second

// rig opens the links and devices of a Setup, and uses them, each call within its time.
type rig struct{ Setup }

// within runs a call and fails when it does not return in time.
func within(t *testing.T, limit time.Duration, what string, call func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		call()
	}()
	select {
	case <-done:
	case <-time.After(limit):
		t.Fatalf("%s did not return within %v", what, limit)
	}
}

func (g *rig) bounded(t *testing.T, timeout time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 8*timeout)
	t.Cleanup(cancel)
	return ctx
}

func (g *rig) env() driver.Env { return driver.Env{Log: slog.New(slog.DiscardHandler)} }

// open opens a link, which is closed with the test.
func (g *rig) open(t *testing.T, cfg driver.LinkConfig) driver.Link {
	t.Helper()
	var l driver.Link
	var err error
	within(t, 8*cfg.Timeout+patience, "Open", func() {
		l, err = g.Driver.Open(g.bounded(t, cfg.Timeout), cfg, g.env())
	})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { g.close(t, l) })
	return l
}

func (g *rig) close(t *testing.T, l driver.Link) {
	t.Helper()
	within(t, 2*patience, "Close", func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := l.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	})
}

func (g *rig) device(t *testing.T, l driver.Link, cfg driver.DeviceConfig) driver.Device {
	t.Helper()
	d, err := l.Device(g.bounded(t, g.Link.Timeout), cfg)
	if err != nil {
		t.Fatalf("device: %v", err)
	}
	return d
}

// reading opens the link and the device, and reads points of it.
func (g *rig) reading(t *testing.T) (driver.Device, driver.Reader) {
	t.Helper()
	d := g.device(t, g.open(t, g.Link), g.Device)
	r, ok := d.(driver.Reader)
	if !ok {
		t.Fatal("the device is no Reader")
	}
	return d, r
}

func (g *rig) readAll(t *testing.T, r driver.Reader, points []driver.Point) []driver.Sample {
	t.Helper()
	out := make([]driver.Sample, len(points))
	within(t, 8*g.Link.Timeout+patience, "Read", func() {
		if err := r.Read(g.bounded(t, g.Link.Timeout), points, out); err != nil {
			t.Errorf("read: %v", err)
		}
	})
	for i, s := range out {
		if s.Quality != driver.Good || s.Fault != nil || s.Value.Kind() == driver.KindNull {
			t.Errorf("point %s is %v %v: %v", points[i].Name, s.Quality, s.Value, s.Fault)
		}
	}
	return out
}

func (g *rig) point(t *testing.T, name string) driver.Point {
	t.Helper()
	for _, p := range g.Device.Points {
		if p.Name == name {
			return p
		}
	}
	t.Fatalf("Setup.Device has no point %q", name)
	return driver.Point{}
}

func (g *rig) writer(t *testing.T) (driver.Device, driver.Writer) {
	t.Helper()
	d := g.device(t, g.open(t, g.Link), g.Device)
	w, ok := d.(driver.Writer)
	if !ok {
		t.Fatal("the device is no Writer")
	}
	return d, w
}

// silentReader gives a Reader of the silent device.
func (g *rig) silentReader(t *testing.T) (driver.Link, driver.Reader) {
	t.Helper()
	l := g.open(t, g.SilentLink)
	r, ok := g.device(t, l, g.Silent).(driver.Reader)
	if !ok {
		t.Fatal("the silent device is no Reader: declare the ability silence as lacking")
	}
	return l, r
}
