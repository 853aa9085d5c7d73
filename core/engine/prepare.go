package engine

import (
	"context"
	"log/slog"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

// A handle is what a driver made of a device, by its abilities.
type handle struct {
	reader     driver.Reader
	preparer   driver.Preparer
	writer     driver.Writer
	browser    driver.Browser
	subscriber driver.Subscriber
	probe      driver.Reader // of the first point
}

// A preparation is a handle with a reader for each scan class.
type preparation struct {
	handle
	groups []driver.Reader
}

func handleOf(d driver.Device) (h handle) {
	h.reader, _ = d.(driver.Reader)
	h.preparer, _ = d.(driver.Preparer)
	h.writer, _ = d.(driver.Writer)
	h.browser, _ = d.(driver.Browser)
	h.subscriber, _ = d.(driver.Subscriber)
	return h
}

func (r *runner) open(ctx context.Context) (err error) {
	r.opened, err = r.l.dialer.open(ctx, r.kept)
	return err
}

// A dialer has the driver open one link. It takes no lock.
type dialer struct {
	e      *Engine
	spec   *control.Link
	log    *slog.Logger
	losses driver.Losses
}

func (d *dialer) open(ctx context.Context, kept []byte) (driver.Link, error) {
	e, name := d.e, d.spec.Name
	cfg := driver.LinkConfig{Name: name, Timeout: d.spec.Timeout, Gap: d.spec.Gap, Settings: d.spec.Settings, Kept: kept}
	env := driver.Env{Log: d.log, Gateway: e.o.Gateway, Meter: e.meters.of(name), Losses: d.losses}
	if e.o.Store != nil {
		env.Store = e.o.Store(name)
	}
	if e.o.Secrets != nil {
		env.Secrets = e.o.Secrets(name)
	}
	return e.driver.Open(ctx, cfg, env)
}

// prepare has the driver parse a device, and compiles each scan class of it.
func (r *runner) prepare(ctx context.Context) error {
	d := r.job.d
	opened, err := r.session.link.Device(ctx, driver.DeviceConfig{
		Name: d.spec.Name, Settings: d.spec.Settings, Points: d.table.points,
	})
	if err != nil {
		return err
	}
	p := &preparation{handle: handleOf(opened), groups: make([]driver.Reader, len(d.groups))}
	if p.reader == nil && p.preparer == nil && p.subscriber == nil && len(d.groups) > 0 {
		return driver.Errorf(driver.Internal, "device %s can neither be read nor subscribed to", d.spec.Name)
	}
	for i, g := range d.groups {
		if p.groups[i], err = p.compile(g.set.points); err != nil {
			return err
		}
	}
	if len(d.table.all.points) > 0 {
		p.probe, err = p.compile(d.table.all.points[:1])
	}
	r.prepared = p
	return err
}

// compile gives a reader for these points; nil for a device that only pushes.
func (h *handle) compile(points []driver.Point) (driver.Reader, error) {
	if h.preparer == nil {
		return h.reader, nil
	}
	compiled, err := h.preparer.Prepare(points)
	if err == nil && compiled == nil {
		err = driver.Errorf(driver.Internal, "the driver prepared nothing and gave no error")
	}
	return compiled, err
}
