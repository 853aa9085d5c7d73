package engine

import (
	"context"

	"github.com/fieldloom/fieldloom/core/driver"
)

// maxWindow bounds the concurrent calls of a link that pipelines.
const maxWindow = 64

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

func newSessionContext() (context.Context, context.CancelFunc) {
	return context.WithCancel(context.Background())
}

func (r *runner) open(ctx context.Context) (err error) {
	r.opened, err = r.l.dial(ctx, r.kept)
	return err
}

// dial has the driver open the link. It takes no lock.
func (l *link) dial(ctx context.Context, kept []byte) (driver.Link, error) {
	e := l.e
	cfg := driver.LinkConfig{Name: l.name, Timeout: l.spec.Timeout, Settings: l.spec.Settings, Kept: kept}
	env := driver.Env{Log: l.log, Gateway: e.o.Gateway, Meter: e.meters.of(l.name), Losses: linkLosses{e.losses, l}}
	if e.o.Store != nil {
		env.Store = e.o.Store(l.name)
	}
	if e.o.Secrets != nil {
		env.Secrets = e.o.Secrets(l.name)
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

// leaveOut takes the points that the driver called unsupported out of a group. A
// driver that prepares its reads leaves them out itself.
func (l *link) leaveOut(g *group, samples []driver.Sample) {
	if g.d.handle.preparer != nil {
		return
	}
	kept := &set{class: g.set.class}
	for i, p := range g.set.points {
		if f := samples[i].Fault; f == nil || f.Code != driver.Unsupported {
			kept.add(p)
		}
	}
	g.set = kept
	g.off = len(kept.points) == 0
}
