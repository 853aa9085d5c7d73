package engine

import (
	"context"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

// find looks up a device and points of it.
func (e *Engine) find(link, device string, points ...string) (*link, *device, []driver.Point, error) {
	l, err := e.links.find(link)
	if err != nil {
		return nil, nil, nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.roster.find(device)
	if d == nil {
		return nil, nil, nil, driver.Errorf(driver.NotFound, "link %s has no device %q", link, device)
	}
	found := make([]driver.Point, len(points))
	for i, name := range points {
		at, ok := d.table.names[name]
		if !ok {
			return nil, nil, nil, driver.Errorf(driver.NotFound, "device %s/%s has no point %q", link, device, name)
		}
		found[i] = d.table.points[at]
	}
	return l, d, found, nil
}

// Read asks a device for points, before its next poll. The samples do not go into
// the stream.
func (e *Engine) Read(ctx context.Context, link, device string, points []string) ([]control.NamedSample, error) {
	l, d, found, err := e.find(link, device, points...)
	if err != nil || len(points) == 0 {
		return nil, err
	}
	for _, p := range found {
		if !d.table.config.Points[p.Index].Readable {
			return nil, driver.Errorf(driver.Denied, "point %s/%s/%s is write-only: its access is w", link, device, p.Name)
		}
	}
	q := &request{kind: askRead, d: d, points: found}
	if err := l.ask(ctx, q); err != nil {
		return nil, err
	}
	samples := make([]control.NamedSample, len(found))
	for i, p := range found {
		samples[i] = control.NamedSample{Point: p.Name, Sample: q.samples[i]}
	}
	return samples, nil
}

// Write writes one point, before anything else that waits at its link. It is
// never repeated.
func (e *Engine) Write(ctx context.Context, link, device, point string, v driver.Value) error {
	l, d, found, err := e.find(link, device, point)
	if err != nil {
		return err
	}
	p := &d.table.config.Points[found[0].Index]
	if !p.Writable {
		return driver.Errorf(driver.Denied, "point %s/%s/%s is read-only: give it `access: rw` to write it", link, device, point)
	}
	if err := bounded(p, v); err != nil {
		return err
	}
	if d.table.shapes != nil {
		if v, err = d.table.shapes[found[0].Index].toDevice(v); err != nil {
			return err
		}
	}
	return l.ask(ctx, &request{kind: askWrite, d: d, points: found, value: v})
}

// Browse lists addresses of a device that can tell them.
func (e *Engine) Browse(ctx context.Context, link, device, prefix string, limit int) ([]driver.Entry, error) {
	l, d, _, err := e.find(link, device)
	if err != nil {
		return nil, err
	}
	if limit <= 0 || limit > maxBrowse {
		limit = maxBrowse
	}
	q := &request{kind: askBrowse, d: d, prefix: prefix, most: limit}
	if err := l.ask(ctx, q); err != nil {
		return nil, err
	}
	return q.entries[:min(len(q.entries), limit)], nil
}

// Values returns what is known of the points of a device without asking it, from the first-th
// of its table on. Points of which nothing is known are left out. next is where another
// call goes on; 0: there is no more.
func (e *Engine) Values(_ context.Context, link, device string, first int) (values []control.LastValue, next int, err error) {
	l, d, _, err := e.find(link, device)
	if err != nil {
		return nil, 0, err
	}
	end := len(d.table.points)
	if first = max(first, 0); first >= end {
		return nil, 0, nil
	}
	if next = first + lastPage; next >= end {
		next = 0
	} else {
		end = next
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return d.values.lastOf(d.groups, first, end), next, nil
}

// Check proves that a link, or a device of it, works: an off-line link is opened for the
// length of the call, an off-line device is asked beside its neighbours, and what is
// on line is read as Read does. Without a device it is enough that any answers.
func (e *Engine) Check(ctx context.Context, link, device string) error {
	l, err := e.links.find(link)
	if err != nil {
		return err
	}
	c := &checkup{l: l}
	devices, offline, err := c.devices(device)
	if err != nil {
		return err
	}
	if offline {
		return c.try(ctx, devices)
	}
	err = c.askAny(ctx, devices)
	if err != nil && len(devices) > 1 {
		return driver.Errorf(driver.CodeOf(err), "no device of link %s answers; the last one: %w", link, err)
	}
	return err
}
