package drivertest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

// A FakeDevice is the script of a device, and what happened to it.
type FakeDevice struct {
	name string

	mu       sync.Mutex
	values   map[string]driver.Sample
	delay    time.Duration
	fail     error
	silent   bool
	panics   any
	hang     chan struct{}
	prepares bool
	pushes   bool
	polls    []Poll
	writes   []Written

	emit       driver.EmitFunc
	emitCtx    context.Context
	subscribed chan struct{} // closed while there is an emit
}

// A Poll is one Read.
type Poll struct {
	At     time.Time
	Points int
}

// A Written is one Write.
type Written struct {
	At      time.Time
	Address string
	Value   driver.Value
}

// Set gives an address a Good value.
func (d *FakeDevice) Set(address string, v driver.Value) {
	d.SetSample(address, driver.GoodSample(v))
}

// SetSample gives an address a sample.
func (d *FakeDevice) SetSample(address string, s driver.Sample) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.values[address] = s
}

// Delay is how long every call takes.
func (d *FakeDevice) Delay(t time.Duration) { d.mu.Lock(); defer d.mu.Unlock(); d.delay = t }

// Fail makes every call fail with err, until it is nil.
func (d *FakeDevice) Fail(err error) { d.mu.Lock(); defer d.mu.Unlock(); d.fail = err }

// Silence makes the device dead: every call ends with Timeout, after the link's
// time-out or the context, whichever is first.
func (d *FakeDevice) Silence(on bool) { d.mu.Lock(); defer d.mu.Unlock(); d.silent = on }

// Panic makes every call panic with v, until it is nil.
func (d *FakeDevice) Panic(v any) { d.mu.Lock(); defer d.mu.Unlock(); d.panics = v }

// Prepares makes the device a driver.Preparer, from the next Device call on.
func (d *FakeDevice) Prepares() { d.mu.Lock(); defer d.mu.Unlock(); d.prepares = true }

// Pushes makes the device a driver.Subscriber and no Reader, from the next Device call on.
func (d *FakeDevice) Pushes() { d.mu.Lock(); defer d.mu.Unlock(); d.pushes = true }

// Hang makes every call ignore its context until release is called.
func (d *FakeDevice) Hang() (release func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := make(chan struct{})
	d.hang = c
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.hang == c {
			d.hang = nil
			close(c)
		}
	}
}

// Polls tells of every Read.
func (d *FakeDevice) Polls() []Poll {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.polls)
}

// Writes tells of every Write that was carried out.
func (d *FakeDevice) Writes() []Written {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.writes)
}

// Emit pushes samples as a subscribed device does. It waits until there is a subscription.
func (d *FakeDevice) Emit(ctx context.Context, samples []driver.PointSample, stored func()) error {
	for {
		d.mu.Lock()
		emit, emitCtx, ready := d.emit, d.emitCtx, d.subscribed
		d.mu.Unlock()
		if emit != nil && emitCtx.Err() == nil {
			return emit(ctx, samples, stored)
		}
		select {
		case <-ready:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (d *FakeDevice) handle(w *wire) driver.Device {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := handle{d, w}
	switch {
	case d.pushes:
		return pushed{h}
	case d.prepares:
		return prepared{polled{h}}
	default:
		return polled{h}
	}
}

// handle is a device on an open wire.
type handle struct {
	*FakeDevice
	w *wire
}

// polled is a device that is asked.
type polled struct{ handle }

// prepared is a polled device whose points are compiled first.
type prepared struct{ polled }

// pushed is one that sends by itself.
type pushed struct{ handle }

var (
	_ driver.Reader     = polled{}
	_ driver.Writer     = polled{}
	_ driver.Browser    = polled{}
	_ driver.Preparer   = prepared{}
	_ driver.Subscriber = pushed{}
	_ driver.Writer     = pushed{}
)

// call does what the script says before an answer.
func (h handle) call(ctx context.Context) error {
	h.mu.Lock()
	delay, fail, silent, panics, hang := h.delay, h.fail, h.silent, h.panics, h.hang
	h.mu.Unlock()
	if hang != nil {
		<-hang
	}
	if err := h.w.connect(); err != nil {
		return err
	}
	if silent {
		delay = h.w.cfg.Timeout
	}
	if delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return driver.Errorf(driver.Timeout, "fake: %s: %w", h.name, ctx.Err())
		case <-h.w.dead:
		}
	}
	switch {
	case h.w.isDead():
		return errCut
	case panics != nil:
		panic(panics)
	case silent:
		return driver.Errorf(driver.Timeout, "fake: %s: no answer in %v", h.name, delay)
	}
	return fail
}

// Read answers with the values set.
func (p polled) Read(ctx context.Context, points []driver.Point, out []driver.Sample) error {
	p.mu.Lock()
	p.polls = append(p.polls, Poll{At: time.Now(), Points: len(points)})
	p.mu.Unlock()
	if err := p.call(ctx); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, point := range points {
		s, ok := p.values[point.Address]
		if !ok {
			s = driver.Faulted(driver.Errorf(driver.NotFound, "fake: no value at %q", point.Address))
		}
		out[i] = s
	}
	return nil
}

// Prepare compiles points.
func (p prepared) Prepare(points []driver.Point) (driver.Reader, error) {
	return compiled{p.polled, points}, nil
}

type compiled struct {
	polled
	points []driver.Point
}

// Read reads the points that were compiled, and fails for any others.
func (c compiled) Read(ctx context.Context, points []driver.Point, out []driver.Sample) error {
	if !slices.Equal(points, c.points) {
		return fmt.Errorf("fake: read of %v, prepared for %v", points, c.points)
	}
	return c.polled.Read(ctx, points, out)
}

// Write sets a value.
func (h handle) Write(ctx context.Context, p driver.Point, v driver.Value) error {
	if err := h.call(ctx); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.writes = append(h.writes, Written{At: time.Now(), Address: p.Address, Value: v})
	h.values[p.Address] = driver.GoodSample(v)
	return nil
}

// Browse lists the addresses that have a value.
func (p polled) Browse(ctx context.Context, prefix string, limit int) ([]driver.Entry, error) {
	if err := p.call(ctx); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var entries []driver.Entry
	for address, s := range p.values {
		if strings.HasPrefix(address, prefix) {
			entries = append(entries, driver.Entry{Address: address, Kind: s.Value.Kind(), Writable: true})
		}
	}
	slices.SortFunc(entries, func(a, b driver.Entry) int { return strings.Compare(a.Address, b.Address) })
	return entries[:min(limit, len(entries))], nil
}

// Subscribe lets the test's Emit through until it ends.
func (p pushed) Subscribe(ctx context.Context, _ []driver.Point, emit driver.EmitFunc) error {
	if err := p.call(ctx); err != nil {
		return err
	}
	p.mu.Lock()
	p.emit, p.emitCtx = emit, ctx
	close(p.subscribed)
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.emit, p.emitCtx, p.subscribed = nil, nil, make(chan struct{})
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-p.w.dead:
		return errCut
	}
}
